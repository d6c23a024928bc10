package partition

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/windows"
)

// contentKey names the content of a command in the state topic and, behind the
// store's prefix, in the store (docs/format/device-state.md): the device id, the
// module id, which may be empty, the letter c and the sequence number.
func contentKey(ref device.Ref, sequence int64) string {
	b := append(make([]byte, 0, len(ref.Device)+len(ref.Module)+11), ref.Device...)
	b = append(b, 0)
	b = append(b, ref.Module...)
	b = append(b, 0, 'c')
	return string(binary.BigEndian.AppendUint64(b, uint64(sequence)))
}

// isContentKey tells keys of contents in the state topic from those of devices.
func isContentKey(key string) bool {
	did, rest, _ := strings.Cut(key, "\x00")
	_, rest, ok := strings.Cut(rest, "\x00")
	return ok && did != "" && len(rest) == 1+8 && rest[0] == 'c'
}

func storedContentKey(key string) []byte { return append([]byte{0, 1, 'q'}, key...) }

// contents are properties and bodies of queued commands. Those that changed since
// the last save are in memory, in their stored form.
type contents struct {
	state   windows.State
	changed map[string][]byte // nil: gone
	touched map[string]bool   // not in the changelog yet
}

func newContents(state windows.State) contents {
	return contents{state: state, changed: map[string][]byte{}, touched: map[string]bool{}}
}

// put keeps a content, or forgets it when it is nil.
func (c *contents) put(key string, stored []byte) {
	c.changed[key] = stored
	c.touched[key] = true
}

func (c *contents) get(key string) (device.Content, error) {
	var content device.Content
	stored, ok := c.changed[key]
	if !ok {
		var err error
		if stored, err = c.state.Get(storedContentKey(key)); err != nil {
			return content, fmt.Errorf("%w: %w", errState, err)
		}
	}
	if stored == nil {
		return content, fmt.Errorf("%w: %w: no content under %q", errState, errCorrupt, key)
	}
	if err := content.UnmarshalBinary(stored); err != nil {
		return content, fmt.Errorf("%w: %w", errState, err)
	}
	return content, nil
}

// take emits what changed since the last take.
func (c *contents) take(e *Effects, topic uint32) {
	for _, key := range slices.Sorted(maps.Keys(c.touched)) {
		e.entry(topic, key, c.changed[key])
	}
	clear(c.touched)
}

func (c *contents) save(b windows.Batch) {
	for _, key := range slices.Sorted(maps.Keys(c.changed)) {
		k := storedContentKey(key)
		if v := c.changed[key]; v != nil {
			b.Set(k, v)
		} else {
			b.DeleteRange(k, append(slices.Clone(k), 0))
		}
	}
	clear(c.changed)
}

// entry emits a record, or a tombstone for a nil value.
func (e *Effects) entry(topic uint32, key string, value []byte) {
	b := e.room()
	from := len(b)
	b = append(b, key...)
	mid := len(b)
	b = append(b, value...)
	e.done(topic, b, from, mid)
	if value == nil {
		e.tombstone()
	}
}
