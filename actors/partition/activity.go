package partition

import (
	"math"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/windows"
)

const (
	// activityStep is by how much telemetry moves a device's last activity at
	// least: it costs a write of the document, which a message does not.
	activityStep = windows.Minute
	// maxActivity bounds the entities whose last activity is at hand.
	maxActivity = 1 << 16
	// absent stands for the last activity of an entity that is not there.
	absent = windows.Tick(math.MaxInt64)
)

// activity remembers the last activities that documents hold, so that most
// messages need not read one. What it holds is not observable.
type activity map[string]windows.Tick

// noteActivity lets the last activity of a device or module follow its telemetry.
func (d *Devices) noteActivity(r *Record) error {
	module, generation := "", ""
	for i := range r.Headers {
		switch r.Headers[i].Key {
		case device.HeaderModule:
			module = text(r.Headers[i].Value)
		case device.HeaderGeneration:
			generation = text(r.Headers[i].Value)
		}
	}
	var last windows.Tick
	var known bool
	if module == "" {
		last, known = d.active[string(r.Key)]
	}
	if known && (last == absent || r.Arrival-last < activityStep) {
		return nil
	}
	key := device.Ref{Device: string(r.Key), Module: module}.Key()
	if last, known = d.active[key]; known && (last == absent || r.Arrival-last < activityStep) {
		return nil
	}
	doc, err := d.cache.get(key)
	if err != nil {
		return err
	}
	if len(d.active) >= maxActivity {
		clear(d.active)
	}
	if doc == nil {
		d.active[key] = absent
		return nil
	}
	last = windows.TickOf(doc.Presence.LastActivity)
	if r.Arrival-last >= activityStep && (generation == "" || generation == doc.Identity.GenerationID) {
		n := *doc
		n.Presence.LastActivity = r.Arrival.Time()
		d.put(key, &n)
		last = r.Arrival
	}
	d.active[key] = last
	return nil
}
