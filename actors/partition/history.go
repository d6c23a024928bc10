package partition

import (
	"errors"
	"fmt"

	"github.com/gemello/gemello/device"
)

// History is the twin of one device, followed through records of the device log.
type History struct {
	core *Devices
	id   string
}

// nothing is the state of a core that begins empty.
type nothing struct{}

func (nothing) Get([]byte) ([]byte, error)                        { return nil, nil }
func (nothing) Scan(_, _ []byte, _ func(k, v []byte) error) error { return nil }

// NewHistory follows a device that does not exist yet.
func NewHistory(partition int32, id string) (*History, error) {
	core, err := NewDevices(DevicesOptions{Partition: partition, State: nothing{}}, 0)
	if err != nil {
		return nil, err
	}
	quiet := &RoutingPlan{Routing: Routing{NoFallback: true}} // messages are not copied again
	return &History{core: core, id: id}, core.RestoreRoutes(quiet, quiet.Hash())
}

// Restore begins the history with the device as a backup had it, a record of the
// state topic. What belongs to its partition as a whole stays away: the contents
// of its commands and the configurations that it had.
func (h *History) Restore(state []byte) error {
	doc, err := decodeState(state)
	if err != nil {
		return fmt.Errorf("restored device %q: %w", h.id, err)
	}
	doc.Queue, doc.Configured, doc.Session = device.CommandQueue{}, "", ""
	doc.Presence.Queued, doc.Configurations = 0, ""
	h.core.cache.put(h.id, doc)
	return nil
}

// Document is the device as the records applied so far left it, nil when there
// is none.
func (h *History) Document() (*device.Document, error) {
	d, err := h.core.Get(device.Ref{Device: h.id})
	if err != nil || d == nil {
		return nil, err
	}
	return &d.Document, nil
}

// errNoAnswer says that a record was no control record with an answer.
var errNoAnswer = errors.New("no answer")

// Apply takes the next record of the device and returns why it was refused, nil
// when it was not. err is a fault of the replay itself.
func (h *History) Apply(r *Record) (refused, err error) {
	with := *r
	with.Headers = append([]Header{{Key: device.HeaderRequest, Value: []byte("history")}}, r.Headers...)
	if err := h.core.Apply(&with); err != nil {
		return nil, err
	}
	refused = errNoAnswer
	for _, reply := range h.core.Effects().Replies {
		refused = reply.Err
	}
	h.core.Take(&Effects{})
	if errors.Is(refused, errNoAnswer) {
		refused = nil
	}
	return refused, nil
}
