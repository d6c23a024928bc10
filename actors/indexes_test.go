package actors_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/gemello/gemello/actors"
	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/query"
)

// indexes returns those of the node as text.
func (h *harness) indexes() string {
	h.t.Helper()
	list, err := h.node.Indexes(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	out := ""
	for _, v := range list {
		out += fmt.Sprintf("%s %v %t;", v.Path, v.By, v.Ready)
	}
	return out
}

// plan answers the first page of a query and says by which way.
func (h *harness) plan(text string) (rows int, ways string, read int) {
	h.t.Helper()
	q, err := query.Parse(text)
	if err != nil {
		h.t.Fatal(err)
	}
	page, err := h.node.Query(h.t.Context(), q, query.Cursor{}, 1000)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, a := range page.Plan.Access {
		ways += fmt.Sprintf("%s%v", a.By, a.Indexes)
		read += a.Rows
	}
	if page.Plan.Returned != len(page.Rows) {
		h.t.Errorf("%s: the plan returned %d rows of %d", text, page.Plan.Returned, len(page.Rows))
	}
	return len(page.Rows), ways, read
}

func (h *harness) createIndex(path string) {
	h.t.Helper()
	if _, _, err := h.node.CreateIndex(h.t.Context(), path, device.Audit{Actor: "test"}); err != nil {
		h.t.Fatal(err)
	}
}

func TestIndexesAreMadeUsedKeptAndDropped(t *testing.T) {
	h := newHarness(t)
	h.start()
	defer func() { h.stop() }()
	h.ready()
	for n := range 30 {
		h.put(n)
	}
	const text = "SELECT deviceId FROM devices WHERE tags.n = 7 AND tags.site = 'b'"
	if rows, ways, read := h.plan(text); rows != 1 || ways != "scan[]" || read != 30 {
		t.Errorf("without an index: %d rows by %s, %d read", rows, ways, read)
	}
	if rows, ways, read := h.plan("SELECT * FROM devices WHERE deviceId IN ['d003','d009','none']"); rows != 2 || ways != "id[]" || read != 2 {
		t.Errorf("by id: %d rows by %s, %d read", rows, ways, read)
	}
	h.createIndex("devices.tags.n")
	const ready = "tags.n [operator] true;"
	h.eventually("the index", func() bool { return h.indexes() == ready })
	if rows, ways, read := h.plan(text); rows != 1 || ways != "index[tags.n]" || read != 1 {
		t.Errorf("with an index: %d rows by %s, %d read", rows, ways, read)
	}
	h.tag("d005", `{"n":7,"site":"b"}`)
	if rows, _, _ := h.plan(text); rows != 2 {
		t.Errorf("right after a write: %d rows", rows)
	}
	if text, created, err := h.node.CreateIndex(t.Context(), "TAGS.n", device.Audit{}); err != nil || created || text != "tags.n" {
		t.Errorf("made twice: %s, %t, %v", text, created, err)
	}
	h.stop()
	h.start()
	h.ready()
	if rows, ways, _ := h.plan(text); rows != 2 || ways != "index[tags.n]" {
		t.Errorf("right after a restart: %d rows by %s", rows, ways)
	}
	for _, c := range []struct {
		path string
		want error
	}{{"tags.none", actors.ErrNoIndex}, {"tags", device.ErrArgument}, {"tags.n =", device.ErrArgument}, {"tags.n", nil}} {
		if err := h.node.DropIndex(t.Context(), c.path, device.Audit{}); !errors.Is(err, c.want) {
			t.Errorf("drop %s: %v, want %v", c.path, err, c.want)
		}
	}
	h.eventually("the end of the index", func() bool {
		rows, ways, _ := h.plan(text)
		return rows == 2 && ways == "scan[]"
	})
	for i := range 16 {
		h.createIndex(fmt.Sprintf("tags.x%d", i))
	}
	if _, _, err := h.node.CreateIndex(t.Context(), "tags.more", device.Audit{}); !errors.Is(err, device.ErrArgument) {
		t.Errorf("one index too many: %v", err)
	}
}

func TestTargetConditionsGetIndexes(t *testing.T) {
	h := newJobNode(t, 3)
	defer func() { h.stop() }()
	h.tags("d001", `{"site":"a"}`)
	h.configuration("c", "tags.site = 'a' AND status = 'enabled'", 1, `{"properties.desired.x":1}`)
	h.eventually("the indexes", func() bool { return h.indexes() == "status [configurations] true;tags.site [configurations] true;" })
	if rows, ways, _ := h.plan("SELECT * FROM devices WHERE tags.site = 'a'"); rows != 1 || ways != "index[tags.site]" {
		t.Errorf("%d rows by %s", rows, ways)
	}
	if err := h.node.DropIndex(t.Context(), "tags.site", device.Audit{}); !errors.Is(err, device.ErrArgument) {
		t.Errorf("an index of a configuration is dropped: %v", err)
	}
	if err := h.node.DeleteConfiguration(t.Context(), "c", "*", device.Audit{}); err != nil {
		t.Fatal(err)
	}
	h.eventually("their end", func() bool { return h.indexes() == "" })
}

// Pages that are asked for while twins, indexes and the node change hold every
// device that matches from beginning to end once, in the order of a scan.
func TestContinuationHoldsWhileIndexesComeAndGo(t *testing.T) {
	h := newHarness(t)
	h.start()
	defer func() { h.stop() }()
	h.ready()
	const devices = 60
	for n := range devices {
		h.put(n)
		h.tag(fmt.Sprintf("d%03d", n), fmt.Sprintf(`{"group":%d}`, n%3))
	}
	const text = "SELECT deviceId FROM devices WHERE tags.group = 1"
	want := h.ask(text, 1000, nil)
	if len(want) != devices/3 {
		t.Fatalf("%d rows", len(want))
	}
	r := rand.New(rand.NewPCG(1, 1))
	page := 0
	got := h.ask(text, 2, func() {
		page++
		for range 5 { // other devices come to match, and cease to
			n := r.IntN(devices)
			if n%3 != 1 {
				h.tag(fmt.Sprintf("d%03d", n), fmt.Sprintf(`{"group":%d}`, r.IntN(3)*2))
			}
		}
		switch page {
		case 2:
			h.createIndex("tags.group")
		case 4, 8:
			h.eventually("the index", func() bool { return h.indexes() == "tags.group [operator] true;" })
		case 6:
			h.stop()
			h.start()
			h.ready()
		case 9:
			if err := h.node.DropIndex(t.Context(), "tags.group", device.Audit{}); err != nil {
				t.Fatal(err)
			}
		}
	})
	if !slices.Equal(got, want) {
		t.Errorf("pages gave %v, want %v", got, want)
	}
}

// Writers, an index that comes and goes, and readers that look for what they have
// written: each is found, by whatever way.
func TestEveryWriteIsFoundAtOnceThroughAnIndex(t *testing.T) {
	h := newHarness(t)
	h.start()
	defer func() { h.stop() }()
	h.ready()
	const writers, rounds = 4, 15
	for n := range writers {
		h.put(n)
	}
	h.createIndex("tags.round")
	var wg sync.WaitGroup
	for n := range writers {
		wg.Go(func() {
			for round := range rounds {
				id := fmt.Sprintf("d%03d", n)
				if _, err := h.node.PatchTwin(t.Context(), device.TwinChange{DeviceID: id, Body: fmt.Appendf(nil, `{"tags":{"round":"%d-%d"}}`, n, round)}); err != nil {
					t.Error(err)
					return
				}
				q, err := query.Parse(fmt.Sprintf("SELECT deviceId FROM devices WHERE tags.round IN ['%d-%d','%d-%d']", n, round-1, n, round))
				if err != nil {
					t.Error(err)
					return
				}
				page, err := h.node.Query(t.Context(), q, query.Cursor{}, 10)
				if err != nil || len(page.Rows) != 1 || string(page.Rows[0]) != fmt.Sprintf(`{"deviceId":%q}`, id) {
					t.Errorf("round %d of %s: %s, %v, by %+v", round, id, page.Rows, err, page.Plan)
					return
				}
			}
		})
	}
	for range 3 {
		if err := h.node.DropIndex(t.Context(), "tags.round", device.Audit{}); err != nil {
			t.Error(err)
		}
		h.createIndex("tags.round")
		h.eventually("the index", func() bool { return h.indexes() == "tags.round [operator] true;" })
	}
	wg.Wait()
}

func TestPathsOfQueriesSeenOftenGetAnIndex(t *testing.T) {
	h := newHarness(t)
	h.start()
	defer func() { h.stop() }()
	h.ready()
	h.put(1)
	// What a search of a large hub would note.
	q, err := query.Parse("SELECT * FROM devices WHERE tags.site = 'b' AND tags.n > 0")
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		h.node.NoteScan(q, 5000, 3)
	}
	h.eventually("the indexes", func() bool { return h.indexes() == "tags.n [queries] true;tags.site [queries] true;" })
	if rows, ways, _ := h.plan("SELECT * FROM devices WHERE tags.site = 'b'"); rows != 1 || ways != "index[tags.site]" {
		t.Errorf("%d rows by %s", rows, ways)
	}
	if err := h.node.DropIndex(t.Context(), "tags.site", device.Audit{}); err != nil {
		t.Fatal(err)
	}
	for range 40 {
		h.node.NoteScan(q, 5000, 3)
		h.node.NoteScan(q, 100, 0)
	}
	h.createIndex("tags.other") // by now the driver has seen both
	h.eventually("the other index", func() bool { return h.indexes() == "tags.n [queries] true;tags.other [operator] true;" })
}
