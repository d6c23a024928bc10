package partition

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/query"
)

// Routing says where the messages of a hub go (azure-iot-wire 9.1). It is what
// the settings topic holds, as JSON. The zero value sends telemetry to the
// built-in endpoint.
type Routing struct {
	NoFallback  bool         `json:"noFallback,omitempty"` // telemetry that no route matches is dropped
	Routes      []Route      `json:"routes,omitempty"`
	Enrichments []Enrichment `json:"enrichments,omitempty"`
	Webhooks    []Webhook    `json:"webhooks,omitempty"`
}

// Route sends the messages of a source that pass a condition to endpoints.
type Route struct {
	Name      string   `json:"name"`
	Source    string   `json:"source"`              // one of the Source constants
	Condition string   `json:"condition,omitempty"` // query.ParseRoute; "" is true
	Endpoints []string `json:"endpoints"`           // EndpointEvents, "topic:NAME", "webhook:NAME"
	Disabled  bool     `json:"disabled,omitempty"`
}

// Enrichment adds an application property to the copies for its endpoints
// (azure-iot-wire 9.3).
type Enrichment struct {
	Key       string   `json:"key"`
	Value     string   `json:"value"` // static text, $iothubname, $twin.tags.… or $twin.properties.….…
	Endpoints []string `json:"endpoints"`
}

// Webhook is an endpoint that messages are posted to.
type Webhook struct {
	Name string `json:"name"`
	URL  string `json:"url"`
	// Authorization is the value of that header, sealed; nil for none.
	Authorization []byte `json:"authorization,omitempty"`
}

// Sources of messages (azure-iot-wire 9.1).
const (
	SourceTelemetry  = "DeviceMessages"
	SourceTwin       = "TwinChangeEvents"
	SourceLifecycle  = "DeviceLifecycleEvents"
	SourceJob        = "DeviceJobLifecycleEvents"
	SourceDigital    = "DigitalTwinChangeEvents"
	SourceConnection = "DeviceConnectionStateEvents"
)

var sources = []string{SourceTelemetry, SourceTwin, SourceLifecycle, SourceJob, SourceDigital, SourceConnection}

// Names of endpoints.
const (
	EndpointEvents  = "events"   // the built-in endpoint
	topicEndpoint   = "topic:"   // + a topic of the user's
	webhookEndpoint = "webhook:" // + the name of a Webhook
)

// fallbackName is what the fallback is called where routes are counted.
const fallbackName = "$fallback"

// RoutingLimits bound a Routing; zero values are the defaults of azure-iot-wire
// 9.1.
type RoutingLimits struct {
	Routes      int // 0: 100
	Endpoints   int // beside the built-in one; 0: 10, at most 60
	Enrichments int // 0: 10
}

// MaxRoutingEndpoints is the most that RoutingLimits.Endpoints may be.
const MaxRoutingEndpoints = 60

func (l RoutingLimits) orDefaults() RoutingLimits {
	return RoutingLimits{cmp.Or(l.Routes, 100), cmp.Or(l.Endpoints, 10), cmp.Or(l.Enrichments, 10)}
}

// ErrRouting is wrapped by the errors of Routing.Validate.
var ErrRouting = errors.New("invalid routing")

const (
	maxRouteName       = 64
	maxEnrichmentValue = 1 << 10
	// maxCondition keeps the most routes that are allowed within one record.
	maxCondition = 4 << 10
)

// Canonical returns the routing with its parts in order of their names and the
// sources in their own spelling; equal ones then have equal JSON.
func (r Routing) Canonical() Routing {
	r.Routes = slices.Clone(r.Routes)
	for i := range r.Routes {
		x := &r.Routes[i]
		x.Source = canonicalSource(x.Source)
	}
	slices.SortFunc(r.Routes, func(a, b Route) int { return strings.Compare(a.Name, b.Name) })
	r.Enrichments = slices.Clone(r.Enrichments)
	slices.SortFunc(r.Enrichments, func(a, b Enrichment) int { return strings.Compare(a.Key, b.Key) })
	r.Webhooks = slices.Clone(r.Webhooks)
	slices.SortFunc(r.Webhooks, func(a, b Webhook) int { return strings.Compare(a.Name, b.Name) })
	return r
}

