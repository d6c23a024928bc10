package partition

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gemello/gemello/device/query"
	"github.com/gemello/gemello/windows"
)

// TrialMessage is a message that is asked about and never sent.
type TrialMessage struct {
	Source             string // one of the Source constants; "" is SourceTelemetry
	DeviceID, ModuleID string
	Properties         []TrialProperty
	Body               []byte
	Arrival            windows.Tick
}

// TrialProperty is a property of a TrialMessage; of a system property the name
// is that of a condition without $, such as contentType.
type TrialProperty struct {
	Name, Value string
	System      bool
}

// Trial says where a message would go and why.
type Trial struct {
	Routes   []RouteTrial
	Copies   []CopyTrial
	Fallback bool // it goes to the built-in endpoint for want of a route
	Reason   string
}

// RouteTrial is what became of one route.
type RouteTrial struct {
	Name      string
	Matched   bool
	Reason    string
	Endpoints []string
}

// CopyTrial is one copy with the headers that it would have.
type CopyTrial struct {
	Topic   string
	Headers []Header
}

var systemNames = map[string]byte{
	"contenttype": headerContentType, "contentencoding": headerContentEncoding, "correlationid": headerCorrelationID,
	"messageid": headerMessageID, "userid": headerUserID, "to": headerTo, "creationtime": headerCreated,
	"absoluteexpirytime": headerExpiry, "interfaceid": headerInterface, "subject": headerSubject, "outputname": headerOutput,
}

// Try routes a message by a plan as it would be routed now, and changes nothing.
func (d *Devices) Try(p *RoutingPlan, t *TrialMessage) (Trial, error) {
	plan, err := compileRoutes(p, &d.router.topics)
	if err != nil {
		return Trial{}, err
	}
	shadow := &Devices{o: d.o, position: d.position, cache: d.cache, effects: &Effects{}, router: newRouter(d.router.topics)}
	shadow.router.plan = plan
	m := &shadow.router.message
	if err := m.ofTrial(t); err != nil {
		return Trial{}, err
	}
	m.offset = d.position
	if err := shadow.ask(); err != nil {
		return Trial{}, err
	}
	var out Trial
	for i := range p.Routing.Routes {
		r := &p.Routing.Routes[i]
		rt := RouteTrial{Name: r.Name, Endpoints: r.Endpoints}
		rt.Matched, rt.Reason = shadow.router.reason(r)
		out.Routes = append(out.Routes, rt)
	}
	if err := shadow.route(); err != nil {
		return Trial{}, err
	}
	for i := range shadow.effects.Len() {
		c := CopyTrial{Topic: shadow.effects.Output(i).Topic}
		for h := range shadow.effects.Headers(i) {
			c.Headers = append(c.Headers, Header{strings.Clone(h.Key), slices.Clone(h.Value)})
		}
		out.Copies = append(out.Copies, c)
	}
	f := &shadow.router.figures
	out.Fallback = f.Fallback > 0
	out.Reason = f.reason(m.source)
	return out, nil
}

// reason says in words what became of a message.
func (f *RoutingFigures) reason(source int) string {
	switch {
	case f.TooLarge > 0:
		return fmt.Sprintf("dropped where it has more than %d bytes with its enrichments", MaxMessage)
	case f.Suspended > 0:
		return "not copied to an endpoint that is suspended: its topic refused records"
	case f.Fallback > 0:
		return "no route matched; the fallback takes it to " + EndpointEvents
	case f.Unmatched > 0 && source == 0:
		return "dropped: no route matched and the fallback is off"
	case f.Unmatched > 0:
		return "dropped: no route of its source matched"
	case f.Routed == 0:
		return "no route has this source, so it goes to " + EndpointEvents
	}
	return "routed"
}

// reason says whether a route takes the router's message, and why.
func (r *router) reason(route *Route) (matched bool, why string) {
	if route.Disabled {
		return false, "the route is disabled"
	}
	if route.Source != sources[r.message.source] {
		return false, "the route is for " + route.Source
	}
	condition, err := query.ParseRoute(route.Condition)
	if err != nil {
		return false, err.Error()
	}
	switch condition.Match(&r.asked) {
	case query.Yes:
		return true, "the condition is true"
	case query.No:
		return false, "the condition is false"
	}
	why = "the condition is undefined: a property or path that it names is missing, or has another type"
	lower := strings.ToLower(route.Condition)
	switch {
	case strings.Contains(lower, "$body") && r.asked.Body == "":
		why += "; $body needs the content type application/json and the content encoding utf-8, utf-16 or utf-32"
	case strings.Contains(lower, "$twin") && r.asked.Twin == nil:
		why += "; there is no twin of the device"
	}
	return false, why
}

func (m *message) ofTrial(t *TrialMessage) error {
	if m.source = slices.Index(sources, canonicalSource(t.Source)); m.source < 0 {
		return fmt.Errorf("%w: source is %.70q, allowed are %s", ErrRouting, t.Source, strings.Join(sources, ", "))
	}
	m.category = categories[m.source]
	m.deviceID, m.moduleID, m.body, m.arrival = t.DeviceID, t.ModuleID, t.Body, t.Arrival
	m.size = len(t.Body)
	for _, p := range t.Properties {
		m.size += len(p.Value)
		if !p.System {
			m.size += len(p.Name)
			m.props = append(m.props, property{name: p.Name, value: p.Value})
			continue
		}
		code, ok := systemNames[strings.ToLower(p.Name)]
		if !ok {
			return fmt.Errorf("%w: there is no system property %.70q", ErrRouting, p.Name)
		}
		m.props = append(m.props, property{code: code, value: p.Value})
	}
	return nil
}
