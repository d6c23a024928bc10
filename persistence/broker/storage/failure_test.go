package storage

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/twmb/franz-go/pkg/kerr"
)

// fullDisk tells what is free.
type fullDisk struct {
	vfs.FS
	free atomic.Uint64
}

func (f *fullDisk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: f.free.Load()}, nil
}

func TestANearlyFullDiskRefusesRecordsAndNothingElse(t *testing.T) {
	fs := &fullDisk{FS: vfs.NewMem()}
	fs.free.Store(1 << 30)
	o := newClock().options(fs)
	o.ReserveBytes = 1 << 20
	l := open(t, o)
	defer l.Close()
	mustCreate(t, l, "a", 1)
	tp := at("a", 0)
	if r := appendOne(l, tp, data{values: []string{"v"}}, ""); r.Err != nil {
		t.Fatal(r)
	}
	fs.free.Store(1<<20 - 1)
	eventually(t, func() bool { return appendOne(l, tp, data{values: []string{"v"}}, "").Err == kerr.KafkaStorageError })
	if err := l.CommitOffsets(ctx, "g", []Offset{{TopicPartition: tp}}); err != nil {
		t.Errorf("offsets: %v", err)
	}
	if got, _ := readAll(t, l, tp, 0, false); len(got) == 0 {
		t.Error("reads give nothing")
	}
	if _, err := l.DeleteRecords(ctx, tp, 1); err != nil {
		t.Errorf("deleting records: %v", err)
	}
	fs.free.Store(1 << 30)
	eventually(t, func() bool { return appendOne(l, tp, data{values: []string{"v"}}, "").Err == nil })
}

// eventually waits for what depends on the age of a look at the disk.
func eventually(t *testing.T, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !f() {
		if time.Now().After(deadline) {
			t.Fatal("it never came to that")
		}
		<-time.After(time.Millisecond)
	}
}

func TestAFullDiskIsReadAndRecovers(t *testing.T) {
	var full atomic.Bool
	fs := inject(vfs.NewMem(), func(op errorfs.Op) error {
		switch op.Kind {
		case errorfs.OpFileWrite, errorfs.OpCreate, errorfs.OpFilePreallocate, errorfs.OpReuseForWrite:
			if full.Load() {
				return syscall.ENOSPC
			}
		}
		return nil
	})
	l := open(t, newClock().options(fs))
	defer l.Close()
	mustCreate(t, l, "a", 1)
	tp := at("a", 0)
	if r := appendOne(l, tp, data{values: []string{"before"}}, ""); r.Err != nil {
		t.Fatal(r)
	}
	full.Store(true)
	for range 5 {
		if r := appendOne(l, tp, data{values: []string{"refused"}}, ""); r.Err != kerr.KafkaStorageError {
			t.Fatalf("%+v", r)
		}
		eventually(t, func() bool {
			f := l.Read(Read{TopicPartition: tp, MaxBytes: 1000}, nil)
			return f.Err == nil && len(f.Batches) > 0
		})
		if len(l.Groups()) != 0 || len(l.Transactions()) != 0 {
			t.Error("looking is possible, and there is nothing")
		}
	}
	full.Store(false)
	eventually(t, func() bool { return appendOne(l, tp, data{values: []string{"after"}}, "").Err == nil })
	got, _ := readAll(t, l, tp, 0, false)
	if len(got) < 2 || got[0].value != "before" || got[len(got)-1].value != "after" {
		t.Errorf("%v", got)
	}
	for _, s := range got[1 : len(got)-1] {
		if s.value != "refused" { // unknown outcome: it may be there
			t.Errorf("%v", s)
		}
	}
}

// TestNothingAcknowledgedIsLostWhileSyncsFail has producers that send each
// batch until it is acknowledged, as clients do.
func TestNothingAcknowledgedIsLostWhileSyncsFail(t *testing.T) {
	mem := vfs.NewCrashableMem()
	var mu sync.Mutex // guards r and armed
	r := rand.New(rand.NewPCG(4, 5))
	armed := false
	fs := inject(mem, func(op errorfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		switch op.Kind {
		case errorfs.OpFileSync, errorfs.OpFileSyncData:
			if armed && r.IntN(60) == 0 {
				return errorfs.ErrInjected
			}
		case errorfs.OpFileWrite, errorfs.OpCreate:
			if armed && r.IntN(600) == 0 {
				return errorfs.ErrInjected
			}
		}
		return nil
	})
	c := newClock()
	l := open(t, c.options(fs))
	const producers, each, parts = 6, 150, 2
	mustCreate(t, l, "a", parts)
	mu.Lock()
	armed = true
	mu.Unlock()
	var wg sync.WaitGroup
	for p := range producers {
		wg.Go(func() {
			for i := range each {
				d := data{values: []string{fmt.Sprintf("%d/%d", p, i)}, id: int64(p + 1), seq: int32(i)}
				for {
					r := appendOne(l, at("a", int32(p%parts)), d, "")
					if r.Err == nil {
						break
					}
					if r.Err != kerr.KafkaStorageError {
						t.Errorf("%d/%d: %v", p, i, r.Err)
						return
					}
					<-time.After(5 * time.Millisecond)
				}
			}
		})
	}
	wg.Wait()
	mu.Lock()
	armed = false
	mu.Unlock()
	clone := mem.CrashClone(vfs.CrashCloneCfg{})
	if err := l.Close(); err != nil {
		t.Log(err)
	}
	l = open(t, c.options(clone))
	defer l.Close()
	next := make([]int, producers)
	for part := range int32(parts) {
		got, _ := readAll(t, l, at("a", part), 0, false)
		for _, s := range got {
			p := int(s.id - 1)
			if want := fmt.Sprintf("%d/%d", p, next[p]); s.value != want {
				t.Fatalf("partition %d, offset %d: %q, want %q", part, s.offset, s.value, want)
			}
			next[p]++
		}
	}
	for p, n := range next {
		if n != each {
			t.Errorf("producer %d: %d records, want %d", p, n, each)
		}
	}
}

func TestADirectoryBelongsToOneLog(t *testing.T) {
	o := newClock().options(vfs.NewMem())
	l := open(t, o)
	defer l.Close()
	if two, err := Open(ctx, o); err == nil {
		two.Close()
		t.Error("opened twice")
	}
}

// A disk that fails a sync while the log is opened, and then works, must not
// keep the log from being opened.
func TestOneFailedSyncDoesNotStopAnOpening(t *testing.T) {
	disk := vfs.NewCrashableMem()
	clk := newClock()
	l := open(t, clk.options(disk))
	mustCreate(t, l, "a", 1)
	if r := appendOne(l, at("a", 0), data{values: []string{"before"}}, ""); r.Err != nil {
		t.Fatal(r)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for n := range int32(8) {
		t.Run(fmt.Sprint("sync ", n+1), func(t *testing.T) {
			t.Parallel()
			var syncs atomic.Int32
			fs := inject(disk.CrashClone(vfs.CrashCloneCfg{}), func(op errorfs.Op) error {
				switch op.Kind {
				case errorfs.OpFileSync, errorfs.OpFileSyncData:
					if syncs.Add(1) == n+1 {
						return errorfs.ErrInjected
					}
				}
				return nil
			})
			l, err := Open(ctx, clk.options(fs))
			if err != nil {
				t.Fatal(err)
			}
			if n == 0 && syncs.Load() == 0 {
				t.Error("no sync of the opening was failed")
			}
			got, _ := readAll(t, l, at("a", 0), 0, false)
			if len(got) != 1 || got[0].value != "before" {
				t.Error(got)
			}
			_ = l.Close() // may say that a sync failed
		})
	}
}
