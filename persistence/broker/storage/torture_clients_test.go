package storage_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gemello/gemello/internal/torture"
	"github.com/gemello/gemello/persistence/broker/storage"
)

// writer is a producer, with a transactional id or without.
type writer struct {
	*world
	rng   *rand.Rand
	p     *torture.Producer
	txnID string
	v2    bool // transactions of KIP-890: partitions join with their first batch, each end bumps the epoch
	late  bool // some of its transactions pass their time-out
	id    int64
	epoch int16
	seq   map[torture.TopicPartition]int32
}

func (w *world) newWriter(name string, stream uint64) *writer {
	return &writer{world: w, rng: rand.New(rand.NewPCG(w.seed, stream)), p: w.ledger.Producer(name), txnID: name, id: -1, epoch: -1}
}

// init gets an id and epoch; what was open is aborted. With recovers it says who
// it was.
func (x *writer) init(recovers bool) {
	timeout := time.Minute
	if x.late {
		timeout = 30 * time.Millisecond
	}
	for {
		life, log := x.current()
		id, epoch := int64(-1), int16(-1)
		if recovers && x.txnID != "" {
			id, epoch = x.id, x.epoch
		}
		id, epoch, err := log.InitProducer(context.Background(), x.txnID, timeout, id, epoch)
		ok := x.note(life, func() {
			if err == nil {
				x.id, x.epoch, x.seq = id, epoch, map[torture.TopicPartition]int32{}
			}
		})
		switch {
		case ok && err == nil:
			return
		case ok && recovers && errors.Is(err, kerr.ProducerFenced):
			recovers = false
		case ok && !again(err):
			x.ledger.Note("%s: InitProducer: %v", x.txnID, err)
			return
		}
		idle(time.Millisecond)
	}
}

// piece is a batch that has to be appended.
type piece struct {
	tp      torture.TopicPartition
	records []torture.Record
	raw     []byte
	acked   bool
}

// piece builds a batch that follows what the producer has sent to the partition.
func (x *writer) piece(tp torture.TopicPartition, records []torture.Record) *piece {
	seq := x.seq[tp]
	x.seq[tp] = seq + int32(len(records))
	raw := buildBatch(x.rng, x.id, x.epoch, seq, x.txnID != "", records)
	return &piece{tp: tp, records: records, raw: raw}
}

// append appends pieces until all are acknowledged; apart sends each in a
// request of its own, all at once. It reports false when the log refuses one for
// good.
func (x *writer) append(pieces []*piece, apart bool) bool {
	for {
		life, log := x.current()
		var todo []*piece
		for _, p := range pieces {
			if !p.acked {
				todo = append(todo, p)
			}
		}
		results := make([]storage.Appended, len(todo))
		var wait sync.WaitGroup
		var entries []storage.Append
		for i, p := range todo {
			e := storage.Append{TopicPartition: stp(p.tp), Batch: slices.Clone(p.raw), TxnID: x.txnID, Implicit: x.v2}
			if !apart {
				entries = append(entries, e)
				continue
			}
			wait.Add(1)
			log.Append([]storage.Append{e}, func(r []storage.Appended) {
				results[i] = r[0]
				wait.Done()
			})
		}
		if !apart {
			wait.Add(1)
			log.Append(entries, func(r []storage.Appended) {
				copy(results, r)
				wait.Done()
			})
		}
		wait.Wait()
		var refused error
		left, gaps := 0, map[torture.TopicPartition]bool{}
		noted := x.note(life, func() {
			for i, p := range todo {
				err := results[i].Err
				switch {
				case err == nil:
					p.acked = true
					for n, r := range p.records {
						x.ack(r, results[i].Base+int64(n))
					}
				case again(err):
					left++
					gaps[p.tp] = true
				case errors.Is(err, kerr.OutOfOrderSequenceNumber) && gaps[p.tp]:
					left++ // the one before was not taken
				default:
					refused = fmt.Errorf("append to %v: %w", p.tp, err)
				}
			}
		})
		switch {
		case !noted:
			continue
		case refused != nil:
			if !x.late {
				x.ledger.Note("%s %d/%d: %v", x.txnID, x.id, x.epoch, refused)
			}
			return false
		case left == 0:
			return true
		}
		idle(time.Millisecond)
	}
}

