package actors_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gemello/gemello/actors"
	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/ingest"
	"github.com/gemello/gemello/persistence/eventlog"
)

// mailman is a node on a clock of the test's, which also stamps the device log,
// with one device and one module.
type mailman struct {
	*caller
	*wall
}

var (
	calledDevice = device.Ref{Device: called}
	calledModule = device.Ref{Device: called, Module: "m1"}
)

func newMailman(t *testing.T, rules device.CommandRules) *mailman {
	h := newHarness(t)
	m := &mailman{&caller{h, prometheus.NewRegistry()}, newWall()}
	// Without append time the arrival of a record is the node's clock.
	if err := h.log.EnsureTopics(t.Context(), eventlog.TopicSpec{Name: "hub.device-log", Partitions: 2}); err != nil {
		t.Fatal(err)
	}
	n, err := actors.Start(t.Context(), actors.Options{
		Log: h.log, Cluster: joinCluster, Hub: "hub", Data: h.dir, Partitions: 2,
		CommitEvery: 10 * time.Millisecond, Registerer: m.registry, Now: m.now, Commands: rules,
	}, false)
	if err != nil {
		t.Fatal(err)
	}
	h.node = n
	t.Cleanup(m.stop)
	m.running()
	m.create(called)
	if _, err := n.PutIdentity(t.Context(), device.Change{Wanted: device.Identity{
		DeviceID: called, ModuleID: "m1", Status: device.Enabled,
		Auth: device.Auth{Type: device.AuthSAS, Primary: []byte("k"), Secondary: []byte("k")},
	}}); err != nil {
		t.Fatal(err)
	}
	return m
}

// running waits for all cores of devices.
func (h *harness) running() {
	h.eventually("the start of all cores", func() bool {
		return !slices.ContainsFunc(h.node.Statuses(), func(s actors.HostStatus) bool { return s.State != "running" })
	})
}

// connect makes a session that wants commands.
func (m *mailman) connect(ref device.Ref, session string) *phone {
	m.t.Helper()
	p := newPhone()
	if err := m.node.Attach(m.t.Context(), ref, actors.Attachment{ID: session, Session: p, Check: func(*device.Identity) error { return nil }}); err != nil {
		m.t.Fatal(err)
	}
	m.node.Presence(m.t.Context(), actors.Connection{Ref: ref, Session: session, Connected: true})
	m.node.Ready(ref, session, ingest.FeatureCommands, true)
	return p
}

func (m *mailman) disconnect(ref device.Ref, session string) {
	m.node.Detach(ref, session)
	m.node.Presence(m.t.Context(), actors.Connection{Ref: ref, Session: session})
}

func (m *mailman) post(ref device.Ref, body string, also ...func(*device.NewCommand)) {
	m.t.Helper()
	c := device.NewCommand{DeviceID: ref.Device, ModuleID: ref.Module, MessageID: "id-" + body, Size: len(body), Content: device.Content{Body: []byte(body)}}
	for _, f := range also {
		f(&c)
	}
	if _, err := m.node.SendCommand(m.t.Context(), c); err != nil {
		m.t.Fatal(err)
	}
}

func fullAck(c *device.NewCommand) { c.Ack = device.AckFull }

func (m *mailman) deliver(p *phone, want string) ingest.Command {
	m.t.Helper()
	c := await(m.t, p.commands, "the command "+want)
	if string(c.Body) != want {
		m.t.Fatalf("delivered %q, want %q", c.Body, want)
	}
	return c
}

func (m *mailman) settle(ref device.Ref, session string, c ingest.Command, o device.Outcome) error {
	m.t.Helper()
	done := make(chan error, 1)
	m.node.SettleDelivery(ref, session, c.Lock, o, device.Audit{}, func(err error) { done <- err })
	return await(m.t, done, "the end of a delivery")
}

func (m *mailman) queue(ref device.Ref) (bodies []string) {
	m.t.Helper()
	list, err := m.node.Commands(m.t.Context(), ref)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, c := range list {
		bodies = append(bodies, c.MessageID)
	}
	return bodies
}

// feedback reads and completes what there is.
func (m *mailman) feedback() (ends []string) {
	m.t.Helper()
	for {
		b, err := m.node.ReceiveFeedback(m.t.Context(), device.Audit{})
		if err != nil {
			m.t.Fatal(err)
		}
		if b == nil {
			return ends
		}
		for _, f := range b.Records {
			ends = append(ends, f.MessageID+" "+string(f.End))
		}
		if err := m.node.SettleFeedback(m.t.Context(), b.Lock, device.OutcomeComplete, device.Audit{}); err != nil {
			m.t.Fatal(err)
		}
	}
}

func (m *mailman) counts(want map[string]float64) {
	m.t.Helper()
	m.eventually(fmt.Sprintf("the figures %v", want), func() bool {
		for event, n := range want {
			if m.metric("command_events_total", event) != n {
				return false
			}
		}
		return true
	})
}

