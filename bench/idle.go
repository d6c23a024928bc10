package bench

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// IdleOptions describe a run of connections that do nothing.
type IdleOptions struct {
	Binary      string
	Dir         string
	Host        string        // empty: 127.0.0.1
	Connections int           // 0: 10,000
	Twins       bool          // subscribe to twins and methods, too, as device SDKs do
	Settle      time.Duration // before the size is read; 0: 135 s, after which the runtime has collected and given back garbage
	ServeArgs   []string
}

// Idle measures what an idle connection with its subscriptions adds to the size
// of a node, plain and with TLS. Their devices exist before. The size is that of
// the process; descriptors and socket buffers are the system's.
func Idle(ctx context.Context, o IdleOptions, out io.Writer) error {
	orDefault(&o.Host, "127.0.0.1")
	orDefault(&o.Connections, 10_000)
	orDefault(&o.Settle, 135*time.Second)
	for _, secure := range []bool{false, true} {
		if err := idleOnce(ctx, &o, secure, out); err != nil {
			return err
		}
	}
	return nil
}

// idleOnce starts a node of its own, so that no run leaves something behind for
// the next.
func idleOnce(ctx context.Context, o *IdleOptions, secure bool, out io.Writer) error {
	node, _, end, err := freshNode(ctx, o.Binary, o.Dir, o.Host, o.ServeArgs...)
	if err != nil {
		return err
	}
	defer end()
	clients, err := node.createDevices(ctx, "idle", o.Connections)
	if err != nil {
		return err
	}
	before, err := node.footprint(ctx, o.Settle)
	if err != nil {
		return err
	}
	start := time.Now()
	filters := []string{"devices/%s/messages/devicebound/#"}
	if o.Twins {
		filters = append(filters, twinAnswers, desiredChanges, methodRequests)
	}
	conns, err := connectIdle(ctx, node, clients, filters, secure)
	defer func() {
		for _, c := range conns {
			if c != nil {
				c.Close()
			}
		}
	}()
	if err != nil {
		return err
	}
	took := time.Since(start)
	after, err := node.footprint(ctx, o.Settle)
	if err != nil {
		return err
	}
	n, kind := float64(len(clients)), "plain"
	if secure {
		kind = "tls"
	}
	each := func(a, b float64) float64 { return (a - b) / n / 1024 }
	report(out, fmt.Sprintf("MQTTIdle/%s/subscriptions=%d", kind, len(filters)), int64(len(clients)),
		each(after.rss, before.rss), "rss-KiB/conn",
		each(after.heap, before.heap), "heap-KiB/conn", each(after.stack, before.stack), "stack-KiB/conn",
		before.rss/(1<<20), "rss-before-MB", after.rss/(1<<20), "rss-after-MB",
		n/took.Seconds(), "connects/s")
	return nil
}

// footprint is the memory of a node in bytes.
type footprint struct{ rss, heap, stack float64 }

// footprint waits until the node has come to rest and reads its size.
func (n *nodeProcess) footprint(ctx context.Context, settle time.Duration) (f footprint, err error) {
	select {
	case <-ctx.Done():
		return f, ctx.Err()
	case <-n.exited:
		return f, fmt.Errorf("gemello serve ended: %s", n.stderr.b)
	case <-time.After(settle):
	}
	f.rss = float64(n.resident())
	if f.heap, err = n.metric(ctx, "go_memstats_heap_inuse_bytes"); err != nil {
		return f, err
	}
	f.stack, err = n.metric(ctx, "go_memstats_stack_inuse_bytes")
	return f, err
}

func connectIdle(ctx context.Context, node *nodeProcess, clients []mqttClient, filters []string, secure bool) ([]net.Conn, error) {
	conns := make([]net.Conn, len(clients))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(32)
	for i := range clients {
		g.Go(func() (err error) {
			conns[i], err = dialIdle(ctx, node, &clients[i], filters, secure)
			if err != nil {
				err = fmt.Errorf("connect %s: %w", clients[i].id, err)
			}
			return err
		})
	}
	return conns, g.Wait()
}

// dialIdle connects one client with its subscriptions.
func dialIdle(ctx context.Context, node *nodeProcess, c *mqttClient, filters []string, secure bool) (net.Conn, error) {
	var d interface {
		DialContext(ctx context.Context, network, addr string) (net.Conn, error)
	} = &net.Dialer{Timeout: 30 * time.Second}
	addr := node.mqtt
	if secure {
		d, addr = &tls.Dialer{Config: node.tls}, node.mqtts
	}
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if err := subscribeIdle(nc, c, filters); err != nil {
		nc.Close()
		return nil, err
	}
	return nc, nil
}

func subscribeIdle(nc net.Conn, c *mqttClient, filters []string) error {
	if err := nc.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	var ack [5]byte
	if _, err := nc.Write(appendConnect(nil, c)); err != nil {
		return err
	}
	if _, err := io.ReadFull(nc, ack[:4]); err != nil {
		return err
	}
	if ack[3] != 0 {
		return fmt.Errorf("CONNECT is answered with % x", ack[:4])
	}
	for _, filter := range filters {
		if _, err := nc.Write(appendSubscribe(nil, strings.Replace(filter, "%s", c.id, 1))); err != nil {
			return err
		}
		if _, err := io.ReadFull(nc, ack[:]); err != nil {
			return err
		}
		if ack[0] != 0x90 || ack[4] > 1 {
			return fmt.Errorf("SUBSCRIBE to %s is answered with % x", filter, ack)
		}
	}
	return nc.SetDeadline(time.Time{})
}
