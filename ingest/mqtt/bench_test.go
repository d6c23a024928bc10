package mqtt

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/ingest"
)

// ackHub acknowledges at once and keeps nothing.
type ackHub struct{}

func (ackHub) Connect(context.Context, ingest.Credentials, ingest.Session) (ingest.Link, error) {
	return ackLink{}, nil
}

type ackLink struct{}

func (ackLink) ID() string                                               { return "s" }
func (ackLink) Expires() time.Time                                       { return time.Time{} }
func (ackLink) Publish(_ ingest.Message, done func(error))               { done(nil) }
func (ackLink) Twin(done func([]byte, error))                            { done(nil, nil) }
func (ackLink) PatchReported(_ []byte, _ int64, done func(int64, error)) { done(1, nil) }
func (ackLink) MethodResponse(string, int, []byte)                       {}
func (ackLink) Settle(string, device.Outcome, func(error))               {}
func (ackLink) Ready(ingest.Feature, bool)                               {}
func (ackLink) Close(ingest.Reason, *ingest.Message)                     {}

// groupHub acknowledges what came within a millisecond together, like a log that
// is synced in groups.
type groupHub struct{ dones chan func(error) }

func (h groupHub) Connect(context.Context, ingest.Credentials, ingest.Session) (ingest.Link, error) {
	return groupLink{h: h}, nil
}

func (h groupHub) run(stop chan struct{}) {
	t := time.NewTicker(time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-stop:
			return
		case <-t.C:
		}
		for range len(h.dones) {
			(<-h.dones)(nil)
		}
	}
}

type groupLink struct {
	ackLink
	h groupHub
}

func (l groupLink) Publish(_ ingest.Message, done func(error)) { l.h.dones <- done }

// BenchmarkPublish sends QoS 1 telemetry of 200 bytes over loopback; the
// clients share the machine. window is how many messages a client has
// unacknowledged.
func BenchmarkPublish(b *testing.B) {
	group := groupHub{make(chan func(error), 1<<16)}
	stop := make(chan struct{})
	defer close(stop)
	go group.run(stop)
	for _, bm := range []struct {
		name          string
		hub           ingest.Hub
		conns, window int
	}{
		{"hub=now", ackHub{}, 1, 64}, {"hub=now", ackHub{}, 100, 1}, {"hub=now", ackHub{}, 100, 16}, {"hub=now", ackHub{}, 1000, 1},
		{"hub=group", group, 1000, 1}, {"hub=group", group, 100, 16},
	} {
		b.Run(fmt.Sprintf("%s/conns=%d/window=%d", bm.name, bm.conns, bm.window), func(b *testing.B) {
			benchPublish(b, bm.hub, bm.conns, bm.window)
		})
	}
}

func benchPublish(b *testing.B, hub ingest.Hub, conns, window int) {
	s := New(Options{Hub: hub})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go s.Serve(l)
	defer s.Shutdown(context.Background())
	clients := make([]net.Conn, conns)
	for i := range clients {
		nc, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		defer nc.Close()
		nc.Write(hello{id: fmt.Sprintf("device-%d", i)}.packet())
		if _, err := io.ReadFull(nc, make([]byte, 4)); err != nil {
			b.Fatal(err)
		}
		clients[i] = nc
	}
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	per := max(1, b.N/conns)
	for i, nc := range clients {
		wg.Go(func() {
			c := &client{level: level311}
			one := c.publishPacket(2, fmt.Sprintf("devices/device-%d/messages/events/%%24.ct=application%%2Fjson&%%24.ce=utf-8", i), 7, nil, string(make([]byte, 200)))
			batch := make([]byte, 0, window*len(one))
			acks := make([]byte, 4*window)
			for sent := 0; sent < per; {
				n := min(window, per-sent)
				batch = batch[:0]
				for range n {
					batch = append(batch, one...)
				}
				if _, err := nc.Write(batch); err != nil {
					b.Error(err)
					return
				}
				if _, err := io.ReadFull(nc, acks[:4*n]); err != nil {
					b.Error(err)
					return
				}
				sent += n
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(per*conns)/b.Elapsed().Seconds(), "msgs/s")
}