func TestCommandsReachASessionInTheOrderOfSending(t *testing.T) {
	m := newMailman(t, device.CommandRules{})
	m.post(calledDevice, "0")
	p := m.connect(calledDevice, "s1")
	for i := 1; i < 40; i++ {
		m.post(calledDevice, fmt.Sprint(i))
	}
	for i := range 40 {
		if err := m.settle(calledDevice, "s1", m.deliver(p, fmt.Sprint(i)), device.OutcomeComplete); err != nil {
			t.Fatal(err)
		}
	}
	if left := m.queue(calledDevice); len(left) > 0 {
		t.Errorf("left %q", left)
	}
	m.counts(map[string]float64{"enqueued": 40, "delivered": 40, "completed": 40, "dead_lettered": 0})
	if n := m.metric("command_queued", ""); n != 0 {
		t.Errorf("%v queued", n)
	}
}

// The window keeps a slow client from locking what it can't read yet; one command
// that it does not settle holds up none of the others.
func TestASessionIsGivenAWindowOfCommands(t *testing.T) {
	m := newMailman(t, device.CommandRules{})
	p := m.connect(calledDevice, "s1")
	m.post(calledDevice, "0")
	m.deliver(p, "0") // never settled
	for i := 1; i < 30; i++ {
		m.post(calledDevice, fmt.Sprint(i))
	}
	var open []ingest.Command
	for i := 1; i < 16; i++ {
		open = append(open, m.deliver(p, fmt.Sprint(i)))
	}
	for i := range 15 {
		if err := m.settle(calledDevice, "s1", open[i], device.OutcomeComplete); err != nil {
			t.Fatal(err)
		}
		if i == 0 && len(p.commands) > 0 {
			t.Errorf("given %d more although the window is nearly full", len(p.commands))
		}
	}
	for i := 16; i < 30; i++ {
		if err := m.settle(calledDevice, "s1", m.deliver(p, fmt.Sprint(i)), device.OutcomeComplete); err != nil {
			t.Fatal(err)
		}
	}
	if left := m.queue(calledDevice); !slices.Equal(left, []string{"id-0"}) {
		t.Errorf("left %q", left)
	}
}

func TestACommandWhoseLockTimesOutIsDeliveredAgain(t *testing.T) {
	m := newMailman(t, device.CommandRules{Lock: 20 * time.Second})
	p := m.connect(calledDevice, "s1")
	m.post(calledDevice, "a")
	first := m.deliver(p, "a")
	m.at.Store(19)
	m.post(calledDevice, "b")
	m.deliver(p, "b")
	if got := m.queue(calledDevice); len(got) != 2 {
		t.Fatalf("queued %q", got)
	}
	m.at.Store(20)
	again := m.deliver(p, "a")
	if again.Lock == first.Lock {
		t.Error("it has the lock of before")
	}
	if err := m.settle(calledDevice, "s1", first, device.OutcomeComplete); !errors.Is(err, device.ErrLockLost) {
		t.Errorf("the lock of before: %v", err)
	}
	if err := m.settle(calledDevice, "s1", again, device.OutcomeComplete); err != nil {
		t.Error(err)
	}
	m.counts(map[string]float64{"delivered": 3, "returned": 1, "completed": 1})
}

func TestWhatALostConnectionHadIsDeliveredToTheNext(t *testing.T) {
	for name, lose := range map[string]func(*mailman){
		"disconnected": func(m *mailman) { m.disconnect(calledDevice, "s1") },
		"taken over":   func(*mailman) {},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMailman(t, device.CommandRules{})
			p := m.connect(calledDevice, "s1")
			var first []ingest.Command
			for _, body := range []string{"a", "b", "c"} {
				m.post(calledDevice, body)
				first = append(first, m.deliver(p, body))
			}
			if err := m.settle(calledDevice, "s1", first[1], device.OutcomeComplete); err != nil {
				t.Fatal(err)
			}
			lose(m)
			p = m.connect(calledDevice, "s2")
			if err := m.settle(calledDevice, "s1", first[0], device.OutcomeComplete); !errors.Is(err, device.ErrLockLost) {
				t.Errorf("the session that is gone: %v", err)
			}
			for _, body := range []string{"a", "c"} {
				if err := m.settle(calledDevice, "s2", m.deliver(p, body), device.OutcomeComplete); err != nil {
					t.Error(err)
				}
			}
			m.counts(map[string]float64{"delivered": 5, "returned": 2, "completed": 3})
		})
	}
}

func TestACommandIsGivenUpAfterItsDeliveries(t *testing.T) {
	m := newMailman(t, device.CommandRules{MaxDeliveries: 3})
	p := m.connect(calledDevice, "s1")
	m.post(calledDevice, "a", fullAck)
	for range 3 {
		if err := m.settle(calledDevice, "s1", m.deliver(p, "a"), device.OutcomeAbandon); err != nil {
			t.Fatal(err)
		}
	}
	if left := m.queue(calledDevice); len(left) > 0 {
		t.Errorf("left %q", left)
	}
	if got := m.feedback(); !slices.Equal(got, []string{"id-a DeliveryCountExceeded"}) {
		t.Errorf("feedback %q", got)
	}
	row := m.rows("hub.dead-letter", 1)[0]
	if row["reason"] != "command" || row["detail"] != `DeliveryCountExceeded, message id "id-a"` || row["payload"] != "a" {
		t.Errorf("dead letter %v", row)
	}
	m.counts(map[string]float64{"delivered": 3, "abandoned": 3, "delivery_count_exceeded": 1, "dead_lettered": 1})
}

