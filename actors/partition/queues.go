package partition

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/gemello/gemello/windows"
)

// dueKey holds when time alone will change the queue of a device or module and
// how long it is, so that a restart finds the queues without reading all devices.
func dueKey(id string) []byte { return append([]byte{0, 1, 'e'}, id...) }

// schedule notes a document's next change by time.
func (d *Devices) schedule(id string, doc *Device) {
	if doc == nil {
		d.due.drop(id)
		return
	}
	d.due.set(id, &doc.Queue)
}

func (d *Devices) saveDue(b windows.Batch, id string, doc *Device) {
	if doc == nil || doc.Queue.Len() == 0 {
		b.DeleteRange(dueKey(id), append(dueKey(id), 0))
		return
	}
	v := binary.BigEndian.AppendUint64(nil, uint64(windows.TickOf(doc.Queue.Next())))
	b.Set(dueKey(id), append(v, byte(doc.Queue.Len())))
}

// loadQueues reads what of the queues is always in memory.
func (d *Devices) loadQueues() error {
	err := d.o.State.Scan([]byte{0, 1, 'e'}, []byte{0, 1, 'e' + 1}, func(k, v []byte) error {
		if len(v) != 8+1 {
			return fmt.Errorf("%w: time of a queue", errCorrupt)
		}
		d.due.put(string(k[3:]), windows.Tick(binary.BigEndian.Uint64(v)), int(v[8]))
		return nil
	})
	if err != nil {
		return err
	}
	return d.o.State.Scan([]byte{0, 1, 'f'}, []byte{0, 1, 'f' + 1}, func(k, v []byte) error {
		if len(k) != 3+8 {
			return fmt.Errorf("%w: key of feedback", errCorrupt)
		}
		return d.feedback.restore(int64(binary.BigEndian.Uint64(k[3:])), v)
	})
}

// restoreQueues takes a record of the state topic that is not of a device.
func (d *Devices) restoreQueues(key string, value []byte) (ok bool, err error) {
	switch {
	case strings.HasPrefix(key, feedbackPrefix):
		if len(key) != len(feedbackPrefix)+8 {
			return true, fmt.Errorf("%w: key of feedback", errCorrupt)
		}
		seq := int64(binary.BigEndian.Uint64([]byte(key[len(feedbackPrefix):])))
		err = d.feedback.restore(seq, value)
		d.feedback.mark(seq)
		delete(d.feedback.touched, seq)
	case isContentKey(key):
		if value != nil {
			value = append([]byte{}, value...)
		}
		d.contents.changed[key] = value
		d.unsaved += int64(len(value)) / 64
	default:
		return false, nil
	}
	d.unsaved++
	return true, err
}
