package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// QueryOptions describe a run of queries over many twins.
type QueryOptions struct {
	Binary    string
	Dir       string   // empty: the system's temporary directory
	Host      string   // loopback address of the node; empty: 127.0.0.1
	Devices   int      // 0: 100,000
	Scans     int      // full scans of each kind; 0: 10
	Queries   int      // of each kind that few rows answer; 0: 2,000
	ServeArgs []string // further flags for gemello serve
}

// Query imports devices with twins, indexes two of their tags, passes all of them
// by a nested condition, and looks for single ones by an index and by id, over REST
// and one query after the other.
func Query(ctx context.Context, o QueryOptions, out io.Writer) error {
	orDefault(&o.Host, "127.0.0.1")
	orDefault(&o.Devices, 100_000)
	orDefault(&o.Scans, 10)
	orDefault(&o.Queries, 2000)
	node, _, end, err := freshNode(ctx, o.Binary, o.Dir, o.Host, o.ServeArgs...)
	if err != nil {
		return err
	}
	defer end()
	q := &queryRun{QueryOptions: o, node: node, out: out}
	ids := make([]string, o.Devices)
	for i := range ids {
		ids[i] = fmt.Sprintf("device-%07d", i)
	}
	if err := node.importDevices(ctx, ids, q.line); err != nil {
		return err
	}
	return q.run(ctx)
}

type queryRun struct {
	QueryOptions
	node  *nodeProcess
	out   io.Writer
	lines int
}

// line is an import line of a device whose serial number is its own and whose lot
// it shares with a hundred.
func (q *queryRun) line(b []byte, id string) []byte {
	i := q.lines
	q.lines++
	b = fmt.Appendf(b, `{"id":%q,"authentication":{"type":"sas","symmetricKey":{}},"tags":{"serial":%d,"lot":"lot-%d","site":"s%02d","floor":%d,"owner":{"team":"t%d","mail":"team@example.org"}},`,
		id, i, i/100, i%50, i%7, i%11)
	return fmt.Appendf(b, `"properties":{"desired":{"rate":%d,"fw":{"version":"1.2.%d"}},"reported":{"battery":%d,"fw":{"version":"1.2.%d","state":"idle"},"net":{"rssi":-%d,"ip":"10.0.%d.%d"},"temperature":{"avg":%d.5,"max":31},"uptime":%d}}}`+"\n",
		i%60, i%5, i%100, i%4, i%90, i/250%250, i%250, i%40, i)
}

// nested is a condition that looks into the twin at four depths.
const nested = "(tags.site = 's07' OR tags.owner.team = 't3') AND properties.reported.temperature.avg > 39 AND properties.reported.fw.version != properties.desired.fw.version"

