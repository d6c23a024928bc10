package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// Methods calls direct methods of connected devices over REST and prints how
// many are answered and what a round trip takes: from caller to device and back.
func Methods(ctx context.Context, o MethodsOptions, out io.Writer) error {
	o = o.ensureDefaults()
	node, _, end, err := freshNode(ctx, o.Binary, o.Dir, o.Host, o.ServeArgs...)
	if err != nil {
		return err
	}
	defer end()
	clients, err := node.createDevices(ctx, "bench", o.Connections)
	if err != nil {
		return err
	}
	x, err := openExchange(node.mqtt, clients, methodRequests)
	if err != nil {
		return err
	}
	devices := answerMethods(x, payload(o.Payload))
	err = callMethods(ctx, node, clients, &o, out)
	return errors.Join(err, devices.stop())
}

// answering is the devices' side of a run.
type answering struct {
	x     *exchange
	quit  chan struct{}
	ended chan error
}

// answerMethods lets every device answer each method with status 200.
func answerMethods(x *exchange, answer []byte) *answering {
	a := &answering{x: x, quit: make(chan struct{}), ended: make(chan error, 1)}
	go func() {
		for {
			select {
			case <-a.quit:
				a.ended <- nil
				return
			default:
			}
			_, err := x.poll(50, func(i int, kind byte, body []byte) error {
				topic, _, err := publication(kind, body)
				if err != nil {
					return err
				}
				_, rid, ok := bytes.Cut(topic, []byte("?$rid="))
				if !ok {
					return fmt.Errorf("the node sends %s", topic)
				}
				c := &x.clients[i]
				c.out = appendPublish(c.out, "$iothub/methods/res/200/?$rid="+string(rid), answer)
				return nil
			})
			if err != nil {
				a.ended <- fmt.Errorf("devices: %w", err)
				return
			}
		}
	}()
	return a
}

func (a *answering) stop() error {
	close(a.quit)
	err := <-a.ended
	a.x.close()
	return err
}

func callMethods(ctx context.Context, node *nodeProcess, clients []mqttClient, o *MethodsOptions, out io.Writer) error {
	load, err := openREST(node.admin, o.Callers)
	if err != nil {
		return err
	}
	defer load.close()
	body := fmt.Appendf(nil, `{"methodName":"bench","responseTimeoutInSeconds":30,"payload":%s}`, payload(o.Payload))
	requests := make([][]byte, len(clients))
	for i := range clients {
		requests[i] = node.restRequest("POST", "/api/v1/twins/"+clients[i].id+"/methods", body)
	}
	var rates []float64
	for range o.Rounds {
		before, began := node.cpu(), time.Now()
		r, err := load.run(ctx, o.Warm, o.Measured, func(conn, n int) []byte { return requests[(conn+n*o.Callers)%len(requests)] })
		if err != nil {
			return err
		}
		cpu := (node.cpu() - before).Seconds() / time.Since(began).Seconds()
		rates = append(rates, r.rate())
		report(out, fmt.Sprintf("MethodInvoke/rest/devices=%d/callers=%d", len(clients), o.Callers), r.acked,
			1e9/r.rate(), "ns/op", r.rate(), "calls/s", cpu, "server-cpus",
			micros(r.lat.quantile(0.5)), "p50-µs", micros(r.lat.quantile(0.99)), "p99-µs")
	}
	fmt.Fprintf(out, "REPORT\tcalls_s=%.0f\n", median(rates))
	return nil
}
