package api

import (
	"context"
	"fmt"
	"net/http"

	"github.com/gemello/gemello/device"
)

// Routing manages where messages go (azure-iot-wire 9). Errors wrap
// device.ErrArgument when the result of a change is invalid, and ErrNoObject.
type Routing interface {
	Status(ctx context.Context) (RoutingStatus, error)
	// Apply makes one change of all that the given one holds: what is there of
	// the same name is replaced. When it returns, the change is in force.
	Apply(ctx context.Context, c RoutingChange, a device.Audit) error
	// Delete removes one object; kind is "routes", "enrichments" or "webhooks".
	Delete(ctx context.Context, kind, name string, a device.Audit) error
	// Test says where a message would go and why; nothing is sent.
	Test(ctx context.Context, t RoutingTest) (RoutingVerdict, error)
}

// Route sends the messages of a source that pass a condition to endpoints.
type Route struct {
	Name      string   `json:"name"`
	Source    string   `json:"source,omitempty"`    // "": DeviceMessages
	Condition string   `json:"condition,omitempty"` // "": true
	Endpoints []string `json:"endpoints"`           // events, topic:NAME, webhook:NAME
	Enabled   *bool    `json:"enabled,omitempty"`   // nil: true
	Matched   int64    `json:"matched,omitempty"`   // messages since this node's cores started
}

// Enrichment adds an application property to the copies for its endpoints.
type Enrichment struct {
	Key       string   `json:"key"`
	Value     string   `json:"value"`
	Endpoints []string `json:"endpoints"`
}

// Webhook is an endpoint that messages are posted to.
type Webhook struct {
	Name string `json:"name"`
	URL  string `json:"url"`
	// Authorization is the value of that header. It is taken and never given;
	// nil keeps what is there as long as the URL stays.
	Authorization *string `json:"authorization,omitempty"`
	Authorized    bool    `json:"authorized,omitempty"` // there is one
	State         string  `json:"state,omitempty"`      // delivering, retrying, idle
	Cause         string  `json:"cause,omitempty"`
	Lag           int64   `json:"lag,omitempty"` // messages that wait
	Delivered     int64   `json:"delivered,omitempty"`
	DeadLetters   int64   `json:"deadLetters,omitempty"`
}

// RoutingChange is a change of a hub's routing.
type RoutingChange struct {
	Fallback    *bool        `json:"fallback,omitempty"`
	Routes      []Route      `json:"routes,omitempty"`
	Enrichments []Enrichment `json:"enrichments,omitempty"`
	Webhooks    []Webhook    `json:"webhooks,omitempty"`
}

// RoutingStatus is a hub's routing with what it did since this node's cores
// started.
type RoutingStatus struct {
	Fallback    bool              `json:"fallback"`
	Routes      []Route           `json:"routes"`
	Enrichments []Enrichment      `json:"enrichments"`
	Webhooks    []Webhook         `json:"webhooks"`
	Endpoints   []RoutingEndpoint `json:"endpoints"`
	Messages    map[string]int64  `json:"messages"` // by what became of them
}

// RoutingEndpoint is where copies of messages go.
type RoutingEndpoint struct {
	Name      string `json:"name"`
	Copies    int64  `json:"copies"`
	Suspended bool   `json:"suspended,omitempty"`
	Cause     string `json:"cause,omitempty"`
}

// RoutingTest is a message that is asked about.
type RoutingTest struct {
	Source           string            `json:"source,omitempty"`
	DeviceID         string            `json:"deviceId"`
	ModuleID         string            `json:"moduleId,omitempty"`
	Properties       map[string]string `json:"properties,omitempty"`
	SystemProperties map[string]string `json:"systemProperties,omitempty"` // contentType, …
	Body             string            `json:"body,omitempty"`
	// Route, when not nil, is tried alone instead of those of the hub.
	Route *Route `json:"route,omitempty"`
}

// RoutingVerdict says where a message would go.
type RoutingVerdict struct {
	Result string         `json:"result"`
	Routes []RouteVerdict `json:"routes"`
	Copies []RoutedCopy   `json:"copies"`
}

// RouteVerdict says whether a route takes a message, and why.
type RouteVerdict struct {
	Name      string   `json:"name"`
	Matched   bool     `json:"matched"`
	Reason    string   `json:"reason"`
	Endpoints []string `json:"endpoints"`
}

// RoutedCopy is a copy of a message with the headers of its record.
type RoutedCopy struct {
	Topic   string            `json:"topic"`
	Headers map[string]string `json:"headers"`
}

// Bounds of what is sent: a hub's routes with long conditions, and a message
// whose body is text in JSON.
const (
	maxRoutingBody     = 1 << 20
	maxRoutingTestBody = 2 << 20
)

func (a *Admin) routingRoutes(c *call) map[string]adminOperation {
	none := a.o.Routing == nil
	switch n := len(c.path); {
	case n == 3:
		return map[string]adminOperation{
			"GET":   {"get_routing", none, a.getRouting},
			"PATCH": {"apply_routing", none, a.applyRouting},
		}
	case n == 4 && c.word(3, "test"):
		return map[string]adminOperation{"POST": {"test_routing", none, a.testRouting}}
	case n == 5 && (c.word(3, "routes") || c.word(3, "enrichments") || c.word(3, "webhooks")):
		return map[string]adminOperation{"DELETE": {"delete_routing", none, a.deleteRouting}}
	}
	return nil
}

func (a *Admin) getRouting(ctx context.Context, c *call) error {
	s, err := a.o.Routing.Status(ctx)
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, marshal(s))
}

func (a *Admin) applyRouting(ctx context.Context, c *call) error {
	var change RoutingChange
	if err := c.decode(maxRoutingBody, &change); err != nil {
		return err
	}
	if err := a.o.Routing.Apply(ctx, change, c.audit); err != nil {
		return err
	}
	return a.getRouting(ctx, c)
}

func (a *Admin) deleteRouting(ctx context.Context, c *call) error {
	if err := a.o.Routing.Delete(ctx, c.path[3], c.path[4], c.audit); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

func (a *Admin) testRouting(ctx context.Context, c *call) error {
	var t RoutingTest
	if err := c.decode(maxRoutingTestBody, &t); err != nil {
		return err
	}
	if err := device.ValidID(t.DeviceID); err != nil {
		return fmt.Errorf("deviceId: %w", err)
	}
	v, err := a.o.Routing.Test(ctx, t)
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, marshal(v))
}
