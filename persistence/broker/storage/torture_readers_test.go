package storage_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gemello/gemello/internal/torture"
	"github.com/gemello/gemello/persistence/broker/batch"
	"github.com/gemello/gemello/persistence/broker/storage"
)

// commits commits growing offsets of a group.
func (w *world) commits(rng *rand.Rand) {
	next := map[torture.TopicPartition]int64{}
	for w.ends.Err() == nil {
		tp := torture.TopicPartition{Topic: "a", Partition: int32(rng.IntN(torturePartitions))}
		next[tp] += 1 + rng.Int64N(9)
		w.ledger.Try(tortureGroup, tp, next[tp])
		life, log := w.current()
		err := log.CommitOffsets(context.Background(), tortureGroup, []storage.Offset{{TopicPartition: stp(tp), Offset: next[tp], LeaderEpoch: -1}})
		w.note(life, func() {
			if err == nil {
				w.ledger.Commit(tortureGroup, tp, next[tp])
			}
		})
		idle(time.Duration(rng.Int64N(int64(2 * time.Millisecond))))
	}
}

// follow reads committed records all the time.
func (w *world) follow(rng *rand.Rand) {
	at := map[torture.TopicPartition]int64{}
	for w.ends.Err() == nil {
		tp := torture.TopicPartition{Topic: tortureTopics[rng.IntN(len(tortureTopics))], Partition: int32(rng.IntN(torturePartitions))}
		life, log := w.current()
		seen, next, err := readSome(log, tp, at[tp], 1+rng.IntN(1<<14), true)
		w.note(life, func() {
			switch {
			case err == nil:
				w.live[tp] = append(w.live[tp], seen...)
				at[tp] = next
			case errors.Is(err, kerr.OffsetOutOfRange) || errors.Is(err, kerr.CorruptMessage):
				w.ledger.Note("a reader of %v at %d: %v", tp, at[tp], err)
			}
		})
		idle(time.Duration(rng.Int64N(int64(time.Millisecond))))
	}
}

// churn makes and deletes topics.
func (w *world) churn(rng *rand.Rand) {
	const absent, present, unknown = 0, 1, 2
	known := map[string]int{}
	for w.ends.Err() == nil {
		name := fmt.Sprintf("noise-%d", rng.IntN(3))
		tp := storage.TopicPartition{Topic: name}
		life, log := w.current()
		made, deletes := false, rng.IntN(2) == 0
		var err error
		if deletes {
			err = log.DeleteTopic(context.Background(), name)
		} else if _, err = log.CreateTopic(context.Background(), storage.Topic{Name: name, Partitions: 1}); err == nil {
			made = true
		}
		var high int64 = -1
		if made {
			_, _, high, _ = log.Offsets(tp)
			done := make(chan struct{})
			raw := buildBatch(rng, -1, -1, -1, false, []torture.Record{{Producer: "noise"}})
			log.Append([]storage.Append{{TopicPartition: tp, Batch: raw}}, func([]storage.Appended) { close(done) })
			<-done
		}
		if !w.note(life, func() {
			was := known[name]
			switch {
			case err == nil && deletes, errors.Is(err, kerr.UnknownTopicOrPartition):
				if err != nil && was == present {
					w.ledger.Note("topic %s was made and is gone", name)
				}
				known[name] = absent
			case made, errors.Is(err, kerr.TopicAlreadyExists):
				if !made && was == absent {
					w.ledger.Note("topic %s was deleted and is there", name)
				}
				if made && high > 0 {
					w.ledger.Note("topic %s was made and begins with %d records", name, high)
				}
				known[name] = present
			default:
				known[name] = unknown
			}
		}) {
			known[name] = unknown
		}
		idle(time.Duration(rng.Int64N(int64(5 * time.Millisecond))))
	}
}

