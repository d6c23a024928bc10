package actors_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gemello/gemello/actors"
	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/ingest"
)

// asked is a method's request as a session has it.
type asked struct{ rid, name, payload string }

// phone is a live connection of a device.
type phone struct {
	methods  chan asked
	closed   chan string
	commands chan ingest.Command
	deaf     bool // takes no request
}

func newPhone() *phone {
	return &phone{methods: make(chan asked, 256), closed: make(chan string, 8), commands: make(chan ingest.Command, 64)}
}

func (p *phone) Close(reason string)          { p.closed <- reason }
func (p *phone) DesiredChanged(int64, []byte) {}
func (p *phone) Command(c ingest.Command) bool {
	p.commands <- c
	return true
}
func (p *phone) Method(rid, name string, payload []byte) bool {
	if p.deaf {
		return false
	}
	p.methods <- asked{rid, name, string(payload)}
	return true
}

// caller is a node with one device, which is called.
type caller struct {
	*harness
	registry *prometheus.Registry
}

const called = "called"

func newCaller(t *testing.T) *caller {
	h := newHarness(t)
	c := &caller{h, prometheus.NewRegistry()}
	n, err := actors.Start(t.Context(), actors.Options{
		Log: h.log, Cluster: joinCluster, Hub: "hub", Data: h.dir, Partitions: 2,
		CommitEvery: 20 * time.Millisecond, Registerer: c.registry,
	}, false)
	if err != nil {
		t.Fatal(err)
	}
	h.node = n
	c.create(called)
	return c
}

func (c *caller) create(id string) {
	c.t.Helper()
	_, err := c.node.PutIdentity(c.t.Context(), device.Change{Wanted: device.Identity{
		DeviceID: id, Status: device.Enabled, Auth: device.Auth{Type: device.AuthSAS, Primary: []byte("k"), Secondary: []byte("k")},
	}})
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *caller) attach(session string, subscribed bool) *phone {
	c.t.Helper()
	p := newPhone()
	if err := c.node.Attach(c.t.Context(), device.Ref{Device: called}, actors.Attachment{ID: session, Session: p, Check: func(*device.Identity) error { return nil }}); err != nil {
		c.t.Fatal(err)
	}
	if subscribed {
		c.node.Ready(device.Ref{Device: called}, session, ingest.FeatureMethods, true)
	}
	return p
}

type outcome struct {
	device.MethodResult
	err error
}

// call starts a call; its end comes through the channel.
func (c *caller) call(m device.MethodCall) <-chan outcome { return c.callDevice(called, m) }

func (c *caller) callDevice(id string, m device.MethodCall) <-chan outcome {
	done := make(chan outcome, 1)
	if m.Name == "" {
		m.Name = "m"
	}
	if m.ResponseTimeout == 0 {
		m.ResponseTimeout = time.Minute
	}
	go func() {
		r, err := c.node.InvokeMethod(context.WithoutCancel(c.t.Context()), device.Ref{Device: id}, m)
		done <- outcome{r, err}
	}()
	return done
}

func await[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(20 * time.Second):
		t.Fatalf("%s did not come", what)
		panic("unreachable")
	}
}

