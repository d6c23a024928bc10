package storage

import (
	"bytes"
	"math"

	"github.com/cockroachdb/pebble/v2"
)

// storedBatch is a batch as it is on the disk, in memory of the reader's own.
type storedBatch struct {
	base  int64
	value []byte
}

// readStored returns the batches of a partition that have offsets in [from, to),
// at most limit bytes of them but at least one if there is any, and the offset
// from which to go on, to when there are no more.
func readStored(r pebble.Reader, uid uint32, from, to int64, limit int) (out []storedBatch, next int64, err error) {
	size := 0
	next = to
	err = eachBatch(r, uid, from, to, func(base int64, value []byte) (bool, error) {
		if size += len(value); len(out) > 0 && size > limit {
			next = base
			return false, nil
		}
		out = append(out, storedBatch{base: base, value: bytes.Clone(value)})
		return true, nil
	})
	return out, next, err
}

// keptFrom returns the base offset of the batch that has the offset, or of the
// first one after it; -1 when there is none.
func keptFrom(r pebble.Reader, uid uint32, offset int64) (base int64, err error) {
	base = -1
	err = eachBatch(r, uid, offset, math.MaxInt64, func(b int64, _ []byte) (bool, error) {
		base = b
		return false, nil
	})
	return base, err
}

// lastBefore returns the base offset of the last batch that begins before the
// offset; -1 when there is none.
func lastBefore(r pebble.Reader, uid uint32, offset int64) (base int64, err error) {
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: keyBatch(uid, 0), UpperBound: keyBatch(uid, offset)})
	if err != nil {
		return -1, err
	}
	base = -1
	if it.Last() {
		_, base, err = splitNumbered(it.Key())
	}
	if err == nil {
		err = it.Error()
	}
	if cerr := it.Close(); err == nil {
		err = cerr
	}
	return base, err
}

// storedBytes is the size of the batches whose base offset is in [from, to).
func storedBytes(r pebble.Reader, uid uint32, from, to int64) (n int64, err error) {
	if from >= to {
		return 0, nil
	}
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: keyBatch(uid, from), UpperBound: keyBatch(uid, to)})
	if err != nil {
		return 0, err
	}
	for ok := it.First(); ok; ok = it.Next() {
		v := it.LazyValue()
		n += int64(v.Len())
	}
	err = it.Error()
	if cerr := it.Close(); err == nil {
		err = cerr
	}
	return n, err
}

// run is a mark as it was read: the batches in [first, next). The one that is
// still growing is open.
type run struct {
	mark
	open bool
}

// runs visits the runs of a partition that reach beyond the offset, in order,
// until visit returns false. r is a snapshot: runs move from the state of the
// partition to a key of their own.
func runs(r pebble.Reader, uid uint32, state partitionValue, from int64, visit func(run) bool) (err error) {
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: keyMark(uid, 0), UpperBound: keyUID(tagMark, uid+1)})
	if err != nil {
		return err
	}
	defer func() {
		if cerr := it.Close(); err == nil {
			err = cerr
		}
	}()
	ok := it.SeekLT(keyMark(uid, min(from, math.MaxInt64-1)+1))
	if !ok {
		ok = it.First()
	}
	for ; ok; ok = it.Next() {
		_, first, err := splitNumbered(it.Key())
		if err != nil {
			return err
		}
		v, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		m, err := decodeMark(first, v)
		if err != nil {
			return err
		}
		if m.next > from && !visit(run{mark: m}) {
			return nil
		}
	}
	if err := it.Error(); err != nil {
		return err
	}
	if state.open.first >= 0 && state.open.next > from {
		visit(run{mark: state.open, open: true})
	}
	return nil
}

// readPartition returns the stored state of a partition; false when there is
// none.
func readPartition(r pebble.Reader, uid uint32) (partitionValue, bool, error) {
	v, err := get(r, keyPartition(uid))
	if err != nil || v == nil {
		return partitionValue{}, false, err
	}
	p, err := decodePartition(v)
	return p, err == nil, err
}

// snapshot calls f with the database as it is at one moment.
func (l *Log) snapshot(f func(pebble.Reader) error) error {
	return l.engine.view(func(db *pebble.DB) error {
		s := db.NewSnapshot()
		err := f(s)
		if cerr := s.Close(); err == nil {
			err = cerr
		}
		return err
	})
}
