package partition

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/windows"
)

// Limits of the feedback that a partition keeps until a service has read it
// (azure-iot-wire 11).
const (
	maxFeedback        = 1000 // the oldest goes when there is more
	maxFeedbackBatch   = 64
	feedbackLock       = time.Minute
	feedbackDeliveries = 100
)

// feedbackItem is feedback that waits for a service.
type feedbackItem struct {
	seq int64 // offset of the record that made it, and its place among those
	device.Feedback
	expires    time.Time
	deliveries int
	lock       string
	until      time.Time
}

// feedbackQueue holds the feedback of a partition, oldest first. It is small, so
// all of it is in memory.
type feedbackQueue struct {
	items   []feedbackItem
	changed map[int64]bool // since the last save
	touched map[int64]bool // not in the changelog yet
	dropped int64          // for want of room
}

func (q *feedbackQueue) mark(seq int64) {
	if q.changed == nil {
		q.changed, q.touched = map[int64]bool{}, map[int64]bool{}
	}
	q.changed[seq], q.touched[seq] = true, true
}

func (q *feedbackQueue) add(offset int64, i int, now time.Time, f device.Feedback, ttl time.Duration) {
	q.advance(now)
	if len(q.items) >= maxFeedback {
		q.mark(q.items[0].seq)
		q.items = q.items[1:]
		q.dropped++
	}
	item := feedbackItem{seq: offset<<7 | int64(i), Feedback: f, expires: now.Add(ttl)}
	q.items = append(q.items, item)
	q.mark(item.seq)
}

// advance ends locks and drops what is too old or was read too often.
func (q *feedbackQueue) advance(now time.Time) {
	q.items = slices.DeleteFunc(q.items, func(f feedbackItem) bool {
		gone := !f.expires.After(now) || f.deliveries >= feedbackDeliveries && !f.until.After(now)
		if gone {
			q.mark(f.seq)
		}
		return gone
	})
}

// next returns the device of the oldest feedback that can be read at now.
func (q *feedbackQueue) next(now time.Time) (deviceID string, ok bool) {
	for i := range q.items {
		f := &q.items[i]
		if f.expires.After(now) && (f.lock == "" || !f.until.After(now)) {
			return f.DeviceID, true
		}
	}
	return "", false
}

// locked returns the device of the first feedback under a lock.
func (q *feedbackQueue) locked(lock string) (deviceID string, ok bool) {
	for i := range q.items {
		if lock != "" && q.items[i].lock == lock {
			return q.items[i].DeviceID, true
		}
	}
	return "", false
}

func (q *feedbackQueue) receive(now time.Time, lock string) *device.FeedbackBatch {
	q.advance(now)
	b := &device.FeedbackBatch{Lock: lock}
	for i := range q.items {
		f := &q.items[i]
		if f.lock != "" && f.until.After(now) || len(b.Records) >= maxFeedbackBatch {
			continue
		}
		if len(b.Records) == 0 {
			b.Enqueued = f.Ended
		}
		f.deliveries++
		f.lock, f.until = lock, now.Add(feedbackLock)
		q.mark(f.seq)
		b.Records = append(b.Records, f.Feedback)
	}
	if len(b.Records) == 0 {
		return nil
	}
	return b
}

func (q *feedbackQueue) settle(now time.Time, lock string, o device.Outcome) error {
	found := false
	q.items = slices.DeleteFunc(q.items, func(f feedbackItem) bool {
		mine := lock != "" && f.lock == lock && f.until.After(now)
		if mine {
			found = true
			q.mark(f.seq)
		}
		return mine && o != device.OutcomeAbandon
	})
	for i := range q.items {
		if f := &q.items[i]; found && f.lock == lock {
			f.lock, f.until = "", time.Time{}
		}
	}
	if !found {
		return fmt.Errorf("%w: %.64q", device.ErrLockLost, lock)
	}
	return nil
}

// feedbackRecord handles a record by which a service reads or settles feedback.
func (d *Devices) feedbackRecord(r *Record) error {
	now := r.Arrival.Time()
	if len(r.Header(device.HeaderOutcome)) == 0 {
		d.reply(r, Reply{Feedback: d.feedback.receive(now, lockToken(d.o.Partition, r.Offset, 0))})
		return nil
	}
	o, err := device.ParseOutcome(string(r.Header(device.HeaderOutcome)))
	if err == nil {
		err = d.feedback.settle(now, string(r.Header(device.HeaderLock)), o)
	}
	d.reply(r, Reply{Err: err})
	return nil
}

