package storage

import (
	"encoding/binary"

	"github.com/cockroachdb/pebble/v2"
	"github.com/twmb/franz-go/pkg/kerr"
)

// maxBuildBytes is the size from which a build takes no more requests before it
// is committed. It stays below what Pebble treats as a large batch.
const maxBuildBytes = 4 << 20

// build is a Pebble batch under construction with the requests in it and the
// state that becomes visible with it.
type build struct {
	st    *state
	db    *engine
	batch *pebble.Batch // nil: nothing was written yet
	now   int64         // ms, of the request that is being run

	ops                  []*op
	bytes                int
	records, recordBytes int64
	parts                []*partition
	producers            []dirtyProducer
	txns                 []*txn
	counted              bool // counters have changed
	listed               bool // topics have changed
	retired              []*partition
	ended                []bool // transactions: committed or aborted
	ongoing              int    // transactions after this build

	key, value []byte // scratch
	publishes  []publish
	directory  *directory
	err        error // of building: the whole build fails
}

type dirtyProducer struct {
	p  *partition
	pr *producer
}

// publish is what a partition shows after the commit.
type publish struct {
	p   *partition
	pos *positions
}

// out returns the Pebble batch.
func (b *build) out() *pebble.Batch {
	if b.batch == nil {
		b.db.mu.RLock()
		b.batch = b.db.db.NewBatch()
		b.db.mu.RUnlock()
	}
	return b.batch
}

func (b *build) check(err error) {
	if err != nil && b.err == nil {
		b.err = err
	}
}

// set writes a key.
func (b *build) set(key, value []byte) {
	b.bytes += len(key) + len(value)
	b.check(b.out().Set(key, value, nil))
}

// delete removes a key.
func (b *build) delete(key []byte) {
	b.bytes += len(key)
	b.check(b.out().Delete(key, nil))
}

// deleteRange removes the keys in [lo, hi) as they were before this build and
// as written by it so far.
func (b *build) deleteRange(lo, hi []byte) {
	b.bytes += len(lo) + len(hi)
	b.check(b.out().DeleteRange(lo, hi, nil))
}

// touch tells that p has changed.
func (b *build) touch(p *partition) {
	if !p.dirty {
		p.dirty = true
		b.parts = append(b.parts, p)
	}
}

func (b *build) touchProducer(p *partition, pr *producer) {
	if !pr.dirty {
		pr.dirty = true
		b.producers = append(b.producers, dirtyProducer{p, pr})
	}
}

func (b *build) touchTxn(t *txn) {
	if !t.dirty {
		t.dirty = true
		b.txns = append(b.txns, t)
	}
}

// room reports whether the build takes more.
func (b *build) room() int { return maxBuildBytes - b.bytes }

// seal writes the changed state and notes what is to be published. The build
// takes no more after it.
func (b *build) seal() {
	for _, d := range b.producers {
		d.pr.dirty = false
		if d.p.gone || d.p.producers[d.pr.id] != d.pr {
			continue
		}
		b.key = appendNumbered(b.key[:0], tagProducer, d.p.uid, d.pr.id)
		b.value = d.pr.producerValue.append(b.value[:0])
		b.set(b.key, b.value)
	}
	for _, p := range b.parts {
		p.dirty = false
		if p.gone {
			continue
		}
		b.key = binary.BigEndian.AppendUint32(append(b.key[:0], tagPartition), p.uid)
		b.value = p.partitionValue.append(b.value[:0])
		b.set(b.key, b.value)
		b.publishes = append(b.publishes, publish{p, p.positions()})
	}
	for _, t := range b.txns {
		t.dirty = false
		if b.st.txns[t.id] != t {
			continue
		}
		t.settle()
		b.set(keyTxn(t.id), t.txnValue.encode())
	}
	b.ongoing = b.st.ongoing
	if b.counted {
		b.set(keyCounters, b.st.counters.encode())
	}
	if b.listed {
		b.directory = b.st.directory()
	}
}

func appendNumbered(k []byte, tag byte, uid uint32, n int64) []byte {
	k = append(k, tag)
	k = binary.BigEndian.AppendUint32(k, uid)
	return binary.BigEndian.AppendUint64(k, uint64(n))
}

// finish answers all requests: with their own error, or with err where they had
// none.
func (b *build) finish(err error) {
	for _, o := range b.ops {
		if o.err == nil && o.writes {
			o.err = err
		}
		o.done(o.err)
	}
}

// discard releases the Pebble batch.
func (b *build) discard() {
	if b.batch != nil {
		// Only memory of the batch is released.
		_ = b.batch.Close()
		b.batch = nil
	}
}

var errStorage error = kerr.KafkaStorageError
