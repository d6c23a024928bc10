package actors_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gemello/gemello/actors"
	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/device"
)

// receiver is a webhook that refuses some messages and fails now and then.
type receiver struct {
	mu    sync.Mutex
	posts int
	got   map[string]int // by place in the log
}

func (r *receiver) Post(_ context.Context, w partition.Webhook, batch []actors.WebhookMessage) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.posts++
	if r.posts%3 == 1 {
		return errors.New("not now")
	}
	for i := range batch {
		if bytes.Contains(batch[i].Value, []byte(`"n":13}`)) {
			return fmt.Errorf("%w: unlucky", actors.ErrWebhookRefused)
		}
	}
	for i := range batch {
		for _, h := range batch[i].Headers {
			if h.Key == "gemello-log-position" {
				r.got[string(h.Value)]++
			}
		}
	}
	return nil
}

func (r *receiver) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.got)
}

// Messages reach each endpoint of their routes once over a restart; what a
// webhook refuses is a dead letter and holds up nothing.
func TestMessagesReachTheEndpointsOfTheirRoutes(t *testing.T) {
	h := newHarness(t)
	hook := &receiver{got: map[string]int{}}
	start := func() {
		n, err := actors.Start(t.Context(), actors.Options{
			Log: h.log, Cluster: joinCluster, Hub: "hub", Data: h.dir, Partitions: 2,
			CommitEvery: 20 * time.Millisecond, IdleTick: 20 * time.Millisecond,
			Webhooks: actors.WebhookOptions{Sender: hook, MaxWait: 10 * time.Millisecond},
		}, false)
		if err != nil {
			t.Fatal(err)
		}
		h.node = n
	}
	start()
	err := h.node.ChangeRouting(t.Context(), "put", "routes/x", device.Audit{}, func(r *partition.Routing) error {
		r.Webhooks = []partition.Webhook{{Name: "hook", URL: "https://example.com"}}
		r.Routes = []partition.Route{
			{Name: "all", Source: partition.SourceTelemetry, Endpoints: []string{"topic:copies", "webhook:hook"}},
			{Name: "built in", Source: partition.SourceTelemetry, Endpoints: []string{"events"}},
		}
		return nil
	})
	if !errors.Is(err, partition.ErrRouting) {
		t.Fatalf("a name with a blank: %v", err)
	}
	if err := h.node.ChangeRouting(t.Context(), "put", "routes/x", device.Audit{}, func(r *partition.Routing) error {
		r.Webhooks = []partition.Webhook{{Name: "hook", URL: "https://example.com"}}
		r.Routes = []partition.Route{
			{Name: "all", Source: partition.SourceTelemetry, Endpoints: []string{"topic:copies", "webhook:hook"}},
			{Name: "builtin", Source: partition.SourceTelemetry, Endpoints: []string{"events"}},
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	const messages = 40
	var rows []map[string]any
	want := map[float64]bool{}
	for i := range messages {
		rows = append(rows, map[string]any{"deviceId": fmt.Sprintf("d%d", i%4), "n": i})
		want[float64(i)] = true
	}
	h.produce("hub.device-log", rows[:messages/2]...)
	h.eventually("first half posted", func() bool { return hook.count() == messages/2-1 })
	h.stop()
	start()
	defer h.stop()
	h.produce("hub.device-log", rows[messages/2:]...)
	h.eventually("all posted", func() bool { return hook.count() == messages-1 })
	for _, topic := range []string{"copies", "hub.events"} {
		got := map[float64]bool{}
		for _, row := range h.rows(topic, messages) {
			n := row["n"].(float64)
			if got[n] {
				t.Errorf("%s has message %v twice", topic, n)
			}
			got[n] = true
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s has %v", topic, slices.Sorted(maps.Keys(got)))
		}
	}
	dead := h.rows("hub.dead-letter", 1)
	if dead[0]["reason"] != partition.ReasonWebhook || dead[0]["payload"] != `{"deviceId":"d1","n":13}` {
		t.Errorf("dead letter %v", dead[0])
	}
}
