package main

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"
)

// A device that misbehaves is refused, cut and counted, and meanwhile others are
// connected, publish, are told of their twins, answer methods and get in anew.
// How much of their time it takes is what gemello bench flood measures.
func TestADeviceThatMisbehavesHurtsNobodyElse(t *testing.T) {
	node := newWireNode(t)
	node.device("victim")
	for _, tt := range []struct {
		kind string
		// act misbehaves once more over a connection of the device; it ends with the
		// connection at the latest.
		act     func(c *frames, i int) error
		counter string // where it is counted, with its label
		label   string
	}{
		{"lies about its topic", func(c *frames, i int) error {
			return c.write(publishPacket(qos1, eventsOf("victim"), uint16(i%65535+1), `{"spoofed":true}`))
		}, "gemello_mqtt_refused_total", "foreign_topic"},
		{"answers methods that it was not asked", func(c *frames, i int) error {
			return c.write(publishPacket(qos0, fmt.Sprintf("%s200/?$rid=%d", methodAnswers, i), 0, `{}`))
		}, "gemello_mqtt_refused_total", "method_response_flood"},
		{"reconnects in a tight loop", func(c *frames, i int) error {
			c.nc.Close()
			return context.Canceled
		}, "gemello_throttled_total", `class="connections"`},
		// The last one, for the sake of those who read the events topic.
		{"floods", func(c *frames, i int) error {
			return c.write(publishPacket(qos0, eventsOf(c.id), 0, `{"n":1}`))
		}, "gemello_mqtt_received_bytes_total", ""},
	} {
		t.Run(tt.kind, func(t *testing.T) {
			n := node.as(t)
			id := fmt.Sprintf("bad-%d", len(tt.kind))
			n.device(id)
			before := n.metric(tt.counter, tt.label)
			calm := n.connected("victim")
			calm.subscribe(0, methodCalls, twinDesired)
			acts := n.misbehave(id, tt.act)
			for i := range 10 {
				calm.publish(eventsOf("victim"), fmt.Sprintf(`{"kind":%q,"n":%d}`, tt.kind, i))
				n.want(200, "PATCH", "/twins/victim"+serviceV, fmt.Sprintf(`{"properties":{"desired":{"n":"%s %d"}}}`, tt.kind, i))
				called := n.invoke("victim", `{"methodName":"m","payload":7}`)
				for range 2 { // the notification and the call, in either order
					if m := calm.received(); ridOf(m.topic) != "" {
						calm.publish(methodAnswers+"200/?$rid="+ridOf(m.topic), m.body)
					}
				}
				if a := <-called; a.body != `{"status":200,"payload":7}` {
					t.Fatalf("call %d: %d %s", i, a.status, a.body)
				}
			}
			calm.leave()
			late := n.connect(hello{id: "victim"})
			late.ping()
			late.leave()
			eventually(t, tt.counter, func() bool { return n.metric(tt.counter, tt.label) > before })
			if did := acts(); did == 0 {
				t.Error("nothing was done")
			}
			if tt.label != "foreign_topic" {
				return
			}
			for _, r := range n.eventsFrom("victim") {
				if string(r.Value) == `{"spoofed":true}` {
					t.Fatal("the lie is on the events topic")
				}
			}
		})
	}
}

// misbehave acts as fast as it is let until it is told to stop; then it says how
// often it did.
func (n *wireNode) misbehave(id string, act func(c *frames, i int) error) (stop func() int) {
	ctx, cancel := context.WithCancel(n.t.Context())
	var wg sync.WaitGroup
	count := 0
	wg.Go(func() {
		for ctx.Err() == nil {
			c, err := n.dial(hello{id: id})
			if err != nil {
				continue
			}
			over := context.AfterFunc(ctx, func() { c.nc.Close() })
			for ctx.Err() == nil && c.code == 0 {
				count++
				if act(c, count) != nil {
					break
				}
			}
			over()
			c.nc.Close()
			if c.code == 0 {
				continue
			}
			select { // it was told to wait
			case <-ctx.Done():
			case <-time.After(time.Millisecond):
			}
		}
	})
	var once sync.Once
	end := func() int {
		once.Do(func() {
			cancel()
			wg.Wait()
		})
		return count
	}
	n.t.Cleanup(func() { end() })
	return end
}
