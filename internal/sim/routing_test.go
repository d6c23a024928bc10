package sim

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

var routingKills = flag.Int("routing-kills", 2, "kills of the node while messages are routed")

// numbered sends numbered messages as one device. No number is sent twice, so
// each is in the log at most once, and once if it was acknowledged.
type numbered struct {
	id string

	mu    sync.Mutex // guards acked
	acked map[string]bool
}

func (d *numbered) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.acked)
}

// send publishes one message after the other until ctx ends, over as many
// connections as it takes.
func (d *numbered) send(ctx context.Context, open func(context.Context) (*session, error)) {
	for n := 0; ctx.Err() == nil; {
		s, err := open(ctx)
		if err != nil {
			pause(ctx, reconnect)
			continue
		}
		for alive := true; alive && ctx.Err() == nil; n++ {
			name := fmt.Sprintf("%s/%d", d.id, n)
			acked := make(chan struct{})
			if err := s.publish(d.id, fmt.Appendf(nil, `{"name":%q}`, name), false, func() { close(acked) }); err != nil {
				alive = false
				continue
			}
			select {
			case <-acked:
				d.mu.Lock()
				d.acked[name] = true
				d.mu.Unlock()
			case <-s.done:
				alive = false
			case <-ctx.Done():
			}
		}
		s.close()
		<-s.done
	}
}

// A node that is killed while it routes loses and doubles nothing that devices
// were told is safe: a Kafka client reads each message once from the topics of its
// routes, and no other.
func TestRoutedMessagesSurviveKills(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	o, kafka := buildAndStartLog(t, ctx)
	n := newNode(o, "node", 1, "--kafka", kafka, "--hub", "verify_routes")
	at, err := n.start(ctx, 500)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.kill() })
	if err := n.call(ctx, http.MethodPatch, "/routing", map[string]any{
		"routes": []map[string]any{
			{"name": "some", "condition": "$connectionDeviceId IN ['d0', 'd1']", "endpoints": []string{"topic:some", "events"}},
			{"name": "again", "condition": "$connectionDeviceId = 'd0'", "endpoints": []string{"events"}},
		},
	}, nil); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex // guards at
	devices := make([]*numbered, 4)
	sending, stop := context.WithCancel(ctx)
	var senders sync.WaitGroup
	for i := range devices {
		d := &numbered{id: fmt.Sprintf("d%d", i), acked: map[string]bool{}}
		devices[i] = d
		key, err := n.device(ctx, d.id)
		if err != nil {
			t.Fatal(err)
		}
		senders.Go(func() {
			d.send(sending, func(ctx context.Context) (*session, error) {
				mu.Lock()
				e := at
				mu.Unlock()
				return dial(ctx, e, d.id, key, hearing{})
			})
		})
	}
	t.Cleanup(func() { stop(); senders.Wait() })
	more := func(each int) {
		t.Helper()
		for _, d := range devices {
			for want := d.count() + each; d.count() < want; {
				if !pause(ctx, lookEvery) {
					t.Fatalf("%s: %d messages were acknowledged", d.id, d.count())
				}
			}
		}
	}
	for range *routingKills {
		more(20)
		n.kill()
		next, err := n.start(ctx, 500)
		if err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		at = next
		mu.Unlock()
	}
	more(20)
	stop()
	senders.Wait()
	for topic, from := range map[string][]*numbered{"some": devices[:2], "verify_routes.events": devices} {
		acked := map[string]bool{}
		for _, d := range from {
			for name := range d.acked {
				acked[name] = true
			}
		}
		got := readRouted(ctx, t, kafka, topic, acked)
		for name, times := range got {
			if times != 1 {
				t.Errorf("%s has %s %d times", topic, name, times)
			}
			if topic == "some" && name[:2] != "d0" && name[:2] != "d1" {
				t.Errorf("%s has %s", topic, name)
			}
		}
	}
}

// readRouted counts the messages of a topic by name, until all wanted ones have
// come and nothing follows for a while.
func readRouted(ctx context.Context, t *testing.T, seed, topic string, want map[string]bool) map[string]int {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(seed), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	got, missing := map[string]int{}, len(want)
	for {
		wait := 2 * time.Minute
		if missing == 0 {
			wait = 2 * time.Second // a double would have been committed with it
		}
		polled, done := context.WithTimeout(ctx, wait)
		fetched := cl.PollFetches(polled)
		done()
		if polled.Err() != nil && fetched.NumRecords() == 0 {
			if missing > 0 {
				t.Errorf("%s lacks %d of %d messages that were acknowledged", topic, missing, len(want))
			}
			return got
		}
		for _, r := range fetched.Records() {
			var m struct{ Name string }
			if err := json.Unmarshal(r.Value, &m); err != nil || m.Name == "" {
				continue // an event of the hub
			}
			if got[m.Name]++; got[m.Name] == 1 && want[m.Name] {
				missing--
			}
		}
	}
}
