package actors_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gemello/gemello/actors"
	"github.com/gemello/gemello/device"
)

// restartWithoutStores stops the node and starts it again with its cores' stores
// lost.
func (h *harness) restartWithoutStores(now func() time.Time) {
	h.t.Helper()
	h.stop()
	if err := os.RemoveAll(filepath.Join(h.dir, "cores")); err != nil {
		h.t.Fatal(err)
	}
	n, err := actors.Start(h.t.Context(), actors.Options{
		Log: h.log, Cluster: joinCluster, Hub: "hub", Data: h.dir, Partitions: 2,
		CommitEvery: 10 * time.Millisecond, Now: now,
	}, false)
	if err != nil {
		h.t.Fatal(err)
	}
	h.node = n
	h.running()
}

func TestTheFiftyFirstCommandIsRefused(t *testing.T) {
	m := newMailman(t, device.CommandRules{})
	for i := range device.MaxCommands {
		m.post(calledDevice, fmt.Sprint(i))
	}
	over := device.NewCommand{DeviceID: called, Size: 1, Content: device.Content{Body: []byte("x")}}
	if _, err := m.node.SendCommand(t.Context(), over); !errors.Is(err, device.ErrQueueFull) {
		t.Errorf("the 51st: %v", err)
	}
	m.post(calledModule, "x") // whose queue is its own
	m.counts(map[string]float64{"enqueued": device.MaxCommands + 1, "refused": 1})
	if n := m.metric("command_queued", ""); n != device.MaxCommands+1 {
		t.Errorf("%v queued", n)
	}
	d, err := m.node.ReceiveCommand(t.Context(), called, device.Audit{})
	if err != nil || d == nil || string(d.Body) != "0" {
		t.Fatalf("polled %+v, %v", d, err)
	}
	if _, err := m.node.SendCommand(t.Context(), over); !errors.Is(err, device.ErrQueueFull) {
		t.Errorf("what is being delivered takes its place still: %v", err)
	}
	if err := m.node.SettleCommand(t.Context(), called, d.Lock, device.OutcomeComplete, device.Audit{}); err != nil {
		t.Fatal(err)
	}
	m.post(calledDevice, "fits")
}

func TestCommandsThatNobodyCanGet(t *testing.T) {
	m := newMailman(t, device.CommandRules{})
	for name, c := range map[string]struct {
		command device.NewCommand
		want    error
	}{
		"no such device":  {device.NewCommand{DeviceID: "nobody"}, device.ErrNotFound},
		"no such module":  {device.NewCommand{DeviceID: called, ModuleID: "nobody"}, device.ErrModuleNotFound},
		"no device id":    {device.NewCommand{}, device.ErrArgument},
		"bad module id":   {device.NewCommand{DeviceID: called, ModuleID: "a/b"}, device.ErrArgument},
		"too large":       {device.NewCommand{DeviceID: called, Size: device.MaxCommandBytes + 1}, device.ErrTooLarge},
		"long message id": {device.NewCommand{DeviceID: called, MessageID: strings.Repeat("x", device.MaxMessageID+1)}, device.ErrArgument},
	} {
		if _, err := m.node.SendCommand(t.Context(), c.command); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	for _, ref := range []device.Ref{{Device: "nobody"}, {Device: called, Module: "nobody"}} {
		want := ref.NotFound()
		if _, err := m.node.Commands(t.Context(), ref); err == nil || err.Error() != want.Error() {
			t.Errorf("list of %s: %v", ref, err)
		}
		if _, err := m.node.PurgeCommands(t.Context(), ref, device.Audit{}); err == nil || err.Error() != want.Error() {
			t.Errorf("purge of %s: %v", ref, err)
		}
	}
}

func TestAPollLocksOneCommandForAsLongAsTheHubSays(t *testing.T) {
	m := newMailman(t, device.CommandRules{Lock: 5 * time.Second, MaxDeliveries: 2})
	poll := func() *device.Delivery {
		t.Helper()
		d, err := m.node.ReceiveCommand(t.Context(), called, device.Audit{})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	if d := poll(); d != nil {
		t.Fatalf("polled %+v of an empty queue", d)
	}
	m.post(calledDevice, "a", fullAck)
	m.post(calledDevice, "b")
	first, second := poll(), poll()
	if first == nil || second == nil || string(first.Body) != "a" || string(second.Body) != "b" || poll() != nil {
		t.Fatalf("polled %+v, %+v", first, second)
	}
	// The connection of a session means nothing to locks of polls.
	m.connect(calledDevice, "s1")
	m.disconnect(calledDevice, "s1")
	if err := m.node.SettleCommand(t.Context(), called, second.Lock, device.OutcomeComplete, device.Audit{}); err != nil {
		t.Fatal(err)
	}
	m.at.Store(5)
	m.counts(map[string]float64{"returned": 1})
	if err := m.node.SettleCommand(t.Context(), called, first.Lock, device.OutcomeComplete, device.Audit{}); !errors.Is(err, device.ErrLockLost) {
		t.Errorf("a lock that has timed out: %v", err)
	}
	if d := poll(); d == nil || d.Deliveries != 2 {
		t.Fatalf("polled again %+v", d)
	}
	m.at.Store(10)
	m.counts(map[string]float64{"delivery_count_exceeded": 1})
	if got := m.feedback(); len(got) != 1 || got[0] != "id-a DeliveryCountExceeded" {
		t.Errorf("feedback %q", got)
	}
}

func TestFeedbackOfAllPartitionsIsRead(t *testing.T) {
	m := newMailman(t, device.CommandRules{})
	want := map[string]bool{}
	for i := range 8 {
		id := fmt.Sprint("other", i)
		m.create(id)
		m.post(device.Ref{Device: id}, id, fullAck)
		if _, err := m.node.PurgeCommands(t.Context(), device.Ref{Device: id}, device.Audit{}); err != nil {
			t.Fatal(err)
		}
		want["id-"+id+" Purged"] = true
	}
	b, err := m.node.ReceiveFeedback(t.Context(), device.Audit{})
	if err != nil || b == nil {
		t.Fatalf("feedback %+v, %v", b, err)
	}
	if err := m.node.SettleFeedback(t.Context(), "no-lock", device.OutcomeComplete, device.Audit{}); !errors.Is(err, device.ErrLockLost) {
		t.Errorf("a lock that nobody has: %v", err)
	}
	if err := m.node.SettleFeedback(t.Context(), b.Lock, device.OutcomeAbandon, device.Audit{}); err != nil {
		t.Fatal(err)
	}
	for _, f := range m.feedback() {
		if !want[f] {
			t.Errorf("feedback %q is not wanted, or came twice", f)
		}
		delete(want, f)
	}
	if len(want) > 0 {
		t.Errorf("no feedback %v", want)
	}
}
