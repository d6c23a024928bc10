package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/persistence/eventlog"
)

// TwinBulkOptions describe a run of reported patches that an application appends
// to the device log itself: a log and a node, each a process of its own.
type TwinBulkOptions struct {
	Binary    string
	Dir       string   // empty: the system's temporary directory
	Host      string   // loopback address of the node; empty: 127.0.0.1
	Devices   int      // 0: 1,000
	Patches   int      // 0: 1,000,000
	Patch     int      // bytes; 0: 200
	Rounds    int      // 0: 2
	ServeArgs []string // further flags for gemello serve
	LogArgs   []string // further flags for gemello log
}

// bulkHub is the hub's name where nothing says otherwise.
const bulkHub = "gemello"

// TwinBulk appends patches as records of the device log and prints how fast
// every partition has applied and committed them, and what that costs all three
// processes. At the end every twin must have its last patch and every version.
func TwinBulk(ctx context.Context, o TwinBulkOptions, out io.Writer) error {
	orDefault(&o.Host, "127.0.0.1")
	orDefault(&o.Devices, 1000)
	orDefault(&o.Patches, 1_000_000)
	orDefault(&o.Patch, 200)
	orDefault(&o.Rounds, 2)
	dir, err := os.MkdirTemp(o.Dir, "gemello-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	server, err := startLog(ctx, o.Binary, filepath.Join(dir, "log"), o.LogArgs...)
	if err != nil {
		return err
	}
	defer server.stop()
	node, err := startNode(ctx, o.Binary, dir, o.Host, append([]string{"--kafka", server.addr}, o.ServeArgs...)...)
	if err != nil {
		return err
	}
	defer node.stop()
	b := &twinBulk{TwinBulkOptions: o, node: node, server: server}
	for i := range o.Devices {
		b.ids = append(b.ids, fmt.Sprintf("bulk-%06d", i))
	}
	if err := node.importDevices(ctx, b.ids, bareDevice); err != nil {
		return err
	}
	if b.log, err = eventlog.Open(ctx, eventlog.Options{Seeds: []string{server.addr}}); err != nil {
		return err
	}
	defer b.log.Close()
	var rates, costs []float64
	for range o.Rounds {
		rate, cost, err := b.round(ctx, out)
		if err != nil {
			return err
		}
		rates, costs = append(rates, rate), append(costs, cost)
	}
	if err := b.verify(ctx); err != nil {
		return err
	}
	if _, err := diskSync(dir, o.Patch, out); err != nil {
		return err
	}
	fmt.Fprintf(out, "REPORT\tbulk_patches_s=%.0f\tcpu_s_per_m=%.1f\tcpu_bound_patches_s=%.0f\n",
		median(rates), median(costs), 2e6/median(costs))
	return nil
}

type twinBulk struct {
	TwinBulkOptions
	node   *nodeProcess
	server *logProcess
	log    *eventlog.Log
	ids    []string
	sent   int
}

// round appends all patches and waits until they are committed.
func (b *twinBulk) round(ctx context.Context, out io.Writer) (rate, cost float64, err error) {
	topic := eventlog.HubTopic(bulkHub, eventlog.TopicDeviceLog)
	log, node, self, began := b.server.cpu(), b.node.cpu(), processCPU(), time.Now()
	if err := b.append(ctx, topic); err != nil {
		return 0, 0, err
	}
	appended := time.Since(began)
	ends, err := b.log.Offsets(ctx, topic)
	if err != nil {
		return 0, 0, err
	}
	if err := b.node.caughtUp(ctx, topic, ends); err != nil {
		return 0, 0, err
	}
	took := time.Since(began)
	log, node, self = b.server.cpu()-log, b.node.cpu()-node, processCPU()-self
	millions := float64(b.Patches) / 1e6
	rate, cost = float64(b.Patches)/took.Seconds(), (log+node+self).Seconds()/millions
	report(out, fmt.Sprintf("TwinBulk/devices=%d/bytes=%d", b.Devices, b.Patch), int64(b.Patches),
		1e9/rate, "ns/op", rate, "patches/s", float64(b.Patches)/appended.Seconds(), "appended/s",
		cost, "cpu-s/M", node.Seconds()/millions, "node-cpu-s/M", log.Seconds()/millions, "log-cpu-s/M",
		self.Seconds()/millions, "generator-cpu-s/M", float64(b.node.resident())/(1<<20), "node-rss-MB")
	return rate, cost, nil
}

func (b *twinBulk) append(ctx context.Context, topic string) error {
	a, err := b.log.NewAppender(eventlog.AppenderOptions{Linger: 5 * time.Millisecond})
	if err != nil {
		return err
	}
	defer a.Close()
	pads, headers := bulkPads(b.Patch), bulkHeaders()
	var failed atomic.Pointer[error]
	done := func(_ *eventlog.Record, err error) {
		if err != nil {
			failed.CompareAndSwap(nil, &err)
		}
	}
	keys := make([][]byte, len(b.ids))
	for i, id := range b.ids {
		keys[i] = []byte(id)
	}
	var slab []eventlog.Record
	var text []byte
	for n := 0; n < b.Patches && ctx.Err() == nil && failed.Load() == nil; n++ {
		if len(slab) == 0 {
			slab, text = make([]eventlog.Record, 512), make([]byte, 0, 512*(b.Patch+64))
		}
		from := len(text)
		text = append(strconv.AppendInt(append(text, `{"n":`...), int64(b.sent+n+1), 10), `,"pad":"`...)
		if short := b.Patch - (len(text) - from) - 2; short > 0 {
			text = append(text, pads[n%len(pads)][:short]...)
		}
		text = append(text, `"}`...)
		r := &slab[0]
		slab = slab[1:]
		r.Topic, r.Key, r.Value, r.Headers = topic, keys[n%len(keys)], text[from:len(text):len(text)], headers
		a.Append(ctx, r, done)
	}
	b.sent += b.Patches
	if err := a.Flush(ctx); err != nil {
		return err
	}
	if err := failed.Load(); err != nil {
		return *err
	}
	return ctx.Err()
}

// bulkHeaders are those of a patch whose answer nobody waits for.
func bulkHeaders() []eventlog.Header {
	return []eventlog.Header{
		{Key: device.HeaderKind, Value: []byte(device.KindReported)},
		{Key: device.HeaderActor, Value: []byte("policy:importer")},
	}
}

// bulkPads are texts that compress no better than measurements do.
func bulkPads(size int) [][]byte {
	random := rand.New(rand.NewPCG(3, 4))
	pads := make([][]byte, 997)
	for i := range pads {
		for range size {
			pads[i] = append(pads[i], "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"[random.IntN(64)])
		}
	}
	return pads
}

// verify reads up to a thousand twins: each must have had every patch.
func (b *twinBulk) verify(ctx context.Context) error {
	step := max(1, len(b.ids)/1000)
	for i := 0; i < len(b.ids); i += step {
		var twin struct {
			Properties struct {
				Reported struct {
					N       int   `json:"n"`
					Version int64 `json:"$version"`
				}
			}
		}
		if err := b.node.call(ctx, http.MethodGet, "/api/v1/twins/"+b.ids[i], nil, &twin); err != nil {
			return err
		}
		last, patches := 0, int64(0)
		for round := range b.Rounds {
			if i < b.Patches {
				k := (b.Patches - 1 - i) / len(b.ids)
				last = round*b.Patches + k*len(b.ids) + i + 1
				patches += int64(k + 1)
			}
		}
		if got := twin.Properties.Reported; got.N != last || got.Version != 1+patches {
			return fmt.Errorf("twin %s has patch %d and version %d, want %d and %d", b.ids[i], got.N, got.Version, last, 1+patches)
		}
	}
	return nil
}

// caughtUp waits until the devices cores have committed all below the ends of the
// device log.
func (n *nodeProcess) caughtUp(ctx context.Context, topic string, ends map[int32]eventlog.Range) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	t := time.NewTicker(50 * time.Millisecond)
	defer t.Stop()
	for {
		var status struct {
			Cores []struct {
				Core, Topic string
				Partition   int32
				Offset      int64
			}
		}
		if err := n.call(ctx, http.MethodGet, "/api/v1/status", nil, &status); err != nil {
			return err
		}
		behind := len(ends)
		for _, c := range status.Cores {
			if c.Topic == topic && strings.Contains(c.Core, ".d.") && c.Offset >= ends[c.Partition].High {
				behind--
			}
		}
		if behind <= 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d partitions have not applied all: %w", behind, ctx.Err())
		case <-n.exited:
			return fmt.Errorf("gemello serve ended: %s", n.stderr.b)
		case <-t.C:
		}
	}
}

// bareDevice is the import line of a device without keys and twin.
func bareDevice(b []byte, id string) []byte {
	return fmt.Appendf(b, `{"id":%q,"authentication":{"type":"certificateAuthority"}}`+"\n", id)
}

// importDevices registers devices by import lines.
func (n *nodeProcess) importDevices(ctx context.Context, ids []string, line func([]byte, string) []byte) error {
	const chunk = 4000
	var body []byte
	for len(ids) > 0 {
		k := min(chunk, len(ids))
		body = body[:0]
		for _, id := range ids[:k] {
			body = line(body, id)
		}
		ids = ids[k:]
		var answer []byte
		if err := n.call(ctx, http.MethodPost, "/api/v1/import", body, &answer); err != nil {
			return err
		}
		var r struct {
			Imported int
			Failed   int
			Refused  json.RawMessage
		}
		if err := json.Unmarshal(answer, &r); err != nil {
			return err
		}
		if r.Imported != k {
			return fmt.Errorf("%d of %d devices were imported: %.300s", r.Imported, k, bytes.TrimSpace(r.Refused))
		}
	}
	return nil
}