// account reads everything from a log that nobody writes to.
func (w *world) account(log *storage.Log) *torture.Account {
	a := torture.NewAccount()
	for _, name := range tortureTopics {
		for n := range int32(torturePartitions) {
			tp := torture.TopicPartition{Topic: name, Partition: n}
			_, stable, high, err := log.Offsets(stp(tp))
			if err != nil {
				w.t.Fatalf("offsets of %v: %v", tp, err)
			}
			a.Bounds[tp] = torture.Bounds{Stable: stable, High: high}
			for _, committed := range []bool{false, true} {
				for at := int64(0); ; {
					seen, next, err := readSome(log, tp, at, 1<<20, committed)
					if err != nil {
						w.t.Fatalf("read %v at %d: %v", tp, at, err)
					}
					if next == at {
						break
					}
					if at = next; committed {
						a.Committed[tp] = append(a.Committed[tp], seen...)
					} else {
						a.All[tp] = append(a.All[tp], seen...)
					}
				}
			}
		}
	}
	for _, g := range []string{tortureChain, tortureGroup} {
		a.Offsets[g] = map[torture.TopicPartition]int64{}
		for _, o := range log.CommittedOffsets(g) {
			a.Offsets[g][torture.TopicPartition(o.TopicPartition)] = o.Offset.Offset
		}
	}
	return a
}

// readSome reads from an offset as Kafka's clients do: they leave out what is
// named as aborted.
func readSome(log *storage.Log, tp torture.TopicPartition, from int64, most int, committed bool) (seen []torture.Seen, next int64, err error) {
	f := log.Read(storage.Read{TopicPartition: stp(tp), Offset: from, MaxBytes: most, Committed: committed, AtLeastOne: true}, nil)
	if f.Err != nil {
		return nil, from, f.Err
	}
	open := map[int64]bool{}
	slices.SortFunc(f.Aborted, func(a, b storage.Aborted) int { return int(a.FirstOffset - b.FirstOffset) })
	next = from
	for b := f.Batches; len(b) > 0; {
		h, err := batch.Peek(b)
		if err != nil {
			return nil, from, err
		}
		raw := b[:h.Size()]
		b = b[h.Size():]
		if _, err := batch.Intact(raw); err != nil {
			return nil, from, err
		}
		for len(f.Aborted) > 0 && f.Aborted[0].FirstOffset <= h.Last() {
			open[f.Aborted[0].ProducerID] = true
			f.Aborted = f.Aborted[1:]
		}
		next = max(next, h.Next())
		if h.Control() {
			delete(open, h.ProducerID)
			continue
		}
		if committed && h.Transactional() && open[h.ProducerID] {
			continue
		}
		for rec, err := range batch.Records(raw, 1<<20) {
			if err != nil {
				return nil, from, err
			}
			r, err := torture.ParseRecord(rec.Value)
			if err != nil {
				return nil, from, err
			}
			if rec.Offset >= from {
				seen = append(seen, torture.Seen{Offset: rec.Offset, Record: r})
			}
		}
	}
	return seen, next, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// buildBatch makes a record batch of message format 2 as a producer does.
func buildBatch(rng *rand.Rand, id int64, epoch int16, seq int32, txn bool, records []torture.Record) []byte {
	be := binary.BigEndian
	now := uint64(time.Now().UnixMilli())
	b := make([]byte, batch.HeaderBytes)
	for i, r := range records {
		value := r.String() + " " + strings.Repeat("x", rng.IntN(60))
		rec := binary.AppendVarint(binary.AppendVarint([]byte{0}, 0), int64(i))
		rec = binary.AppendVarint(rec, -1)
		rec = append(binary.AppendVarint(rec, int64(len(value))), value...)
		rec = binary.AppendVarint(rec, 0)
		b = append(binary.AppendVarint(b, int64(len(rec))), rec...)
	}
	be.PutUint32(b[8:], uint32(len(b)-12))
	be.PutUint32(b[12:], ^uint32(0))
	b[16] = 2
	if txn {
		be.PutUint16(b[21:], 0x10)
	}
	be.PutUint32(b[23:], uint32(len(records)-1))
	be.PutUint64(b[27:], now)
	be.PutUint64(b[35:], now)
	be.PutUint64(b[43:], uint64(id))
	be.PutUint16(b[51:], uint16(epoch))
	be.PutUint32(b[53:], uint32(seq))
	be.PutUint32(b[57:], uint32(len(records)))
	be.PutUint32(b[17:], crc32.Checksum(b[21:], castagnoli))
	return b
}