// metric sums a counter's series with the label value.
func (c *caller) metric(name, value string) (sum float64) {
	c.t.Helper()
	families, err := c.registry.Gather()
	if err != nil {
		c.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			if f.GetName() == "gemello_"+name && (value == "" || len(m.Label) > 0 && m.Label[0].GetValue() == value) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

func TestMethodGoesToDeviceAndBack(t *testing.T) {
	c := newCaller(t)
	defer c.stop()
	p := c.attach("s1", true)
	for _, tt := range []struct{ payload, answer, want string }{
		{"", "", "null"}, {"null", "null", "null"}, {`""`, `""`, `""`}, {`"foo"`, `"foo"`, `"foo"`}, {"{}", "{}", "{}"},
		{`{"k": 1}`, `{"k":2.50}`, `{"k":2.50}`},
	} {
		done := c.call(device.MethodCall{Name: "a*b", Payload: []byte(tt.payload)})
		q := await(t, p.methods, "request")
		if q.name != "a*b" || q.payload != tt.payload {
			t.Errorf("the device got %+v", q)
		}
		c.node.MethodResponse(device.Ref{Device: called}, q.rid, 207, []byte(tt.answer))
		if got := await(t, done, "answer"); got.err != nil || got.Status != 207 || string(got.Payload) != tt.want {
			t.Errorf("%s: %d %s, %v", tt.answer, got.Status, got.Payload, got.err)
		}
	}
	if n := c.metric("method_calls_total", "answered"); n != 6 {
		t.Errorf("%v calls counted", n)
	}
	if n := c.metric("method_calls_in_flight", ""); n != 0 {
		t.Errorf("%v calls in flight", n)
	}
}

func TestMethodOfDeviceThatIsNotThereFailsAtOnce(t *testing.T) {
	c := newCaller(t)
	defer c.stop()
	never := time.Minute
	for _, tt := range []struct {
		name    string
		device  string
		connect time.Duration
		attach  bool
		want    error
	}{
		{"unknown", "nobody", 0, false, device.ErrNotFound},
		{"unknown, with patience", "nobody", never, false, device.ErrNotFound},
		{"offline", called, 0, false, device.ErrNotOnline},
		{"not subscribed", called, 0, true, device.ErrNotOnline},
	} {
		if tt.attach {
			c.attach("s1", false)
		}
		got := await(t, c.callDevice(tt.device, device.MethodCall{ConnectTimeout: tt.connect}), tt.name)
		if !errors.Is(got.err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got.err, tt.want)
		}
	}
}

func TestMethodWaitsForDeviceToComeAndSubscribe(t *testing.T) {
	c := newCaller(t)
	defer c.stop()
	var done []<-chan outcome
	for i := range 3 {
		done = append(done, c.call(device.MethodCall{Name: fmt.Sprint(i), ConnectTimeout: time.Minute}))
		c.eventually("the call", func() bool { return c.metric("method_calls_in_flight", "") == float64(i+1) })
	}
	p := c.attach("s1", false)
	c.node.Ready(device.Ref{Device: called}, "other", ingest.FeatureMethods, true) // not the current session's
	c.node.Ready(device.Ref{Device: called}, "s1", ingest.FeatureMethods, true)
	for i := range done {
		q := await(t, p.methods, "request")
		c.node.MethodResponse(device.Ref{Device: called}, q.rid, i, nil)
	}
	for _, d := range done {
		if got := await(t, d, "answer"); got.err != nil {
			t.Error(got.err)
		}
	}
}

func TestMethodTimesOut(t *testing.T) {
	c := newCaller(t)
	defer c.stop()
	if got := await(t, c.call(device.MethodCall{ConnectTimeout: time.Millisecond}), "end"); !errors.Is(got.err, device.ErrNotOnline) {
		t.Errorf("nobody came: %v", got.err)
	}
	p := c.attach("s1", true)
	done := c.call(device.MethodCall{ConnectTimeout: time.Minute, ResponseTimeout: time.Millisecond})
	q := await(t, p.methods, "request")
	if got := await(t, done, "end"); !errors.Is(got.err, device.ErrNoAnswer) {
		t.Errorf("no answer: %v", got.err)
	}
	c.node.MethodResponse(device.Ref{Device: called}, q.rid, 200, nil)
	c.node.MethodResponse(device.Ref{Device: called}, "never asked", 200, nil)
	c.eventually("the late answers' count", func() bool { return c.metric("method_answers_dropped_total", "late") == 2 })
}

func TestMethodFailsAtOnceWhenItsConnectionEnds(t *testing.T) {
	c := newCaller(t)
	defer c.stop()
	for _, tt := range []struct {
		name string
		end  func()
	}{
		{"lost", func() { c.node.Detach(device.Ref{Device: called}, "lost") }},
		{"taken over", func() { c.attach("newer", true) }},
		{"disabled", func() {
			_, err := c.node.PutIdentity(t.Context(), device.Change{IfMatch: "*", Wanted: device.Identity{
				DeviceID: called, Status: device.Disabled, Auth: device.Auth{Type: device.AuthSAS, Primary: []byte("k"), Secondary: []byte("k")},
			}})
			if err != nil {
				t.Error(err)
			}
		}},
	} {
		p := newPhone()
		if err := c.node.Attach(t.Context(), device.Ref{Device: called}, actors.Attachment{ID: tt.name, Session: p, Check: func(id *device.Identity) error {
			if id.Status != device.Enabled {
				return device.ErrNotOnline
			}
			return nil
		}}); err != nil {
			t.Fatal(err)
		}
		c.node.Ready(device.Ref{Device: called}, tt.name, ingest.FeatureMethods, true)
		done := c.call(device.MethodCall{})
		q := await(t, p.methods, "request")
		tt.end()
		if got := await(t, done, "end"); !errors.Is(got.err, device.ErrConnection) {
			t.Errorf("%s: %v", tt.name, got.err)
		}
		c.node.MethodResponse(device.Ref{Device: called}, q.rid, 200, nil) // too late
	}
	c.eventually("the late answers' count", func() bool { return c.metric("method_answers_dropped_total", "late") == 3 })
}

func TestMethodsOfOneDeviceAreBounded(t *testing.T) {
	c := newCaller(t)
	defer c.stop()
	p := c.attach("s1", true)
	const most = 64
	var done []<-chan outcome
	var rids []string
	for range most {
		done = append(done, c.call(device.MethodCall{}))
		rids = append(rids, await(t, p.methods, "request").rid)
	}
	if got := await(t, c.call(device.MethodCall{ConnectTimeout: time.Minute}), "refusal"); !errors.Is(got.err, actors.ErrBusy) {
		t.Errorf("call %d: %v", most+1, got.err)
	}
	for i := range rids { // in the opposite order
		c.node.MethodResponse(device.Ref{Device: called}, rids[most-1-i], i, nil)
	}
	seen := map[int]bool{}
	for i, d := range done {
		got := await(t, d, "answer")
		if got.err != nil || got.Status != most-1-i {
			t.Errorf("call %d: %d, %v", i, got.Status, got.err)
		}
		seen[got.Status] = true
	}
	if len(seen) != most {
		t.Errorf("%d answers", len(seen))
	}
}

func TestAnswersThatCannotBePassedOnAreSaidSo(t *testing.T) {
	c := newCaller(t)
	defer c.stop()
	p := c.attach("s1", true)
	for _, answer := range []string{"?", "{", "ok", "\xff", `"` + strings.Repeat("x", device.MaxMethodPayload) + `"`, strings.Repeat(" 1", 2*device.MaxMethodPayload)} {
		done := c.call(device.MethodCall{})
		q := await(t, p.methods, "request")
		c.node.MethodResponse(device.Ref{Device: called}, q.rid, 200, []byte(answer))
		if got := await(t, done, "end"); !errors.Is(got.err, device.ErrBadAnswer) {
			t.Errorf("%.10q: %v", answer, got.err)
		}
	}
}

func TestMethodsEndWithTheNode(t *testing.T) {
	c := newCaller(t)
	p := c.attach("s1", true)
	sent := c.call(device.MethodCall{})
	await(t, p.methods, "request")
	c.node.Detach(device.Ref{Device: called}, "s1")
	if got := await(t, sent, "end"); !errors.Is(got.err, device.ErrConnection) {
		t.Errorf("sent: %v", got.err)
	}
	waiting := c.call(device.MethodCall{ConnectTimeout: time.Minute})
	c.eventually("the call", func() bool { return c.metric("method_calls_in_flight", "") == 1 })
	c.stop()
	if got := await(t, waiting, "end"); !errors.Is(got.err, actors.ErrUnavailable) {
		t.Errorf("waiting: %v", got.err)
	}
}
