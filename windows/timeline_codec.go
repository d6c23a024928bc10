package windows

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// ErrState is wrapped by errors about saved bytes that can't be read: damage,
// or another version's format.
var ErrState = errors.New("unreadable saved state")

const timelineVersion = 1

// AppendBinary appends the clocks, not the policy, in a form that depends on
// them alone: version, mode, A, M, W, the number of keys above the floor, and
// each with its M and W in the order of the keys.
func (t *Timeline) AppendBinary(dst []byte) []byte {
	dst = append(dst, timelineVersion, byte(t.mode))
	dst = binary.BigEndian.AppendUint64(dst, uint64(t.arrival))
	dst = binary.BigEndian.AppendUint64(dst, uint64(t.clock.newest))
	dst = binary.BigEndian.AppendUint64(dst, uint64(t.clock.mark))
	floor := t.Floor()
	names := make([]string, 0, len(t.keys))
	for k, c := range t.keys {
		if c.mark > floor {
			names = append(names, k)
		}
	}
	slices.Sort(names)
	dst = binary.AppendUvarint(dst, uint64(len(names)))
	for _, k := range names {
		c := t.keys[k]
		dst = binary.AppendUvarint(dst, uint64(len(k)))
		dst = append(dst, k...)
		dst = binary.BigEndian.AppendUint64(dst, uint64(c.newest))
		dst = binary.BigEndian.AppendUint64(dst, uint64(c.mark))
	}
	return dst
}

// Restore sets the clocks to what AppendBinary wrote. On error, which wraps
// ErrState, the timeline is unchanged.
func (t *Timeline) Restore(b []byte) error {
	bad := func(what string) error { return fmt.Errorf("timeline: %s: %w", what, ErrState) }
	if len(b) < 26 {
		return bad("truncated")
	}
	if b[0] != timelineVersion {
		return bad(fmt.Sprintf("version %d is unknown", b[0]))
	}
	if TimeMode(b[1]) != t.mode {
		return bad("it was kept in another time mode")
	}
	tick := func(b []byte) Tick { return Tick(binary.BigEndian.Uint64(b)) }
	inRange := func(x Tick) bool { return x == Unset || x >= MinTick-MaxSpan && x <= MaxTick }
	r := *t
	r.arrival, r.clock = tick(b[2:]), clock{tick(b[10:]), tick(b[18:])}
	if !inRange(r.arrival) || !inRange(r.clock.newest) || !inRange(r.clock.mark) {
		return bad("a clock is out of range")
	}
	n, used := binary.Uvarint(b[26:])
	if used <= 0 || n > uint64(len(b)) {
		return bad("number of keys")
	}
	b = b[26+used:]
	r.keys = make(map[string]clock, n)
	for range n {
		l, used := binary.Uvarint(b)
		if used <= 0 || l > uint64(len(b)) || uint64(len(b)-used) < l+16 {
			return bad("truncated key")
		}
		b = b[used:]
		c := clock{tick(b[l:]), tick(b[l+8:])}
		if !inRange(c.newest) || !inRange(c.mark) {
			return bad("a clock is out of range")
		}
		r.keys[string(b[:l])] = c
		b = b[l+16:]
	}
	if len(b) != 0 {
		return bad("bytes after the end")
	}
	r.sweepAt = max(leastKeySweep, 2*len(r.keys))
	*t = r
	return nil
}
