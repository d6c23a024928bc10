package bench

import (
	"context"
	"fmt"
	"io"
	"time"
)

// MQTT publishes to a node of its own, and to mosquitto in turn with it, from
// one generator on the same machine, and prints rates, their ratio, the time of
// one message at a time, and beside it what a sync of the disk takes.
func MQTT(ctx context.Context, o MQTTOptions, out io.Writer) error {
	o = o.ensureDefaults()
	if o.Floor {
		return mqttFloor(&o, out)
	}
	node, dir, end, err := freshNode(ctx, o.Binary, o.Dir, o.Host, o.ServeArgs...)
	if err != nil {
		return err
	}
	defer end()
	clients, err := node.createDevices(ctx, "bench", o.Connections)
	if err != nil {
		return err
	}
	targets := []target{{name: "gemello", addr: node.mqtt, process: node.process, clients: clients}}
	if o.Peer {
		peer, addr, err := startMosquitto(ctx, dir)
		if err != nil {
			return err
		}
		defer peer.stop()
		targets = append(targets, target{name: "mosquitto", addr: addr, process: peer, clients: clients})
	}
	for range o.Rounds {
		for i := range targets {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := targets[i].round(&o, out); err != nil {
				return fmt.Errorf("%s: %w", targets[i].name, err)
			}
		}
	}
	for i := range targets {
		if err := targets[i].single(&o, out); err != nil {
			return fmt.Errorf("%s: %w", targets[i].name, err)
		}
	}
	if _, err := diskSync(dir, o.Payload, out); err != nil {
		return err
	}
	if o.Peer {
		fmt.Fprintf(out, "REPORT\tgemello_msgs_s=%.0f\tmosquitto_msgs_s=%.0f\tratio=%.3f\n",
			median(targets[0].rates), median(targets[1].rates), median(targets[0].rates)/median(targets[1].rates))
	}
	return nil
}

// target is a server under load.
type target struct {
	name    string
	addr    string
	process *process
	clients []mqttClient
	rates   []float64
}

// round measures throughput once, after the server has come to rest.
func (t *target) round(o *MQTTOptions, out io.Writer) error {
	load, err := openLoad(t.addr, t.clients, o.Window, payload(o.Payload))
	if err != nil {
		return err
	}
	defer load.close()
	before, began := t.cpu(), time.Now()
	r, err := load.run(o.Warm, o.Measured)
	if err != nil {
		return err
	}
	// The server's time is taken over the whole round, warm-up included: its
	// clock ticks are coarse.
	cpu := (t.cpu() - before).Seconds() / time.Since(began).Seconds()
	t.rates = append(t.rates, r.rate())
	report(out, fmt.Sprintf("MQTTPublish/server=%s/conns=%d/window=%d", t.name, len(t.clients), o.Window), r.acked,
		1e9/r.rate(), "ns/op", r.rate(), "msgs/s",
		cpu, "server-cpus", r.cpu.Seconds()/r.elapsed.Seconds(), "generator-cpus",
		micros(r.lat.quantile(0.5)), "p50-µs", micros(r.lat.quantile(0.99)), "p99-µs")
	return nil
}

func (t *target) cpu() time.Duration {
	if t.process == nil {
		return 0
	}
	return t.process.cpu()
}

// single measures one message at a time.
func (t *target) single(o *MQTTOptions, out io.Writer) error {
	load, err := openLoad(t.addr, t.clients[:1], 1, payload(o.Payload))
	if err != nil {
		return err
	}
	defer load.close()
	r, err := load.run(o.Warm/2, o.Measured/2)
	if err != nil {
		return err
	}
	report(out, fmt.Sprintf("MQTTPublish/server=%s/conns=1/window=1", t.name), r.acked,
		1e9/r.rate(), "ns/op", micros(r.lat.quantile(0.5)), "p50-µs", micros(r.lat.quantile(0.99)), "p99-µs")
	return nil
}

func mqttFloor(o *MQTTOptions, out io.Writer) error {
	s, err := startAckServer()
	if err != nil {
		return err
	}
	defer s.close()
	t := target{name: "floor", addr: s.addr()}
	for i := range o.Connections {
		id := fmt.Sprintf("bench-%05d", i)
		t.clients = append(t.clients, mqttClient{id: id, topic: "devices/" + id + "/messages/events/"})
	}
	for range o.Rounds {
		if err := t.round(o, out); err != nil {
			return err
		}
	}
	return t.single(o, out)
}
