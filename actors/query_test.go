package actors_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gemello/gemello/actors"
	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/query"
)

// put makes a device whose tags are {"n":n,"site":"a"|"b"}.
func (h *harness) put(n int) {
	h.t.Helper()
	id := fmt.Sprintf("d%03d", n)
	c := device.Change{Wanted: device.Identity{DeviceID: id, Auth: device.Auth{Type: device.AuthCA}}}
	if _, err := h.node.PutIdentity(h.t.Context(), c); err != nil {
		h.t.Fatal(err)
	}
	h.tag(id, fmt.Sprintf(`{"n":%d,"site":%q}`, n, string(rune('a'+n%2))))
}

// module makes a module of a device with a tag.
func (h *harness) module(ref device.Ref, tags string) {
	h.t.Helper()
	c := device.Change{Wanted: device.Identity{DeviceID: ref.Device, ModuleID: ref.Module, Auth: device.Auth{Type: device.AuthCA}}}
	if _, err := h.node.PutIdentity(h.t.Context(), c); err != nil {
		h.t.Fatal(err)
	}
	if _, err := h.node.PatchTwin(h.t.Context(), device.TwinChange{DeviceID: ref.Device, ModuleID: ref.Module, Body: []byte(`{"tags":` + tags + `}`)}); err != nil {
		h.t.Fatal(err)
	}
}

func (h *harness) tag(id, tags string) {
	h.t.Helper()
	if _, err := h.node.PatchTwin(h.t.Context(), device.TwinChange{DeviceID: id, Body: []byte(`{"tags":` + tags + `}`)}); err != nil {
		h.t.Fatal(err)
	}
}

