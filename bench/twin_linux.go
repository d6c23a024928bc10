package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"time"
)

const reportedNext = "$iothub/twin/PATCH/properties/reported/?$rid="

// Twin sends reported patches, telemetry over as many connections for
// comparison, and reads twins over REST, all in turn, and prints rates and
// times. A patch counts when its answer has come: then it is durable and
// applied. Every answer must carry the version after the one before.
func Twin(ctx context.Context, o TwinOptions, out io.Writer) error {
	o = o.ensureDefaults()
	node, dir, end, err := freshNode(ctx, o.Binary, o.Dir, o.Host, o.ServeArgs...)
	if err != nil {
		return err
	}
	defer end()
	clients, err := node.createDevices(ctx, "bench", o.Connections)
	if err != nil {
		return err
	}
	r := &twinRun{o: &o, node: node, clients: clients, out: out}
	r.load = newPatchLoad(&o, len(clients))
	// Both as bench mqtt measures them, but for connections and window of the
	// second.
	alone := min(len(clients), MQTTOptions{}.ensureDefaults().Connections)
	r.telemetry = target{name: "gemello", addr: node.mqtt, process: node.process, clients: clients[:alone]}
	r.same = target{name: "gemello", addr: node.mqtt, process: node.process, clients: clients}
	for range o.Rounds {
		if err := r.round(ctx); err != nil {
			return err
		}
	}
	if err := r.half(ctx); err != nil {
		return err
	}
	if _, err := diskSync(dir, o.Patch, out); err != nil {
		return err
	}
	r.summary()
	return nil
}

// twinRun is what one run measures.
type twinRun struct {
	o               *TwinOptions
	node            *nodeProcess
	clients         []mqttClient
	out             io.Writer
	load            *patchLoad
	telemetry, same target
	patches, reads  []float64 // rates
	patchTail       latencies // at half the rate
	readTail        latencies
}

func (r *twinRun) round(ctx context.Context) error {
	asMQTT := MQTTOptions{Payload: r.o.Payload, Warm: r.o.Warm, Measured: r.o.Measured}.ensureDefaults()
	if err := r.node.rest(ctx); err != nil {
		return err
	}
	if err := r.telemetry.round(&asMQTT, r.out); err != nil {
		return fmt.Errorf("telemetry: %w", err)
	}
	asMQTT.Window = r.o.Window
	if err := r.node.rest(ctx); err != nil {
		return err
	}
	if err := r.same.round(&asMQTT, r.out); err != nil {
		return fmt.Errorf("telemetry over the same connections: %w", err)
	}
	if err := r.node.rest(ctx); err != nil {
		return err
	}
	l, err := r.load.round(ctx, r.node, r.clients, 0, r.out)
	if err != nil {
		return fmt.Errorf("reported patches: %w", err)
	}
	r.patches = append(r.patches, l.rate())
	if err := r.node.rest(ctx); err != nil {
		return err
	}
	if l, err = readTwins(ctx, r.node, r.clients, r.o, 0, r.out); err != nil {
		return fmt.Errorf("twins over REST: %w", err)
	}
	r.reads = append(r.reads, l.rate())
	return nil
}

// half measures times at half the rate: at the full one they are those of the
// queues that the load itself fills.
func (r *twinRun) half(ctx context.Context) error {
	if err := r.node.rest(ctx); err != nil {
		return err
	}
	patches, err := r.load.round(ctx, r.node, r.clients, r.pace(r.patches), r.out)
	if err != nil {
		return fmt.Errorf("reported patches at half the rate: %w", err)
	}
	if err := r.node.rest(ctx); err != nil {
		return err
	}
	reads, err := readTwins(ctx, r.node, r.clients, r.o, r.pace(r.reads), r.out)
	if err != nil {
		return fmt.Errorf("twins over REST at half the rate: %w", err)
	}
	r.patchTail, r.readTail = patches.lat, reads.lat
	return nil
}

// pace is half of what was seen unless the options say a rate.
func (r *twinRun) pace(seen []float64) float64 {
	if r.o.Rate > 0 {
		return r.o.Rate
	}
	return median(seen) / 2
}

func (r *twinRun) summary() {
	patches := median(r.patches)
	fmt.Fprintf(r.out, "REPORT\tpatches_s=%.0f\ttelemetry_s=%.0f\tratio=%.3f\tsame_connections_telemetry_s=%.0f\tsame_connections_ratio=%.3f\treads_s=%.0f\tpatch_p99_ms=%.1f\tread_p99_ms=%.1f\n",
		patches, median(r.telemetry.rates), patches/median(r.telemetry.rates), median(r.same.rates), patches/median(r.same.rates),
		median(r.reads), micros(r.patchTail.quantile(0.99))/1e3, micros(r.readTail.quantile(0.99))/1e3)
}

// patchLoad keeps Window patches of each device in flight.
type patchLoad struct {
	o        *TwinOptions
	versions []int64 // newest reported version by device
	sent     []int64 // when the patch of a slot was sent, ns
	number   int64
	x        *exchange
	pad      []byte
	scratch  []byte
}

// newPatchLoad is for devices whose twins were never reported.
func newPatchLoad(o *TwinOptions, devices int) *patchLoad {
	l := &patchLoad{o: o, versions: make([]int64, devices), sent: make([]int64, devices*o.Window)}
	for i := range l.versions {
		l.versions[i] = 1
	}
	return l
}