func canonicalSource(s string) string {
	if s == "" {
		return SourceTelemetry
	}
	for _, known := range sources {
		if strings.EqualFold(s, known) {
			return known
		}
	}
	return s
}

// Validate checks a routing as a whole. ownTopics is the prefix of the hub's own
// topics, which routes must not write to. The error wraps ErrRouting, and of a
// condition also a *query.Error.
func (r *Routing) Validate(l RoutingLimits, ownTopics string) error {
	l = l.orDefaults()
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: "+format, append([]any{ErrRouting}, args...)...)
	}
	if n := len(r.Routes); n > l.Routes {
		return bad("%d routes, %d are allowed", n, l.Routes)
	}
	if n := len(r.Enrichments); n > l.Enrichments {
		return bad("%d enrichments, %d are allowed", n, l.Enrichments)
	}
	seen := map[string]bool{}
	for i := range r.Webhooks {
		w := &r.Webhooks[i]
		if err := validName("webhook", w.Name); err != nil {
			return err
		}
		if seen[w.Name] {
			return bad("webhook %q is there twice", w.Name)
		}
		seen[w.Name] = true
	}
	used := map[string]bool{}
	endpoints := func(what string, list []string) error {
		if len(list) == 0 {
			return bad("%s has no endpoint; allowed are %s, topic:NAME and webhook:NAME", what, EndpointEvents)
		}
		for _, e := range list {
			if err := r.validEndpoint(e, ownTopics); err != nil {
				return fmt.Errorf("%s: %w", what, err)
			}
			if e != EndpointEvents {
				used[e] = true
			}
		}
		return nil
	}
	clear(seen)
	for i := range r.Routes {
		x := &r.Routes[i]
		if err := validName("route", x.Name); err != nil {
			return err
		}
		// Azure compares names without case.
		if name := strings.ToLower(x.Name); seen[name] {
			return bad("route %q is there twice", x.Name)
		} else {
			seen[name] = true
		}
		what := fmt.Sprintf("route %q", x.Name)
		if !slices.Contains(sources, x.Source) {
			return bad("%s: source is %q, allowed are %s", what, x.Source, strings.Join(sources, ", "))
		}
		if len(x.Condition) > maxCondition {
			return bad("%s: the condition has %d bytes, %d are allowed", what, len(x.Condition), maxCondition)
		}
		if _, err := query.ParseRoute(x.Condition); err != nil {
			return fmt.Errorf("%w: %s: condition: %w", ErrRouting, what, err)
		}
		if err := endpoints(what, x.Endpoints); err != nil {
			return err
		}
	}
	clear(seen)
	for i := range r.Enrichments {
		x := &r.Enrichments[i]
		what := fmt.Sprintf("enrichment %q", x.Key)
		switch {
		case x.Key == "" || len(x.Key) > maxRouteName || strings.ContainsFunc(x.Key, notInName):
			return bad("%s: the key has 1 to %d letters, digits, '-', '_' and '.'", what, maxRouteName)
		case seen[strings.ToLower(x.Key)]:
			return bad("%s is there twice", what)
		case x.Value == "" || len(x.Value) > maxEnrichmentValue:
			return bad("%s: the value has 1 to %d bytes", what, maxEnrichmentValue)
		}
		seen[strings.ToLower(x.Key)] = true
		if err := endpoints(what, x.Endpoints); err != nil {
			return err
		}
	}
	if len(used) > l.Endpoints {
		return bad("%d endpoints beside %s, %d are allowed", len(used), EndpointEvents, l.Endpoints)
	}
	return nil
}

