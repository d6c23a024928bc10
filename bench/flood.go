package bench

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// FloodOptions describe a run that compares what well-behaved devices see with
// and without one that is not.
type FloodOptions struct {
	Binary      string
	Dir         string        // empty: the system's temporary directory
	Host        string        // loopback address of the node; empty: 127.0.0.1
	Connections int           // of the others; 0: 200
	Rate        float64       // reported patches a second of the others together; 0: 500
	Rounds      int           // of each kind, each beside a quiet one; 0: 3
	Warm        time.Duration // 0: 1 s
	Measured    time.Duration // of a round; 0: 5 s
	Kinds       []string      // of bad behaviour; empty: FloodKinds
	ServeArgs   []string
}

func (o FloodOptions) ensureDefaults() FloodOptions {
	orDefault(&o.Host, "127.0.0.1")
	orDefault(&o.Connections, 200)
	orDefault(&o.Rate, 500)
	orDefault(&o.Rounds, 3)
	orDefault(&o.Warm, time.Second)
	orDefault(&o.Measured, 5*time.Second)
	if len(o.Kinds) == 0 {
		o.Kinds = FloodKinds()
	}
	return o
}

// FloodKinds are the ways in which a device misbehaves: it publishes as fast as
// its connection takes it, publishes to another device's topic, answers methods
// that nobody called, or connects without end.
func FloodKinds() []string { return []string{"flood", "topic", "answers", "reconnect"} }

// floodOpen bounds what a flooding device has sent and not seen acknowledged.
const floodOpen = 256

// badDevice misbehaves until its context ends.
type badDevice struct {
	node   *nodeProcess
	client *mqttClient
	victim *mqttClient // whose topic is not its own
	acts   atomic.Int64
}

func (b *badDevice) run(ctx context.Context, kind string) {
	for ctx.Err() == nil {
		nc, err := dialIdle(ctx, b.node, b.client, nil, false)
		if err != nil {
			// The node refuses it, which is what it has to expect.
			if b.acts.Add(1); sleep(ctx, time.Millisecond) != nil {
				break
			}
			continue
		}
		stop := context.AfterFunc(ctx, func() { nc.Close() })
		switch kind {
		case "flood":
			b.publish(nc, b.client.topic, []byte(`{"temperature":21.5}`))
		case "topic":
			b.publish(nc, b.victim.topic, []byte(`{"temperature":99}`))
		case "answers":
			b.publish(nc, "$iothub/methods/res/200/?$rid=1", []byte("{}"))
		case "reconnect":
			b.acts.Add(1)
		}
		stop()
		nc.Close()
	}
}

// publish sends QoS 1 messages until the connection ends.
func (b *badDevice) publish(nc net.Conn, topic string, body []byte) {
	frame, at := publishFrame(topic, body)
	slots := make(chan struct{}, floodOpen)
	ended := make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() {
		defer close(ended)
		var ack [4]byte
		for {
			if _, err := io.ReadFull(nc, ack[:]); err != nil {
				return
			}
			<-slots
		}
	})
	for id := uint16(1); ; id++ {
		if id == 0 {
			continue
		}
		select {
		case slots <- struct{}{}:
		case <-ended:
			return
		}
		frame[at], frame[at+1] = byte(id>>8), byte(id)
		if _, err := nc.Write(frame); err != nil {
			nc.Close()
			reader.Wait()
			return
		}
		b.acts.Add(1)
	}
}

func knownKinds(kinds []string) error {
	for _, k := range kinds {
		if !slices.Contains(FloodKinds(), k) {
			return fmt.Errorf("bench flood: kind %q is not allowed; allowed: %s", k, strings.Join(FloodKinds(), ", "))
		}
	}
	return nil
}