// ack skips copies, of which no ledger knows.
func (x *writer) ack(r torture.Record, offset int64) {
	if !strings.HasPrefix(r.Producer, "copy-") {
		x.p.Ack(r, offset)
	}
}

// transactions writes transactions until the end.
func (x *writer) transactions() {
	x.init(false)
	for x.ends.Err() == nil {
		if !x.transaction() {
			x.init(x.rng.IntN(2) == 0)
		}
	}
	x.late = false
	x.init(false) // aborts what is left
}

// add announces partitions where the protocol has it so.
func (x *writer) add(tps []torture.TopicPartition) bool {
	if x.v2 {
		return true
	}
	var list []storage.TopicPartition
	for _, tp := range tps {
		list = append(list, stp(tp))
	}
	return x.try("AddPartitions", func(log *storage.Log) error {
		return log.AddPartitions(context.Background(), x.txnID, x.id, x.epoch, list)
	}, func() {})
}

// try repeats a request until it is answered, and runs then under the answer.
func (x *writer) try(what string, request func(*storage.Log) error, then func()) bool {
	for {
		life, log := x.current()
		err := request(log)
		ok := x.note(life, func() {
			if err == nil {
				then()
			}
		})
		switch {
		case ok && err == nil:
			return true
		case ok && !again(err):
			if !x.late {
				x.ledger.Note("%s %d/%d: %s: %v", x.txnID, x.id, x.epoch, what, err)
			}
			return false
		}
		if ok {
			idle(time.Millisecond)
		}
	}
}

// transaction reports false when the producer has to begin anew.
func (x *writer) transaction() bool {
	txn := x.p.Begin()
	for range 1 + x.rng.IntN(2) {
		records := map[torture.TopicPartition][]torture.Record{}
		for range 1 + x.rng.IntN(12) {
			tp := torture.TopicPartition{Topic: tortureTopics[x.rng.IntN(3)], Partition: int32(x.rng.IntN(torturePartitions))}
			records[tp] = append(records[tp], x.p.Send(tp, txn))
		}
		var pieces []*piece
		for tp, list := range records {
			pieces = append(pieces, x.piece(tp, list))
		}
		if !x.add(slices.Collect(maps.Keys(records))) || !x.append(pieces, x.rng.IntN(2) == 0) {
			return false
		}
		if x.late && x.rng.IntN(8) == 0 {
			idle(80 * time.Millisecond)
		}
	}
	switch x.rng.IntN(16) {
	case 0:
		return false // gone without a word
	case 1:
		// Another takes the id; this one must not be able to commit.
		old := *x
		x.init(false)
		life, log := x.current()
		_, _, err := log.EndTxn(context.Background(), old.txnID, old.id, old.epoch, true, x.v2)
		x.note(life, func() {
			if err == nil {
				x.ledger.Note("transaction %d of %s: its producer was fenced and could commit", txn, x.txnID)
			} else if !x.late {
				x.p.End(txn, torture.Aborted)
			}
		})
		return true
	}
	commit := x.rng.IntN(4) > 0
	return x.endTxn(commit, func() {
		if commit {
			x.p.End(txn, torture.Committed)
		} else {
			x.p.End(txn, torture.Aborted)
		}
	})
}

func (x *writer) endTxn(commit bool, then func()) bool {
	var id int64
	var epoch int16
	return x.try("EndTxn", func(log *storage.Log) (err error) {
		id, epoch, err = log.EndTxn(context.Background(), x.txnID, x.id, x.epoch, commit, x.v2)
		return err
	}, func() {
		then()
		if x.v2 {
			x.id, x.epoch, x.seq = id, epoch, map[torture.TopicPartition]int32{}
		}
	})
}