func (q *queryRun) run(ctx context.Context) error {
	// What is indexed has been saved, so that scans read the store.
	for _, path := range []string{"tags.serial", "tags.lot"} {
		if err := q.index(ctx, path); err != nil {
			return err
		}
	}
	for _, s := range []struct{ name, text string }{
		{"count", "SELECT COUNT() AS n FROM devices WHERE " + nested},
		{"rows", "SELECT deviceId FROM devices WHERE " + nested},
		{"none", "SELECT * FROM devices WHERE tags.owner.team = 'nobody'"},
	} {
		if err := q.scan(ctx, s.name, s.text); err != nil {
			return err
		}
	}
	n := q.Devices
	finds := []find{
		{"id", func(i int) (string, int) { return fmt.Sprintf("deviceId = 'device-%07d'", i%n), 1 }},
		{"one", func(i int) (string, int) { return fmt.Sprintf("tags.serial = %d", i%n), 1 }},
		{"hundred", func(i int) (string, int) {
			lot := i % n / 100
			return fmt.Sprintf("tags.lot = 'lot-%d'", lot), min(n-lot*100, 100)
		}},
		{"residual", func(i int) (string, int) {
			return fmt.Sprintf("tags.lot = 'lot-%d' AND tags.serial = %d", i%n/100, i%n), 1
		}},
	}
	for _, f := range finds {
		if err := q.find(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// ask answers a query and returns how many rows it has.
func (q *queryRun) ask(ctx context.Context, text string) (int, error) {
	body, err := json.Marshal(map[string]string{"query": text})
	if err != nil {
		return 0, err
	}
	var rows []json.RawMessage
	err = q.node.call(ctx, http.MethodPost, "/api/v1/query", body, &rows)
	return len(rows), err
}

// scan passes all twins a few times.
func (q *queryRun) scan(ctx context.Context, name, text string) error {
	if _, err := q.ask(ctx, text); err != nil { // what is read for the first time
		return err
	}
	cpu, began, rows := q.node.cpu(), time.Now(), 0
	for range q.Scans {
		var err error
		if rows, err = q.ask(ctx, text); err != nil {
			return err
		}
	}
	took := time.Since(began)
	all := float64(q.Devices) * float64(q.Scans)
	report(q.out, fmt.Sprintf("QueryScan/%s/devices=%d", name, q.Devices), int64(q.Scans), took.Seconds()*1e9/float64(q.Scans), "ns/op",
		all/took.Seconds(), "twins/s", (q.node.cpu()-cpu).Seconds()/all*1e6, "server-cpu-s/M", float64(rows), "rows")
	fmt.Fprintf(q.out, "REPORT\tscan=%s\tdevices=%d\ttwins_per_s=%.0f\tcpu_s_per_m=%.2f\n", name, q.Devices, all/took.Seconds(), (q.node.cpu()-cpu).Seconds()/all*1e6)
	return nil
}

// index makes an index and waits until it is used everywhere.
func (q *queryRun) index(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	began := time.Now()
	if err := q.node.call(ctx, http.MethodPut, "/api/v1/indexes/"+url.PathEscape(path), nil, nil); err != nil {
		return err
	}
	for {
		var list struct {
			Indexes []struct {
				Path  string
				Ready bool
			}
		}
		// A core that is saving all that was imported may not answer in time.
		if err := q.node.call(ctx, http.MethodGet, "/api/v1/indexes", nil, &list); err != nil && !strings.Contains(err.Error(), " 503 ") {
			return err
		}
		for _, x := range list.Indexes {
			if x.Path == path && x.Ready {
				report(q.out, fmt.Sprintf("QueryIndexBuild/devices=%d", q.Devices), 1, float64(time.Since(began).Nanoseconds()), "ns/op")
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the index on %s is not built: %w", path, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// find is a kind of condition; holds returns one and how many devices it holds for.
type find struct {
	name  string
	holds func(i int) (string, int)
}

// find asks for few devices again and again.
func (q *queryRun) find(ctx context.Context, f find) error {
	var lat latencies
	cpu := q.node.cpu()
	const warm = 100
	for i := range q.Queries + warm {
		where, want := f.holds(i * 7919)
		began := time.Now()
		rows, err := q.ask(ctx, "SELECT * FROM devices WHERE "+where)
		if err != nil {
			return err
		}
		if rows != want {
			return fmt.Errorf("%s: %d rows, want %d", where, rows, want)
		}
		if i >= warm {
			lat.add(time.Since(began))
		}
	}
	p50, p99 := lat.quantile(0.5), lat.quantile(0.99)
	report(q.out, fmt.Sprintf("QueryFind/%s/devices=%d", f.name, q.Devices), lat.n, micros(p50), "p50-us", micros(p99), "p99-us",
		(q.node.cpu()-cpu).Seconds()/float64(q.Queries+warm)*1e6, "server-cpu-us/op")
	fmt.Fprintf(q.out, "REPORT\tfind=%s\tdevices=%d\tp50_ms=%.2f\tp99_ms=%.2f\n", f.name, q.Devices, micros(p50)/1e3, micros(p99)/1e3)
	return nil
}