// ready waits until all cores answer.
func (h *harness) ready() {
	h.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		_, err := h.node.Statistics(h.t.Context())
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			h.t.Fatal(err)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// ask answers a whole query; between runs after every page.
func (h *harness) ask(text string, limit int, between func()) (rows []string) {
	h.t.Helper()
	q, err := query.Parse(text)
	if err != nil {
		h.t.Fatal(err)
	}
	var from query.Cursor
	for pages := 0; ; pages++ {
		page, err := h.node.Query(h.t.Context(), q, from, limit)
		if err != nil {
			h.t.Fatal(err)
		}
		if len(page.Rows) > limit || pages > 1000 {
			h.t.Fatalf("page %d of %s has %d rows, limit %d", pages, text, len(page.Rows), limit)
		}
		for _, r := range page.Rows {
			rows = append(rows, string(r))
		}
		if page.Next == nil {
			return rows
		}
		if len(page.Rows) == 0 {
			h.t.Fatalf("an empty page of %s goes on", text)
		}
		// What a continuation holds is its bytes.
		b, _ := page.Next.AppendBinary(nil)
		if err := from.UnmarshalBinary(b); err != nil {
			h.t.Fatal(err)
		}
		if between != nil {
			between()
		}
	}
}

func TestQueryOverAllPartitions(t *testing.T) {
	h := newHarness(t)
	h.start()
	defer func() { h.stop() }()
	h.ready()
	const devices = 40
	for n := range devices {
		h.put(n)
	}
	var all []string
	for n := range devices {
		all = append(all, fmt.Sprintf(`{"deviceId":"d%03d"}`, n))
	}
	for _, limit := range []int{1, 7, devices, 1000} {
		rows := h.ask("SELECT deviceId FROM devices", limit, nil)
		slices.Sort(rows)
		if !slices.Equal(rows, all) {
			t.Errorf("pages of %d: %v", limit, rows)
		}
	}
	for _, c := range []struct {
		in   string
		want []string
	}{
		{"SELECT COUNT() AS n, SUM(tags.n) AS s, MIN(tags.n) AS lo, MAX(tags.n) AS hi FROM devices", []string{`{"n":40,"s":780,"lo":0,"hi":39}`}},
		{"SELECT tags.site AS site, COUNT() AS n FROM devices WHERE tags.n < 11 GROUP BY tags.site", []string{`{"site":"a","n":6}`, `{"site":"b","n":5}`}},
		{"SELECT tags.n FROM devices WHERE deviceId = 'd017'", []string{`{"n":17}`}},
		{"SELECT COUNT() AS n FROM devices WHERE tags.none = 1", []string{`{"n":0}`}},
		{"SELECT * FROM devices WHERE tags.none = 1", nil},
		{"SELECT * FROM devices.modules", nil},
	} {
		for _, limit := range []int{1, 100} {
			if rows := h.ask(c.in, limit, nil); !slices.Equal(rows, c.want) {
				t.Errorf("%s: %v", c.in, rows)
			}
		}
	}
	if rows := h.ask("SELECT TOP 5 * FROM devices", 2, nil); len(rows) != 5 {
		t.Errorf("TOP 5 gave %d rows", len(rows))
	}
	doc, err := h.node.Twin(t.Context(), device.Ref{Device: "d003"})
	if err != nil {
		t.Fatal(err)
	}
	if rows := h.ask("SELECT * FROM devices WHERE tags.n = 3", 9, nil); len(rows) != 1 || rows[0] != string(doc.AppendServiceView(nil)) {
		t.Errorf("a row is not the twin: %v", rows)
	}
}

func TestModulesAreACollectionOfTheirOwn(t *testing.T) {
	h := newHarness(t)
	h.start()
	defer func() { h.stop() }()
	h.ready()
	var modules []string
	for n := range 10 {
		h.put(n)
		for m := range n % 3 {
			h.module(device.Ref{Device: fmt.Sprintf("d%03d", n), Module: fmt.Sprintf("m%d", m)}, fmt.Sprintf(`{"n":%d,"site":"m"}`, n))
			modules = append(modules, fmt.Sprintf(`{"deviceId":"d%03d","moduleId":"m%d"}`, n, m))
		}
	}
	for _, limit := range []int{1, 2, 100} {
		rows := h.ask("SELECT deviceId, moduleId FROM devices.modules", limit, nil)
		slices.Sort(rows)
		if !slices.Equal(rows, modules) {
			t.Errorf("pages of %d: %v", limit, rows)
		}
		if rows := h.ask("SELECT deviceId FROM devices", limit, nil); len(rows) != 10 {
			t.Errorf("pages of %d: %d devices among modules: %v", limit, len(rows), rows)
		}
	}
	for _, c := range []struct{ in, want string }{
		{"SELECT COUNT() AS n FROM devices.modules WHERE tags.site = 'm'", `{"n":9}`},
		{"SELECT COUNT() AS n FROM devices WHERE tags.site = 'm'", `{"n":0}`},
		{"SELECT tags.n FROM devices.modules WHERE moduleId = 'm1' AND deviceId = 'd008'", `{"n":8}`},
	} {
		if rows := h.ask(c.in, 100, nil); !slices.Equal(rows, []string{c.want}) {
			t.Errorf("%s: %v", c.in, rows)
		}
	}
	doc, err := h.node.Twin(t.Context(), device.Ref{Device: "d001", Module: "m0"})
	if err != nil {
		t.Fatal(err)
	}
	if rows := h.ask("SELECT * FROM devices.modules WHERE deviceId = 'd001'", 9, nil); len(rows) != 1 || rows[0] != string(doc.AppendServiceView(nil)) {
		t.Errorf("a row is not the module's twin: %v", rows)
	}
}

// Every device that exists from beginning to end is answered exactly once,
// whatever comes and goes meanwhile and whether the node restarts.
func TestContinuationHoldsUnderChangesAndRestarts(t *testing.T) {
	h := newHarness(t)
	h.start()
	defer func() { h.stop() }()
	h.ready()
	for n := range 30 {
		h.put(n)
	}
	page := 0
	rows := h.ask("SELECT deviceId FROM devices WHERE tags.n < 500", 4, func() {
		page++
		h.put(100 + page)
		h.tag("d007", fmt.Sprintf(`{"page":%d}`, page))
		if page == 2 {
			if err := h.node.DeleteIdentity(t.Context(), device.Ref{Device: "d029"}, "*", device.Audit{}); err != nil {
				t.Fatal(err)
			}
		}
		if page == 3 {
			h.stop()
			h.start()
			h.ready()
		}
	})
	seen := map[string]int{}
	for _, r := range rows {
		seen[r]++
	}
	for n := range 29 {
		if row := fmt.Sprintf(`{"deviceId":"d%03d"}`, n); seen[row] != 1 {
			t.Errorf("%s was answered %d times", row, seen[row])
		}
	}
	for row, times := range seen {
		if times > 1 {
			t.Errorf("%s was answered %d times", row, times)
		}
	}
}

// A query asked right after a write holds the write (field: stale queries).
func TestQueryRightAfterAWriteHoldsTheWrite(t *testing.T) {
	h := newHarness(t)
	h.start()
	defer func() { h.stop() }()
	h.ready()
	for n := range 20 {
		h.put(n)
		var written, read device.Positions
		ctx := device.WithPositions(t.Context(), &written)
		if _, err := h.node.PatchTwin(ctx, device.TwinChange{DeviceID: fmt.Sprintf("d%03d", n), Body: []byte(fmt.Sprintf(`{"tags":{"round":%d}}`, n))}); err != nil {
			t.Fatal(err)
		}
		positions, err := device.ParsePositions(written.String())
		if err != nil || len(positions) != 1 || positions[0].Next < 1 {
			t.Fatalf("position of a write: %q, %v", written.String(), err)
		}
		if err := h.node.Await(t.Context(), positions); err != nil {
			t.Fatal(err)
		}
		q, err := query.Parse(fmt.Sprintf("SELECT deviceId FROM devices WHERE tags.round = %d", n))
		if err != nil {
			t.Fatal(err)
		}
		page, err := h.node.Query(device.WithPositions(t.Context(), &read), q, query.Cursor{}, 10)
		if err != nil || len(page.Rows) != 1 {
			t.Fatalf("round %d: %s, %v", n, page.Rows, err)
		}
		if got := strings.Count(read.String(), ":"); got != 2 {
			t.Errorf("a query over 2 partitions reflects %q", read.String())
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := h.node.Await(ctx, []device.LogPosition{{Partition: 0, Next: 1 << 40}}); !errors.Is(err, actors.ErrUnavailable) {
		t.Errorf("a position that is not there: %v", err)
	}
	if err := h.node.Await(t.Context(), []device.LogPosition{{Partition: 9}}); !errors.Is(err, device.ErrArgument) {
		t.Errorf("a partition that is not there: %v", err)
	}
}
