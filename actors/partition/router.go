package partition

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/query"
)

// router copies messages to the endpoints of the routes that they match. It
// keeps no state that a later message depends on: what it does is a function of
// the message, the twin and the plan in force.
type router struct {
	topics  RoutingTopics
	plan    *compiledRoutes
	message message
	asked   query.Message // what conditions see of message
	twin    query.Twin
	auth    authTexts
	body    []byte // of an event
	err     error  // of reading state for an event, which ends the term
	head    []byte // headers of message, encoded once for all its copies
	figures RoutingFigures
}

// RoutingFigures count messages by what became of them.
type RoutingFigures struct {
	Routed    int64 // matched a route
	Fallback  int64 // went to the built-in endpoint for want of a route
	Unmatched int64 // dropped: no route, and the fallback is off or does not take them
	TooLarge  int64 // copies dropped: over MaxMessage with their enrichments
	Suspended int64 // copies dropped: the endpoint's topic refused records
	Endpoints []EndpointFigures
	Routes    []EndpointFigures // by route: messages that matched
}

// EndpointFigures count the copies for an endpoint or the matches of a route.
type EndpointFigures struct {
	Name  string
	Count int64
}

func newRouter(t RoutingTopics) *router {
	r := &router{topics: t}
	plan, err := compileRoutes(&RoutingPlan{}, &t)
	if err != nil {
		panic(err) // the default has no conditions
	}
	r.plan = plan
	r.asked.System, r.asked.Property = r.message.lookup, r.message.property
	return r
}

// RoutesHash identifies the plan in force, and RoutesVersion says which version
// of the settings it is of.
func (d *Devices) RoutesHash() [32]byte  { return d.router.plan.hash }
func (d *Devices) RoutesVersion() uint64 { return d.router.plan.version }

// RestoreRoutes goes on with the plan if it is the one that the hash of a
// checkpoint names, so that there is nothing to journal; else the plan in force
// there is not known any more, and the host switches before it feeds the core.
func (d *Devices) RestoreRoutes(p *RoutingPlan, hash [32]byte) error {
	if p.Hash() != hash {
		d.router.plan.hash = hash
		return nil
	}
	plan, err := compileRoutes(p, &d.router.topics)
	if err == nil {
		d.router.plan = plan
	}
	return err
}

// SwitchRoutes makes the plan the one in force from the present position on and
// reports whether it is another than before. The host makes it a barrier.
func (d *Devices) SwitchRoutes(p *RoutingPlan) (bool, error) {
	plan, err := compileRoutes(p, &d.router.topics)
	if err != nil {
		return false, err
	}
	old := d.router.plan
	d.router.keepCounts(plan)
	d.router.plan = plan
	if old.hash == plan.hash {
		return false, nil
	}
	payload, err := json.Marshal(routesEntry{plan.version, fmt.Sprintf("%x", plan.hash)})
	if err != nil {
		return false, err
	}
	d.effects.Journal = append(d.effects.Journal, Entry{Position: d.position, Kind: EntryRoutes, Payload: payload})
	return true, nil
}

// routesEntry is the payload of EntryRoutes.
type routesEntry struct {
	Version uint64 `json:"version"`
	Hash    string `json:"hash"`
}

// keepCounts lets the counters of what stays go on.
func (r *router) keepCounts(next *compiledRoutes) {
	for i := range next.endpoints {
		for j := range r.plan.endpoints {
			if r.plan.endpoints[j].name == next.endpoints[i].name {
				next.endpoints[i].copies = r.plan.endpoints[j].copies
			}
		}
	}
	for s := range next.bySource {
		for i := range next.bySource[s] {
			for j := range r.plan.bySource[s] {
				if r.plan.bySource[s][j].name == next.bySource[s][i].name {
					next.bySource[s][i].matched = r.plan.bySource[s][j].matched
				}
			}
		}
	}
}

func (r *router) report() RoutingFigures {
	f := r.figures
	for i := range r.plan.endpoints {
		f.Endpoints = append(f.Endpoints, EndpointFigures{r.plan.endpoints[i].name, r.plan.endpoints[i].copies})
	}
	for s := range r.plan.bySource {
		for i := range r.plan.bySource[s] {
			f.Routes = append(f.Routes, EndpointFigures{r.plan.bySource[s][i].name, r.plan.bySource[s][i].matched})
		}
	}
	return f
}

// telemetry routes what a device sent.
func (d *Devices) telemetry(r *Record) error {
	if err := d.noteActivity(r); err != nil {
		return err
	}
	if d.suppressed {
		return nil // its copies were committed already, and nothing else comes of it
	}
	rt := d.router
	if rt.plan.fallback == 0 && len(rt.plan.bySource[0]) == 0 {
		rt.figures.Unmatched++
		return nil
	}
	rt.message.fill(r)
	return d.route()
}