// appends writes outside transactions, several batches of a partition at once.
func (x *writer) appends() {
	x.init(false)
	for x.ends.Err() == nil {
		var pieces []*piece
		tp := torture.TopicPartition{Topic: tortureTopics[x.rng.IntN(3)], Partition: int32(x.rng.IntN(torturePartitions))}
		for range 1 + x.rng.IntN(5) {
			var records []torture.Record
			for range 1 + x.rng.IntN(6) {
				records = append(records, x.p.Send(tp, -1))
			}
			pieces = append(pieces, x.piece(tp, records))
		}
		if !x.append(pieces, true) {
			return
		}
	}
}

// chain copies topic in to topic out until everything is copied and nothing more
// comes.
func (x *writer) chain(drained <-chan struct{}) {
	x.init(false)
	at := x.positions()
	for {
		final := false
		select {
		case <-drained:
			final = true
		default:
		}
		next := map[torture.TopicPartition]int64{}
		var pieces []*piece
		life, log := x.current()
		for n := range int32(torturePartitions) {
			from, to := torture.TopicPartition{Topic: tortureIn, Partition: n}, torture.TopicPartition{Topic: tortureOut, Partition: n}
			seen, _, err := readSome(log, from, at[from], 1<<12, true)
			if err != nil || len(seen) == 0 {
				continue
			}
			var records []torture.Record
			for _, s := range seen {
				records = append(records, torture.CopyOf(from, s.Offset))
			}
			next[from] = seen[len(seen)-1].Offset + 1
			pieces = append(pieces, x.piece(to, records))
		}
		switch done := len(pieces) == 0; {
		case !x.note(life, func() {}):
			// What was read may be gone.
			x.init(true)
			at = x.positions()
			continue
		case done && final:
			return
		case done:
			idle(time.Millisecond)
			continue
		}
		if x.copy(pieces, next) {
			maps.Copy(at, next)
			continue
		}
		x.init(false)
		at = x.positions()
	}
}

// copy reports false when the positions have to be looked up.
func (x *writer) copy(pieces []*piece, next map[torture.TopicPartition]int64) bool {
	var to []torture.TopicPartition
	for _, p := range pieces {
		to = append(to, p.tp)
	}
	var offsets []storage.Offset
	for tp, o := range next {
		x.ledger.Try(tortureChain, tp, o)
		offsets = append(offsets, storage.Offset{TopicPartition: stp(tp), Offset: o, LeaderEpoch: -1})
	}
	if !x.add(to) || !x.append(pieces, false) {
		return false
	}
	if !x.v2 && !x.try("AddGroup", func(log *storage.Log) error {
		return log.AddGroup(context.Background(), x.txnID, x.id, x.epoch, tortureChain)
	}, func() {}) {
		return false
	}
	if !x.try("AddOffsets", func(log *storage.Log) error {
		return log.AddOffsets(context.Background(), x.txnID, x.id, x.epoch, tortureChain, offsets, x.v2)
	}, func() {}) {
		return false
	}
	if x.rng.IntN(8) == 0 {
		if x.rng.IntN(2) == 0 {
			x.endTxn(false, func() {})
		}
		return false
	}
	return x.endTxn(true, func() {
		for tp, o := range next {
			x.ledger.Commit(tortureChain, tp, o)
		}
	})
}

// positions are the chain's offsets; nothing is open when it asks.
func (x *writer) positions() map[torture.TopicPartition]int64 {
	for {
		at := map[torture.TopicPartition]int64{}
		life, log := x.current()
		for _, o := range log.CommittedOffsets(tortureChain) {
			tp := torture.TopicPartition(o.TopicPartition)
			at[tp] = max(0, o.Offset.Offset)
			if o.Pending {
				x.ledger.Note("an offset of %v waits for a transaction, and there is none", tp)
			}
		}
		if x.note(life, func() {
			for n := range int32(torturePartitions) {
				tp := torture.TopicPartition{Topic: tortureIn, Partition: n}
				if known := x.ledger.Position(tortureChain, tp); at[tp] < known {
					x.ledger.Note("the chain was at %d of %v and finds itself at %d", known, tp, at[tp])
				}
			}
		}) {
			return at
		}
	}
}
