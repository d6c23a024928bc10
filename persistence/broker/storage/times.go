package storage

import (
	"errors"

	"github.com/cockroachdb/pebble/v2"
	"github.com/gemello/gemello/persistence/broker/batch"
	"github.com/twmb/franz-go/pkg/kerr"
)

// Special timestamps of OffsetFor.
const (
	Latest        = -1
	Earliest      = -2
	MaxTimestamp  = -3
	EarliestLocal = -4
)

// OffsetFor returns the offset of the first record whose timestamp (ms) is at
// least the given one, and its timestamp; both are -1 when there is none. The
// special timestamps give the end of the partition, its start, and the first
// record with the largest timestamp. With committed the end is the last stable
// offset. Errors: UnknownTopicOrPartition, InvalidRequest, CorruptMessage,
// KafkaStorageError.
func (l *Log) OffsetFor(tp TopicPartition, timestamp int64, committed bool) (offset, ts int64, err error) {
	p := l.directory.Load().partition(tp)
	if p == nil {
		return -1, -1, kerr.UnknownTopicOrPartition
	}
	err = l.engine.view(func(db *pebble.DB) error {
		pos := p.published.Load()
		end := pos.high
		if committed {
			end = pos.stable
		}
		switch {
		case timestamp == Latest:
			offset, ts = end, -1
			return nil
		case timestamp == Earliest || timestamp == EarliestLocal:
			offset, ts = pos.start, -1
			return nil
		case timestamp == MaxTimestamp:
			most, err := newest(db, p.uid, pos.start, end)
			if err != nil || most < 0 {
				offset, ts = -1, -1
				return err
			}
			timestamp = most
		case timestamp < 0:
			return kerr.InvalidRequest
		}
		offset, ts, err = firstAt(db, p.uid, pos.start, end, timestamp)
		return err
	})
	if err = l.readError(err); err != nil {
		return -1, -1, err
	}
	return offset, ts, nil
}

var errStop = errors.New("stop")

// eachMark visits the runs of batches that overlap [start, end) by offset; what
// follows the last mark, up to end, is one more run of unknown time.
func eachMark(db pebble.Reader, uid uint32, start, end int64, visit func(m mark, known bool) error) error {
	from := start
	err := scan(db, keyMark(uid, 0), keyUID(tagMark, uid+1), func(key, value []byte) error {
		_, first, err := splitNumbered(key)
		if err != nil {
			return err
		}
		m, err := decodeMark(first, value)
		if err != nil {
			return err
		}
		if m.next <= start {
			return nil
		}
		if m.first >= end {
			return errStop
		}
		from = m.next
		return visit(m, true)
	})
	if err != nil && err != errStop {
		return err
	}
	if err == nil && from < end {
		return visit(mark{first: from, next: end}, false)
	}
	return nil
}

// firstAt returns the first record in [start, end) with at least that timestamp.
func firstAt(db pebble.Reader, uid uint32, start, end, timestamp int64) (offset, ts int64, err error) {
	offset, ts = -1, -1
	err = eachMark(db, uid, start, end, func(m mark, known bool) error {
		if known && m.maxTime < timestamp {
			return nil
		}
		err := eachBatch(db, uid, max(m.first, start), min(m.next, end), func(base int64, value []byte) (bool, error) {
			h, err := batch.Intact(value)
			if err != nil {
				return false, kerr.CorruptMessage
			}
			if h.MaxTimestamp < timestamp {
				return true, nil
			}
			err = batch.Times(value, func(o, t int64) bool {
				if t >= timestamp && o >= start && o < end {
					offset, ts = o, t
					return false
				}
				return true
			})
			if err != nil {
				return false, kerr.CorruptMessage
			}
			return offset < 0, nil
		})
		if err == nil && offset >= 0 {
			return errStop
		}
		return err
	})
	if err == errStop {
		err = nil
	}
	return offset, ts, err
}

// newest returns the largest timestamp in [start, end), -1 when there is no
// record.
func newest(db pebble.Reader, uid uint32, start, end int64) (int64, error) {
	most := int64(-1)
	err := eachMark(db, uid, start, end, func(m mark, known bool) error {
		if known && m.maxTime <= most {
			return nil
		}
		return eachBatch(db, uid, max(m.first, start), min(m.next, end), func(base int64, value []byte) (bool, error) {
			h, err := batch.Intact(value)
			if err != nil {
				return false, kerr.CorruptMessage
			}
			if h.MaxTimestamp <= most {
				return true, nil
			}
			err = batch.Times(value, func(o, t int64) bool {
				if o >= start && o < end {
					most = max(most, t)
				}
				return true
			})
			if err != nil {
				return false, kerr.CorruptMessage
			}
			return true, nil
		})
	})
	return most, err
}