// FeedbackOf returns the device under which a record must be appended to read
// the oldest feedback, or with a lock to settle what is under it.
func (d *Devices) FeedbackOf(now windows.Tick, lock string) (deviceID string, ok bool) {
	if lock != "" {
		return d.feedback.locked(lock)
	}
	return d.feedback.next(now.Time())
}

// feedbackPrefix begins the keys of feedback in the state topic; no device id is
// empty.
const feedbackPrefix = "\x00f"

func feedbackKey(seq int64) string {
	return string(binary.BigEndian.AppendUint64([]byte(feedbackPrefix), uint64(seq)))
}

func storedFeedbackKey(seq int64) []byte {
	return binary.BigEndian.AppendUint64([]byte{0, 1, 'f'}, uint64(seq))
}

// find returns the place of a sequence number.
func (q *feedbackQueue) find(seq int64) (int, bool) {
	return slices.BinarySearchFunc(q.items, seq, func(f feedbackItem, seq int64) int {
		switch {
		case f.seq < seq:
			return -1
		case f.seq > seq:
			return 1
		}
		return 0
	})
}

func (q *feedbackQueue) stored(seq int64) []byte {
	if i, ok := q.find(seq); ok {
		return q.items[i].append(nil)
	}
	return nil
}

func (q *feedbackQueue) take(e *Effects, topic uint32) {
	for _, seq := range slices.Sorted(maps.Keys(q.touched)) {
		e.entry(topic, feedbackKey(seq), q.stored(seq))
	}
	clear(q.touched)
}

func (q *feedbackQueue) save(b windows.Batch) {
	for _, seq := range slices.Sorted(maps.Keys(q.changed)) {
		k := storedFeedbackKey(seq)
		if v := q.stored(seq); v != nil {
			b.Set(k, v)
		} else {
			b.DeleteRange(k, append(slices.Clone(k), 0))
		}
	}
	clear(q.changed)
}

// restore takes an item, or its end, from the state topic or the store.
func (q *feedbackQueue) restore(seq int64, value []byte) error {
	i, found := q.find(seq)
	if value == nil {
		if found {
			q.items = slices.Delete(q.items, i, i+1)
		}
		return nil
	}
	f, err := decodeFeedback(seq, value)
	if err != nil {
		return err
	}
	if found {
		q.items[i] = f
	} else {
		q.items = slices.Insert(q.items, i, f)
	}
	return nil
}

// feedbackFormat is the version of a stored item.
const feedbackFormat = 2

// append writes an item (docs/format/device-state.md).
func (f *feedbackItem) append(dst []byte) []byte {
	dst = append(dst, feedbackFormat)
	for _, s := range [...]string{string(f.End), f.MessageID, f.DeviceID, f.GenerationID, f.lock} {
		dst = binary.AppendUvarint(dst, uint64(len(s)))
		dst = append(dst, s...)
	}
	dst = binary.AppendVarint(dst, int64(windows.TickOf(f.Ended)))
	dst = binary.AppendVarint(dst, int64(windows.TickOf(f.expires)))
	until := windows.Unset
	if !f.until.IsZero() {
		until = windows.TickOf(f.until)
	}
	dst = binary.AppendVarint(dst, int64(until))
	return binary.AppendUvarint(dst, uint64(f.deliveries))
}

func decodeFeedback(seq int64, b []byte) (f feedbackItem, err error) {
	bad := fmt.Errorf("%w: feedback", errCorrupt)
	if len(b) == 0 || b[0] != feedbackFormat {
		return f, fmt.Errorf("%w: version of feedback", errCorrupt)
	}
	b = b[1:]
	f.seq = seq
	var end string
	for _, s := range [...]*string{&end, &f.MessageID, &f.DeviceID, &f.GenerationID, &f.lock} {
		l, n := binary.Uvarint(b)
		if !shortest(b, n) || l > uint64(len(b)-n) {
			return f, bad
		}
		*s = string(b[n : n+int(l)])
		b = b[n+int(l):]
	}
	f.End = device.CommandEnd(end)
	var ticks [3]int64
	for i := range ticks {
		v, n := binary.Varint(b)
		if !shortest(b, n) {
			return f, bad
		}
		ticks[i], b = v, b[n:]
	}
	f.Ended = windows.Tick(ticks[0]).Time()
	f.expires = windows.Tick(ticks[1]).Time()
	if until := windows.Tick(ticks[2]); until != windows.Unset {
		f.until = until.Time()
	}
	v, n := binary.Uvarint(b)
	if !shortest(b, n) || n != len(b) || v > feedbackDeliveries {
		return f, bad
	}
	f.deliveries = int(v)
	return f, nil
}