func validName(what, name string) error {
	if name == "" || len(name) > maxRouteName || strings.ContainsFunc(name, notInName) || name == EndpointEvents {
		return fmt.Errorf("%w: the name of %s %.70q has 1 to %d letters, digits, '-', '_' and '.' and is not %q", ErrRouting, what, name, maxRouteName, EndpointEvents)
	}
	return nil
}

func notInName(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.')
}

func (r *Routing) validEndpoint(name, ownTopics string) error {
	if name == EndpointEvents {
		return nil
	}
	if topic, ok := strings.CutPrefix(name, topicEndpoint); ok {
		switch {
		case topic == "" || len(topic) > 249 || strings.ContainsFunc(topic, notInName) || topic == "." || topic == "..":
			return fmt.Errorf("%w: endpoint %.70q names no topic", ErrRouting, name)
		case strings.HasPrefix(topic, ownTopics):
			return fmt.Errorf("%w: endpoint %.70q is a topic of the hub's own; choose another name, or the endpoint %s", ErrRouting, name, EndpointEvents)
		}
		return nil
	}
	if hook, ok := strings.CutPrefix(name, webhookEndpoint); ok {
		if slices.ContainsFunc(r.Webhooks, func(w Webhook) bool { return w.Name == hook }) {
			return nil
		}
		return fmt.Errorf("%w: there is no webhook %.70q", ErrRouting, hook)
	}
	return fmt.Errorf("%w: endpoint %.70q, allowed are %s, topic:NAME and webhook:NAME", ErrRouting, name, EndpointEvents)
}

// Topics returns the endpoints that are topics of the user's, without the
// prefix, and Hooks those that are webhooks.
func (r *Routing) Topics() []string { return r.endpointsOf(topicEndpoint) }

// Hooks returns the names of the webhooks that a route names.
func (r *Routing) Hooks() []string { return r.endpointsOf(webhookEndpoint) }