// round measures once: as fast as answers come, or at a rate in patches a second.
func (l *patchLoad) round(ctx context.Context, node *nodeProcess, clients []mqttClient, rate float64, out io.Writer) (*loadResult, error) {
	var err error
	if l.x, err = openExchange(node.mqtt, clients, twinAnswers); err != nil {
		return nil, err
	}
	defer l.x.close()
	l.pad = bytes.Repeat([]byte("x"), l.o.Patch)
	before, began, number := node.cpu(), time.Now(), l.number
	name, run := "TwinReported", l.run
	if rate > 0 {
		name, run = "TwinReportedPaced", func() (*loadResult, error) { return l.runPaced(rate) }
	}
	r, err := run()
	if err != nil {
		return nil, err
	}
	cpu := (node.cpu() - before).Seconds() / time.Since(began).Seconds()
	if err := node.rest(ctx); err != nil { // what is left to do belongs to the cost
		return nil, err
	}
	cost := (node.cpu() - before).Seconds() / float64(l.number-number) * 1e6
	report(out, fmt.Sprintf("%s/conns=%d/window=%d/bytes=%d", name, len(clients), l.o.Window, l.o.Patch), r.acked,
		1e9/r.rate(), "ns/op", r.rate(), "patches/s",
		cpu, "server-cpus", r.cpu.Seconds()/r.elapsed.Seconds(), "generator-cpus", cost, "server-cpu-s/M",
		micros(r.lat.quantile(0.5)), "p50-µs", micros(r.lat.quantile(0.99)), "p99-µs")
	return r, nil
}

func (l *patchLoad) run() (*loadResult, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r := &loadResult{}
	start := time.Now()
	now := start
	for i := range l.x.clients {
		for slot := range l.o.Window {
			l.queue(i, slot, 0)
		}
		if err := l.x.flush(i); err != nil {
			return nil, err
		}
	}
	from, cpu := start, threadCPU()
	measuring, stopping, open := false, false, len(l.sent)
	var lat latencies
	for open > 0 {
		n, err := l.x.poll(10_000, func(i int, kind byte, body []byte) error {
			slot, err := l.answered(i, kind, body)
			if err != nil {
				return err
			}
			at := time.Since(start).Nanoseconds()
			if stopping {
				open--
				return nil
			}
			lat.add(time.Duration(at - l.sent[i*l.o.Window+slot]))
			r.acked++
			l.queue(i, slot, at)
			return nil
		})
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return nil, fmt.Errorf("no answer for 10 s, %d patches are in flight", open)
		}
		now = time.Now()
		switch since := now.Sub(start); {
		case !measuring && since >= l.o.Warm:
			measuring, from, cpu, r.acked, lat = true, now, threadCPU(), 0, latencies{}
		case measuring && !stopping && since >= l.o.Warm+l.o.Measured:
			r.elapsed, r.cpu, r.lat = now.Sub(from), threadCPU()-cpu, lat
			stopping = true
		}
	}
	return r, nil
}

// queue appends a patch of about Patch bytes; its request id is the slot.
func (l *patchLoad) queue(client, slot int, now int64) {
	l.number++
	l.sent[client*l.o.Window+slot] = now
	b := strconv.AppendInt(append(l.scratch[:0], `{"n":`...), l.number, 10)
	b = append(b, `,"pad":"`...)
	if n := l.o.Patch - len(b) - 2; n > 0 {
		b = append(b, l.pad[:n]...)
	}
	l.scratch = append(b, `"}`...)
	c := &l.x.clients[client]
	c.out = appendPublish(c.out, reportedNext+strconv.Itoa(slot), l.scratch)
}

// answered checks an answer and returns its slot.
func (l *patchLoad) answered(client int, kind byte, body []byte) (int, error) {
	topic, payload, err := publication(kind, body)
	if err != nil {
		return 0, err
	}
	rest, ok := bytes.CutPrefix(topic, []byte("$iothub/twin/res/204/?$rid="))
	rid, version, also := bytes.Cut(rest, []byte("&$version="))
	slot, err := strconv.Atoi(string(rid))
	if !ok || !also || err != nil || slot < 0 || slot >= l.o.Window {
		return 0, fmt.Errorf("a patch is answered with %s %s", topic, payload)
	}
	v, err := strconv.ParseInt(string(version), 10, 64)
	if err != nil || v != l.versions[client]+1 {
		return 0, fmt.Errorf("device %d: a patch is answered with version %s after %d", client, version, l.versions[client])
	}
	l.versions[client] = v
	return slot, nil
}

func readTwins(ctx context.Context, node *nodeProcess, clients []mqttClient, o *TwinOptions, rate float64, out io.Writer) (*loadResult, error) {
	load, err := openREST(node.admin, o.Readers)
	if err != nil {
		return nil, err
	}
	defer load.close()
	load.rate = rate
	requests := make([][]byte, len(clients))
	for i := range clients {
		requests[i] = node.restRequest("GET", "/api/v1/twins/"+clients[i].id, nil)
	}
	before, began := node.cpu(), time.Now()
	r, err := load.run(ctx, o.Warm, o.Measured, func(conn, n int) []byte { return requests[(conn+n*o.Readers)%len(requests)] })
	if err != nil {
		return nil, err
	}
	cpu := (node.cpu() - before).Seconds() / time.Since(began).Seconds()
	name := "TwinRead"
	if rate > 0 {
		name = "TwinReadPaced"
	}
	report(out, fmt.Sprintf("%s/rest/conns=%d", name, o.Readers), r.acked,
		1e9/r.rate(), "ns/op", r.rate(), "reads/s", cpu, "server-cpus", cpu/r.rate()*1e6, "server-cpu-s/M",
		micros(r.lat.quantile(0.5)), "p50-µs", micros(r.lat.quantile(0.99)), "p99-µs")
	return r, nil
}