func TestARejectedCommandIsNeverDeliveredAgain(t *testing.T) {
	m := newMailman(t, device.CommandRules{})
	p := m.connect(calledDevice, "s1")
	m.post(calledDevice, "a", fullAck)
	if err := m.settle(calledDevice, "s1", m.deliver(p, "a"), device.OutcomeReject); err != nil {
		t.Fatal(err)
	}
	if got := m.feedback(); !slices.Equal(got, []string{"id-a Rejected"}) {
		t.Errorf("feedback %q", got)
	}
	m.counts(map[string]float64{"rejected": 1, "dead_lettered": 1})
}

func TestACommandWaitsAsLongAsTheHubSays(t *testing.T) {
	m := newMailman(t, device.CommandRules{TTL: 2 * time.Minute, FeedbackTTL: time.Minute})
	m.post(calledDevice, "a", fullAck)
	m.post(calledDevice, "own", fullAck, func(c *device.NewCommand) { c.Expires = m.second(200) })
	m.at.Store(119)
	m.post(calledDevice, "b")
	if got := m.queue(calledDevice); !slices.Equal(got, []string{"id-a", "id-own", "id-b"}) {
		t.Fatalf("queued %q", got)
	}
	m.at.Store(120)
	m.eventually("the expiry of a", func() bool { return slices.Equal(m.queue(calledDevice), []string{"id-own", "id-b"}) })
	m.at.Store(200)
	m.eventually("the expiry of own", func() bool { return slices.Equal(m.queue(calledDevice), []string{"id-b"}) })
	// Feedback on a has waited for longer than it may.
	if got := m.feedback(); !slices.Equal(got, []string{"id-own Expired"}) {
		t.Errorf("feedback %q", got)
	}
	m.counts(map[string]float64{"expired": 2, "dead_lettered": 2})
}

func TestAPurgeTakesWhatIsBeingDelivered(t *testing.T) {
	m := newMailman(t, device.CommandRules{})
	p := m.connect(calledDevice, "s1")
	m.post(calledDevice, "a", fullAck)
	open := m.deliver(p, "a")
	if n, err := m.node.PurgeCommands(t.Context(), calledDevice, device.Audit{}); n != 1 || err != nil {
		t.Fatalf("purged %d, %v", n, err)
	}
	if err := m.settle(calledDevice, "s1", open, device.OutcomeComplete); !errors.Is(err, device.ErrLockLost) {
		t.Errorf("its delivery ended with %v", err)
	}
	m.post(calledDevice, "b")
	m.deliver(p, "b") // nothing of the purged batch holds it up
	if got := m.feedback(); !slices.Equal(got, []string{"id-a Purged"}) {
		t.Errorf("feedback %q", got)
	}
	m.counts(map[string]float64{"purged": 1, "dead_lettered": 0})
}

func TestModulesHaveCommandsOfTheirOwn(t *testing.T) {
	m := newMailman(t, device.CommandRules{})
	p := m.connect(calledDevice, "s1")
	q := m.connect(calledModule, "s2")
	m.post(calledDevice, "device")
	m.post(calledModule, "module", fullAck)
	m.deliver(p, "device")
	open := m.deliver(q, "module")
	if err := m.settle(calledDevice, "s1", open, device.OutcomeComplete); !errors.Is(err, device.ErrLockLost) {
		t.Errorf("the device settled its module's: %v", err)
	}
	m.disconnect(calledModule, "s2")
	q = m.connect(calledModule, "s3")
	if err := m.settle(calledModule, "s3", m.deliver(q, "module"), device.OutcomeReject); err != nil {
		t.Error(err)
	}
	if got := m.feedback(); !slices.Equal(got, []string{"id-module Rejected"}) {
		t.Errorf("feedback %q", got)
	}
	if row := m.rows("hub.dead-letter", 1)[0]; row["detail"] != `Rejected, message id "id-module", module "m1"` || row["payload"] != "module" {
		t.Errorf("dead letter %v", row)
	}
	m.post(calledModule, "more")
	if n, err := m.node.PurgeCommands(t.Context(), calledModule, device.Audit{}); n != 1 || err != nil {
		t.Errorf("purged %d, %v", n, err)
	}
	if got := m.queue(calledDevice); len(got) != 1 {
		t.Errorf("the device has %q", got)
	}
}

// The commands of a module outlive the store and the time while nobody looks.
func TestCommandsOfAModuleComeBackAfterALostStore(t *testing.T) {
	m := newMailman(t, device.CommandRules{})
	m.post(calledModule, "a")
	m.post(calledModule, "b", func(c *device.NewCommand) { c.Expires = m.second(100) })
	m.restartWithoutStores(m.now)
	m.at.Store(100)
	m.eventually("the expiry of b", func() bool { return slices.Equal(m.queue(calledModule), []string{"id-a"}) })
	m.deliver(m.connect(calledModule, "s1"), "a")
}