func (r *Routing) endpointsOf(prefix string) []string {
	var names []string
	for i := range r.Routes {
		for _, e := range r.Routes[i].Endpoints {
			if name, ok := strings.CutPrefix(e, prefix); ok {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// RoutingPlan is a routing as of a version of the settings, with the endpoints
// whose topics refused records for good.
type RoutingPlan struct {
	Routing   Routing
	Version   uint64
	Suspended []string // endpoints, sorted
}

// Hash identifies what a plan does; the default's is zero.
func (p *RoutingPlan) Hash() [32]byte {
	r := p.Routing.Canonical()
	for i := range r.Webhooks {
		r.Webhooks[i] = Webhook{Name: r.Webhooks[i].Name} // where it is posted to is no matter of the core's
	}
	b, err := json.Marshal(struct {
		Routing
		Suspended []string `json:"suspended,omitempty"`
	}{r, p.Suspended})
	if err != nil {
		panic(err) // a struct of strings
	}
	if string(b) == "{}" {
		return [32]byte{}
	}
	return sha256.Sum256(b)
}

// RoutingTopics names where routed messages go.
type RoutingTopics struct {
	Events        string // the built-in endpoint
	WebhookPrefix string // of the topics that webhooks are posted from
	HubName       string // of the hub: value of $iothubname, and in events
}

// compiledRoutes are a plan made ready: routes by source, endpoints as bits.
type compiledRoutes struct {
	hash      [32]byte
	version   uint64
	bySource  [6][]compiledRoute // by place in sources; disabled ones left out
	named     [6]bool            // a route names the source
	endpoints []compiledEndpoint
	fallback  uint64 // endpoints of telemetry that no route matches
	builtin   uint64 // the bit of EndpointEvents
	twins     bool   // a condition may look at the twin
}

type compiledRoute struct {
	name      string
	condition *query.Route
	endpoints uint64
	matched   int64
}

type compiledEndpoint struct {
	name      string
	topic     string
	suspended bool
	enrich    []compiledEnrichment
	copies    int64
}

type compiledEnrichment struct {
	key   string
	value string
	path  []string // into the twin: "tags", … or "properties", "desired", …
}

func compileRoutes(p *RoutingPlan, t *RoutingTopics) (*compiledRoutes, error) {
	c := &compiledRoutes{hash: p.Hash(), version: p.Version}
	bit := func(name string) uint64 {
		i := slices.IndexFunc(c.endpoints, func(e compiledEndpoint) bool { return e.name == name })
		if i < 0 {
			i = len(c.endpoints)
			e := compiledEndpoint{name: name, topic: t.topicOf(name)}
			_, e.suspended = slices.BinarySearch(p.Suspended, name)
			for j := range p.Routing.Enrichments {
				if x := &p.Routing.Enrichments[j]; slices.Contains(x.Endpoints, name) {
					e.enrich = append(e.enrich, compileEnrichment(x, t.HubName))
				}
			}
			c.endpoints = append(c.endpoints, e)
		}
		return 1 << i
	}
	c.builtin = bit(EndpointEvents)
	if !p.Routing.NoFallback {
		c.fallback = c.builtin
	}
	for i := range p.Routing.Routes {
		r := &p.Routing.Routes[i]
		at := slices.Index(sources, r.Source)
		if at < 0 {
			return nil, fmt.Errorf("%w: route %q has the source %q", ErrRouting, r.Name, r.Source)
		}
		if r.Disabled {
			continue
		}
		condition, err := query.ParseRoute(r.Condition)
		if err != nil {
			return nil, fmt.Errorf("%w: route %q: %w", ErrRouting, r.Name, err)
		}
		x := compiledRoute{name: r.Name, condition: condition}
		for _, e := range r.Endpoints {
			x.endpoints |= bit(e)
		}
		if len(c.endpoints) > MaxRoutingEndpoints+1 {
			return nil, fmt.Errorf("%w: more than %d endpoints", ErrRouting, MaxRoutingEndpoints)
		}
		c.named[at] = true
		c.bySource[at] = append(c.bySource[at], x)
		c.twins = c.twins || strings.Contains(strings.ToLower(r.Condition), "$twin")
	}
	return c, nil
}

func (t *RoutingTopics) topicOf(endpoint string) string {
	if topic, ok := strings.CutPrefix(endpoint, topicEndpoint); ok {
		return topic
	}
	if hook, ok := strings.CutPrefix(endpoint, webhookEndpoint); ok {
		return t.WebhookPrefix + hook
	}
	return t.Events
}

func compileEnrichment(x *Enrichment, hubName string) compiledEnrichment {
	c := compiledEnrichment{key: x.Key, value: x.Value}
	switch lower := strings.ToLower(x.Value); {
	case lower == "$iothubname":
		c.value = hubName
	case strings.HasPrefix(lower, "$twin.tags."):
		c.path = strings.Split(x.Value, ".")[1:]
		c.path[0] = "tags"
	case strings.HasPrefix(lower, "$twin.properties.desired."), strings.HasPrefix(lower, "$twin.properties.reported."):
		c.path = strings.Split(x.Value, ".")[2:]
		c.path[0] = strings.ToLower(c.path[0])
	}
	return c
}

// resolve returns the enrichment's value. Where the twin has none, or an object,
// it is the text itself (azure-iot-wire 9.3).
func (c *compiledEnrichment) resolve(twin *device.Twin) string {
	if c.path == nil || twin == nil {
		return c.value
	}
	var v device.View
	switch c.path[0] {
	case "tags":
		v = twin.Tags.Members()
	case "desired":
		v = twin.Desired.View()
	default:
		v = twin.Reported.View()
	}
	for i, name := range c.path[1:] {
		var raw string
		if v, raw = v.Member(name, true); raw != "" && i == len(c.path)-2 {
			return c.scalar(raw)
		}
	}
	return c.scalar(v.Text())
}

// scalar is a JSON text as a property: strings bare, all else as it is written.
func (c *compiledEnrichment) scalar(raw string) string {
	if raw == "" {
		return c.value
	}
	v := query.OfJSON(raw)
	if s, ok := v.Text(); ok {
		return s
	}
	return raw
}
