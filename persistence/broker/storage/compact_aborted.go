package storage

import (
	"errors"
	"math"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// abortedChunk is how many aborted transactions are read at once.
const abortedChunk = 4096

var errEnough = errors.New("a chunk is full")

// abortedRanges tells which records of a partition belong to aborted
// transactions, for offsets that are asked for in ascending order.
type abortedRanges struct {
	l   *Log
	uid uint32

	known   map[int64][]abortedRange // by producer, ascending
	after   int64                    // markers before it are known
	covered int64                    // for offsets before it everything is known
}

// abortedRange is the records of a producer from first up to its marker.
type abortedRange struct{ first, marker int64 }

// newAbortedRanges returns the ranges for offsets from start on that are below
// the last stable offset.
func newAbortedRanges(l *Log, uid uint32, start int64) *abortedRanges {
	return &abortedRanges{l: l, uid: uid, known: map[int64][]abortedRange{}, after: start, covered: start}
}

// has reports whether the record of a producer at the offset was aborted.
func (a *abortedRanges) has(producer, offset int64) (bool, error) {
	if err := a.cover(offset); err != nil {
		return false, err
	}
	for _, r := range a.known[producer] {
		if r.first <= offset && offset < r.marker {
			return true, nil
		}
	}
	return false, nil
}

// ends reports whether an aborted transaction of a producer that has records
// ends with the marker.
func (a *abortedRanges) ends(producer, marker int64) (bool, error) {
	if err := a.cover(marker - 1); err != nil {
		return false, err
	}
	for _, r := range a.known[producer] {
		if r.marker == marker {
			return true, nil
		}
	}
	return false, nil
}

func (a *abortedRanges) cover(offset int64) error {
	for offset >= a.covered {
		if err := a.load(offset); err != nil {
			return err
		}
	}
	return nil
}

// load forgets what lies before the offset and reads on. What ends after a
// marker begins at or after the stable offset that was noted with it.
func (a *abortedRanges) load(offset int64) error {
	for id, rs := range a.known {
		rs = slices.DeleteFunc(rs, func(r abortedRange) bool { return r.marker < offset })
		if len(rs) == 0 {
			delete(a.known, id)
		} else {
			a.known[id] = rs
		}
	}
	n := 0
	from := max(a.after, offset)
	err := a.l.engine.view(func(db *pebble.DB) error {
		return scan(db, keyAborted(a.uid, from), keyUID(tagAborted, a.uid+1), func(key, value []byte) error {
			_, marker, err := splitNumbered(key)
			if err != nil {
				return err
			}
			v, err := decodeAborted(value)
			if err != nil {
				return err
			}
			a.known[v.producer] = append(a.known[v.producer], abortedRange{v.first, marker})
			a.after = marker + 1
			a.covered = max(a.covered, v.stable)
			if n++; n == abortedChunk {
				return errEnough
			}
			return nil
		})
	})
	if err == nil {
		a.covered = math.MaxInt64
	} else if errors.Is(err, errEnough) {
		err = nil
	}
	return err
}
