package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/gemello/gemello/persistence/eventlog"
)

// RegistryOptions describe a run of a node with many devices.
type RegistryOptions struct {
	Binary    string
	Dir       string        // empty: the system's temporary directory
	Host      string        // loopback address of the node; empty: 127.0.0.1
	Devices   int           // 0: 1,000,000
	Twin      int           // bytes of tags and properties of a twin; 0: 500
	Settle    time.Duration // before the size is read; 0: 30 s
	ServeArgs []string      // further flags for gemello serve
}

// registryPartitions is the default of a node.
const registryPartitions = 8

// Registry imports devices with keys and twins, reads the node's size, kills it,
// and measures how long a new one takes until a twin of every partition can be
// read, and its size then.
func Registry(ctx context.Context, o RegistryOptions, out io.Writer) error {
	orDefault(&o.Host, "127.0.0.1")
	orDefault(&o.Devices, 1_000_000)
	orDefault(&o.Twin, 500)
	orDefault(&o.Settle, 30*time.Second)
	dir, err := os.MkdirTemp(o.Dir, "gemello-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	node, err := startNode(ctx, o.Binary, dir, o.Host, o.ServeArgs...)
	if err != nil {
		return err
	}
	defer func() { node.stop() }()
	r := &registryRun{RegistryOptions: o, dir: dir}
	r.name()
	cpu, began := node.cpu(), time.Now()
	node.http.Timeout = 10 * time.Minute
	if err := node.importDevices(ctx, r.ids, r.line); err != nil {
		return err
	}
	took := time.Since(began)
	report(out, fmt.Sprintf("RegistryImport/devices=%d/twin=%d", o.Devices, o.Twin), int64(o.Devices),
		took.Seconds()*1e9/float64(o.Devices), "ns/op", float64(o.Devices)/took.Seconds(), "devices/s",
		(node.cpu()-cpu).Seconds()/float64(o.Devices)*1e6, "server-cpu-s/M", float64(node.resident())/(1<<20), "rss-MB")
	before, err := node.footprint(ctx, o.Settle)
	if err != nil {
		return err
	}
	node.kill()
	began = time.Now()
	if node, err = startNode(ctx, o.Binary, dir, o.Host, o.ServeArgs...); err != nil {
		return err
	}
	started := time.Since(began)
	if err := r.readable(ctx, node); err != nil {
		return err
	}
	readable, startCPU := time.Since(began), node.cpu()
	if err := r.count(ctx, node); err != nil {
		return err
	}
	after, err := node.footprint(ctx, o.Settle)
	if err != nil {
		return err
	}
	report(out, fmt.Sprintf("Registry/devices=%d/twin=%d", o.Devices, o.Twin), 1,
		started.Seconds(), "listening-s", readable.Seconds(), "restart-s", startCPU.Seconds(), "restart-cpu-s",
		before.rss/(1<<20), "rss-MB", before.heap/(1<<20), "heap-MB",
		after.rss/(1<<20), "rss-restarted-MB", after.heap/(1<<20), "heap-restarted-MB")
	fmt.Fprintf(out, "REPORT\tdevices=%d\trss_mb=%.0f\trss_restarted_mb=%.0f\trestart_s=%.2f\n",
		o.Devices, before.rss/(1<<20), after.rss/(1<<20), readable.Seconds())
	return nil
}

type registryRun struct {
	RegistryOptions
	dir   string
	ids   []string
	first [registryPartitions]string // a device of each partition
}

func (r *registryRun) name() {
	for i := range r.Devices {
		id := fmt.Sprintf("device-%07d", i)
		r.ids = append(r.ids, id)
		if p := eventlog.Partition([]byte(id), registryPartitions); r.first[p] == "" {
			r.first[p] = id
		}
	}
}

// line is an import line: the hub makes the keys.
func (r *registryRun) line(b []byte, id string) []byte {
	from := len(b)
	n := len(id)
	b = fmt.Appendf(b, `{"id":%q,"authentication":{"type":"sas","symmetricKey":{}},"tags":{"site":"site-%s","building":{"floor":%q,"room":"%s"}},`,
		id, id[n-2:], id[n-1:], id[n-4:])
	b = fmt.Appendf(b, `"properties":{"desired":{"interval":%d,"mode":"eco","limits":{"low":-5,"high":%s}},"reported":{"firmware":"1.4.%s","battery":97,"pad":"`,
		10+len(b)%50, id[n-2:n-1], id[n-1:])
	for len(b)-from < r.Twin+80 { // of which about 80 are not the twin's
		b = append(b, 'a'+byte(len(b)%26))
	}
	return append(b, "\"}}}\n"...)
}

// readable waits until a twin of every partition is answered.
func (r *registryRun) readable(ctx context.Context, node *nodeProcess) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	var last error
	for p, id := range r.first {
		for id != "" {
			if last = node.call(ctx, http.MethodGet, "/api/v1/twins/"+id, nil, nil); last == nil {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("twin %s of partition %d: %w", id, p, errors.Join(last, ctx.Err()))
			case <-node.exited:
				return fmt.Errorf("gemello serve ended: %s", node.stderr.b)
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
	return nil
}

// count checks that all devices are there, and that the last one has its twin.
func (r *registryRun) count(ctx context.Context, node *nodeProcess) error {
	var rows []struct{ N int }
	body := []byte(`{"query":"SELECT COUNT() AS n FROM devices"}`)
	if err := node.call(ctx, http.MethodPost, "/api/v1/query", body, &rows); err != nil {
		return err
	}
	if len(rows) != 1 || rows[0].N != r.Devices {
		return fmt.Errorf("%+v devices are there after the kill, want %d", rows, r.Devices)
	}
	var twin struct {
		Properties struct {
			Reported struct{ Firmware string }
		}
	}
	if err := node.call(ctx, http.MethodGet, "/api/v1/twins/"+r.ids[len(r.ids)-1], nil, &twin); err != nil {
		return err
	}
	if twin.Properties.Reported.Firmware == "" {
		return fmt.Errorf("the twin of %s has lost its reported properties", r.ids[len(r.ids)-1])
	}
	return nil
}