// fill reads a telemetry record.
func (m *message) fill(r *Record) {
	m.source, m.category = 0, categories[0]
	m.deviceID, m.arrival, m.offset, m.body = text(r.Key), r.Arrival, r.Offset, r.Value
	m.moduleID, m.auth, m.generation, m.model = "", "", "", ""
	bag := ""
	for i := range r.Headers {
		v := text(r.Headers[i].Value)
		switch r.Headers[i].Key {
		case device.HeaderModule:
			m.moduleID = v
		case device.HeaderAuth:
			m.auth = v
		case device.HeaderGeneration:
			m.generation = v
		case device.HeaderModel:
			m.model = v
		case device.HeaderBag:
			bag = v
		}
	}
	m.readBag(bag)
}

// route copies the router's message to the endpoints of all routes that it
// matches, once to each.
func (d *Devices) route() error {
	rt := d.router
	m := &rt.message
	to := uint64(0)
	if routes := rt.plan.bySource[m.source]; len(routes) > 0 {
		if err := d.ask(); err != nil {
			return err
		}
		for i := range routes {
			if routes[i].condition.Match(&rt.asked) == query.Yes {
				routes[i].matched++
				to |= routes[i].endpoints
			}
		}
	}
	switch {
	case to != 0:
		rt.figures.Routed++
	case m.source == 0:
		if to = rt.plan.fallback; to != 0 {
			rt.figures.Fallback++
		}
	case !rt.plan.named[m.source]:
		to = rt.plan.builtin
	}
	if to == 0 {
		rt.figures.Unmatched++
		return nil
	}
	rt.head = rt.head[:0]
	for i := range rt.plan.endpoints {
		if to&(1<<i) == 0 {
			continue
		}
		if err := d.copyTo(&rt.plan.endpoints[i]); err != nil {
			return err
		}
	}
	return nil
}

// ask prepares what conditions see of the message.
func (d *Devices) ask() error {
	rt := d.router
	rt.asked.Body = rt.message.json()
	rt.asked.Twin = nil
	if !rt.plan.twins {
		return nil
	}
	doc, err := d.cache.find(rt.message.deviceID)
	if err != nil || doc == nil {
		return err
	}
	rt.twin.Document = &doc.Document
	rt.asked.Twin = &rt.twin
	return nil
}

func (d *Devices) copyTo(e *compiledEndpoint) error {
	rt := d.router
	m := &rt.message
	if e.suspended {
		rt.figures.Suspended++
		return nil
	}
	var twin *device.Twin
	size := m.size
	if len(e.enrich) > 0 {
		var err error
		if twin, err = d.enrichingTwin(e); err != nil {
			return err
		}
		for i := range e.enrich {
			size += len(e.enrich[i].key) + len(e.enrich[i].resolve(twin))
		}
	}
	if size > MaxMessage {
		rt.figures.TooLarge++
		return nil
	}
	e.copies++
	n := d.effects.topic(e.topic)
	b := d.effects.room()
	from := len(b)
	b = append(b, m.deviceID...)
	mid := len(b)
	b = append(b, m.body...)
	end := len(b)
	if len(e.enrich) > 0 {
		b = m.appendHeaders(b, &rt.auth, e.enrich)
		for i := range e.enrich {
			b = appendProperty(b, e.enrich[i].key, e.enrich[i].resolve(twin))
		}
	} else {
		if len(rt.head) == 0 {
			rt.head = m.appendHeaders(rt.head, &rt.auth, nil)
		}
		b = append(b, rt.head...)
	}
	if e.positioned() {
		var at [40]byte
		b = appendCoded(b, headerPosition, text(d.appendPosition(at[:0], m.offset)))
	}
	d.effects.doneWithHeaders(n, b, from, mid, end)
	return nil
}

// positioned endpoints tell their readers where in the device log a message
// lies: an id that stays the same when it is delivered again.
func (e *compiledEndpoint) positioned() bool {
	return len(e.name) > len(webhookEndpoint) && e.name[:len(webhookEndpoint)] == webhookEndpoint
}

func (d *Devices) appendPosition(dst []byte, offset int64) []byte {
	dst = strconv.AppendInt(dst, int64(d.o.Partition), 10)
	return strconv.AppendInt(append(dst, ':'), offset, 10)
}

// enrichingTwin returns the twin that the endpoint's enrichments look at, nil
// where none does or there is no twin.
func (d *Devices) enrichingTwin(e *compiledEndpoint) (*device.Twin, error) {
	looks := false
	for i := range e.enrich {
		looks = looks || e.enrich[i].path != nil
	}
	if !looks {
		return nil, nil
	}
	m := &d.router.message
	var doc *Device
	var err error
	if m.moduleID == "" {
		doc, err = d.cache.find(m.deviceID)
	} else {
		doc, err = d.cache.get(device.Ref{Device: strings.Clone(m.deviceID), Module: strings.Clone(m.moduleID)}.Key())
	}
	if err != nil || doc == nil {
		return nil, err
	}
	return &doc.Twin, nil
}
