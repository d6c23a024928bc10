package storage

import (
	"context"
	"encoding/binary"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/gemello/gemello/persistence/broker/batch"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var ctx = context.Background()

// clock is a time that tests move.
type clock struct{ ms atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.ms.Store(1_700_000_000_000)
	return c
}

func (c *clock) now() time.Time       { return time.UnixMilli(c.ms.Load()) }
func (c *clock) move(d time.Duration) { c.ms.Add(d.Milliseconds()) }
func (c *clock) options(fs vfs.FS) Options {
	return Options{Dir: "/log", FS: fs, Now: c.now, Housekeeping: -1, ReserveBytes: -1}
}

func open(t testing.TB, o Options) *Log {
	t.Helper()
	l, err := Open(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func openMem(t testing.TB) *Log {
	t.Helper()
	l := open(t, newClock().options(vfs.NewMem()))
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func mustCreate(t testing.TB, l *Log, name string, partitions int32, configs ...string) {
	t.Helper()
	c := map[string]string{}
	for i := 0; i < len(configs); i += 2 {
		c[configs[i]] = configs[i+1]
	}
	if _, err := l.CreateTopic(ctx, Topic{Name: name, Partitions: partitions, Configs: c}); err != nil {
		t.Fatal(err)
	}
}

func at(topic string, partition int32) TopicPartition { return TopicPartition{topic, partition} }

// data describes a batch of a test.
type data struct {
	values []string
	times  []int64 // ms, one a record; nil: a fixed one
	id     int64   // producer; 0: none
	epoch  int16
	seq    int32
	txn    bool
	noKey  bool
}

func (d data) bytes() []byte {
	rb := kmsg.NewRecordBatch()
	rb.Magic = 2
	rb.PartitionLeaderEpoch = -1
	rb.LastOffsetDelta = int32(len(d.values) - 1)
	rb.NumRecords = int32(len(d.values))
	rb.ProducerID, rb.ProducerEpoch, rb.FirstSequence = -1, -1, -1
	if d.id > 0 {
		rb.ProducerID, rb.ProducerEpoch, rb.FirstSequence = d.id, d.epoch, d.seq
	}
	if d.txn {
		rb.Attributes |= 0x10
	}
	rb.FirstTimestamp = 1_600_000_000_000
	for i, v := range d.values {
		ts := rb.FirstTimestamp
		if d.times != nil {
			ts = d.times[i]
		}
		rb.MaxTimestamp = max(rb.MaxTimestamp, ts)
		var r []byte
		r = append(r, 0)
		r = binary.AppendVarint(r, ts-rb.FirstTimestamp)
		r = binary.AppendVarint(r, int64(i))
		if d.noKey {
			r = binary.AppendVarint(r, -1)
		} else {
			r = append(binary.AppendVarint(r, 1), 'k')
		}
		r = append(binary.AppendVarint(r, int64(len(v))), v...)
		r = append(r, 0)
		rb.Records = append(binary.AppendVarint(rb.Records, int64(len(r))), r...)
	}
	rb.Length = int32(batch.HeaderBytes - 12 + len(rb.Records))
	b := rb.AppendTo(nil)
	batch.SetCreateTime(b, rb.MaxTimestamp)
	return b
}

// appendAll appends and waits for the results.
func appendAll(l *Log, entries ...Append) []Appended {
	done := make(chan []Appended, 1)
	l.Append(entries, func(r []Appended) { done <- r })
	return <-done
}

func appendOne(l *Log, tp TopicPartition, d data, txnID string) Appended {
	return appendAll(l, Append{TopicPartition: tp, Batch: d.bytes(), TxnID: txnID})[0]
}

// seen is a record as a reader sees it.
type seen struct {
	offset  int64
	value   string // of a marker: commit or abort
	id      int64
	control bool
}

// readAll reads from an offset to the end, a few bytes at a time.
func readAll(t testing.TB, l *Log, tp TopicPartition, from int64, committed bool) (out []seen, aborted map[Aborted]bool) {
	t.Helper()
	aborted = map[Aborted]bool{}
	for next := from; ; {
		f := l.Read(Read{TopicPartition: tp, Offset: next, MaxBytes: 300, Committed: committed, AtLeastOne: true}, nil)
		if f.Err != nil {
			t.Fatalf("read %v at %d: %v", tp, next, f.Err)
		}
		if len(f.Batches) == 0 {
			return out, aborted
		}
		for _, a := range f.Aborted {
			aborted[a] = true
		}
		for b := f.Batches; len(b) > 0; {
			h, err := batch.Peek(b)
			if err != nil {
				t.Fatal(err)
			}
			if h.LeaderEpoch != 0 {
				t.Fatalf("leader epoch %d", h.LeaderEpoch)
			}
			for r, err := range batch.Records(b[:h.Size()], 1<<20) {
				if err != nil {
					t.Fatal(err)
				}
				if r.Offset < from {
					continue
				}
				s := seen{offset: r.Offset, value: string(r.Value), id: h.ProducerID, control: h.Control()}
				if s.control {
					s.value = "abort"
					if commits, err := batch.MarkerCommits(b[:h.Size()]); err != nil {
						t.Fatal(err)
					} else if commits {
						s.value = "commit"
					}
				}
				out = append(out, s)
			}
			next = h.Next()
			b = b[h.Size():]
		}
	}
}

// inject wraps a file system so that f sees each operation, also those on files
// that are used again, which package errorfs leaves out.
func inject(fs vfs.FS, f func(errorfs.Op) error) vfs.FS {
	return &injected{FS: errorfs.Wrap(fs, errorfs.InjectorFunc(f)), inj: errorfs.InjectorFunc(f)}
}

type injected struct {
	vfs.FS
	inj errorfs.Injector
}

func (i *injected) Unwrap() vfs.FS { return i.FS }

func (i *injected) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := i.FS.ReuseForWrite(oldname, newname, category)
	if err != nil {
		return nil, err
	}
	return errorfs.WrapFile(f, i.inj), nil
}
