package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/credential"
)

// What users of other hubs complain about, each as a test on a running node:
//
//	15  TestQueryRightAfterAWriteHoldsIt
//	16  TestMessageIsEnrichedFromATagSetOneMessageEarlier
//	17  TestIndexAndTwinsDoNotDriftApart
//	18  TestTwinSyncGoesOnAfterAnOutageAndALostStore
//	19  TestModuleIsToldOfItsTwinAtOnce

// 15: a query lags behind the twin; a new device is missing from it.
func TestQueryRightAfterAWriteHoldsIt(t *testing.T) {
	h := startKilledHub(t)
	key := h.make(device.Ref{Device: "first"})
	c := h.connect(device.Ref{Device: "first"}, key)
	defer c.close()
	for i := range 25 {
		id := fmt.Sprintf("d%d", i)
		h.make(device.Ref{Device: id})
		if rows := h.rows("SELECT deviceId FROM devices WHERE deviceId = '" + id + "'"); len(rows) != 1 {
			t.Fatalf("the new device %s is missing from a query by its id: %v", id, rows)
		}
		if rows := h.rows("SELECT COUNT() AS n FROM devices"); rows[0]["n"] != float64(i+2) {
			t.Fatalf("a query counts %v of %d devices", rows[0]["n"], i+2)
		}
		h.must("PATCH", "/twins/"+id, map[string]any{"tags": map[string]any{"round": i}, "properties": map[string]any{"desired": map[string]any{"round": i}}}, nil)
		if rows := h.rows(fmt.Sprintf("SELECT deviceId FROM devices WHERE tags.round = %d AND properties.desired.round = %d", i, i)); len(rows) != 1 || rows[0]["deviceId"] != id {
			t.Fatalf("round %d: a query right after the service's write finds %v", i, rows)
		}
		c.report(fmt.Sprintf(`{"round":%d}`, i))
		if rows := h.rows(fmt.Sprintf("SELECT deviceId FROM devices WHERE properties.reported.round = %d", i)); len(rows) != 1 {
			t.Fatalf("round %d: a query right after the device's patch was acknowledged finds %v", i, rows)
		}
		if i%5 == 4 {
			h.must("DELETE", "/devices/"+id, nil, nil, "If-Match", "*")
			if rows := h.rows("SELECT deviceId FROM devices WHERE deviceId = '" + id + "'"); len(rows) != 0 {
				t.Fatalf("a deleted device is found: %v", rows)
			}
			h.make(device.Ref{Device: id})
		}
	}
}

// 16: enrichment from twin tags is missing on a few messages.
func TestMessageIsEnrichedFromATagSetOneMessageEarlier(t *testing.T) {
	h := startKilledHub(t)
	ref := device.Ref{Device: "d1"}
	key := h.make(ref)
	h.must("PATCH", "/routing", map[string]any{
		"routes": []any{map[string]any{"name": "all", "condition": "true", "endpoints": []string{"topic:enriched"}}},
		"enrichments": []any{
			map[string]any{"key": "round", "value": "$twin.tags.round", "endpoints": []string{"topic:enriched"}},
			map[string]any{"key": "seen", "value": "$twin.properties.reported.seen", "endpoints": []string{"topic:enriched"}},
		},
	}, nil)
	const rounds = 40
	c := h.connect(ref, key)
	for i := range rounds {
		if i == rounds/2 { // the tag is set before the kill, the message comes after it
			h.must("PATCH", "/twins/d1", map[string]any{"tags": map[string]any{"round": i}}, nil)
			c.report(fmt.Sprintf(`{"seen":%d}`, i))
			c.close()
			h.kill()
			h.start()
			c = h.connect(ref, key)
		} else {
			h.must("PATCH", "/twins/d1", map[string]any{"tags": map[string]any{"round": i}}, nil)
			c.report(fmt.Sprintf(`{"seen":%d}`, i))
		}
		c.send(fmt.Sprintf(`{"n":%d}`, i))
	}
	c.close()
	seen := 0
	for _, line := range h.tail("enriched", rounds) {
		var r struct {
			Value   struct{ N int }
			Headers map[string]string
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if want := fmt.Sprint(r.Value.N); r.Headers["round"] != want || r.Headers["seen"] != want {
			t.Errorf("message %s is enriched with %v", want, r.Headers)
		}
		if r.Value.N == seen {
			seen++
		}
	}
	if seen != rounds {
		t.Errorf("%d of %d messages came in their order", seen, rounds)
	}
}

// tail reads records of a topic from its start.
func (h *killedHub) tail(topic string, records int) []string {
	h.t.Helper()
	code, stdout, stderr := shell{}.run(h.t, "tail", topic, "--from", "start", "--limit", fmt.Sprint(records), "--data", h.data)
	if code != exitDone {
		h.t.Fatal(stderr)
	}
	return strings.Split(strings.TrimSpace(stdout), "\n")
}

// 17: the search index and the truth drift apart and do not heal.
func TestIndexAndTwinsDoNotDriftApart(t *testing.T) {
	h := startKilledHub(t)
	g := rand.New(rand.NewPCG(17, 1))
	const devices = 12
	for i := range devices {
		h.make(device.Ref{Device: fmt.Sprintf("d%d", i)})
	}
	if code, _, stderr := (shell{}).run(t, "index", "create", "tags.site", "--wait", "--data", h.data); code != exitDone {
		t.Fatal(stderr)
	}
	sites := []any{"a", "b", "c", 1, 2.5, true, nil, map[string]any{"x": 1}}
	for round := range 4 {
		// Writes are under way when the node is killed; which of them hold, nobody
		// was told.
		var writers sync.WaitGroup
		for w := range 3 {
			seed := g.Uint64()
			writers.Go(func() {
				g := rand.New(rand.NewPCG(seed, uint64(w)))
				for range 60 {
					id := fmt.Sprintf("d%d", g.IntN(devices))
					if _, _, _, err := h.ask("PATCH", "/twins/"+id, map[string]any{"tags": map[string]any{"site": sites[g.IntN(len(sites))]}}); err != nil {
						return
					}
				}
			})
		}
		for range 20 {
			h.rows("SELECT deviceId FROM devices WHERE tags.site = 'a'")
		}
		h.kill()
		writers.Wait()
		if round == 2 {
			// A lost store is rebuilt from the log, and the index with it.
			if err := os.RemoveAll(filepath.Join(h.data, "cores")); err != nil {
				t.Fatal(err)
			}
		}
		h.start()
		h.compareIndex(devices)
	}
	if code, _, stderr := (shell{}).run(t, "index", "create", "tags.other", "--wait", "--data", h.data); code != exitDone {
		t.Fatal(stderr) // by now also that of the rebuilt store has been built
	}
	h.compareIndex(devices)
	_, _, got, err := h.ask("POST", "/query", map[string]string{"query": "SELECT deviceId FROM devices WHERE tags.site = 'a'"}, "x-gemello-explain", "true")
	if err != nil || !strings.Contains(got.Get("x-gemello-explain"), `"access":"index"`) {
		t.Errorf("the index is not used at the end: %s %v", got.Get("x-gemello-explain"), err)
	}
}

// compareIndex compares what queries by tags.site find with the twins themselves.
func (h *killedHub) compareIndex(devices int) {
	h.t.Helper()
	truth := map[string][]string{}
	for i := range devices {
		id := fmt.Sprintf("d%d", i)
		var twin struct {
			Tags map[string]json.RawMessage
		}
		h.must("GET", "/twins/"+id, nil, &twin)
		site := string(twin.Tags["site"])
		truth[site] = append(truth[site], id)
	}
	for site, constant := range map[string]string{`"a"`: "'a'", `"b"`: "'b'", `"c"`: "'c'", "1": "1", "2.5": "2.5", "true": "true"} {
		var found []string
		for _, row := range h.rows("SELECT deviceId FROM devices WHERE tags.site = " + constant) {
			found = append(found, row["deviceId"].(string))
		}
		slices.Sort(found)
		slices.Sort(truth[site])
		if !slices.Equal(found, truth[site]) {
			h.t.Errorf("by the index %s is in %v, by the twins in %v", site, found, truth[site])
		}
	}
}

// 18: the shadow's sync stops after an outage or an upgrade; conflicts are retried
// for ever; calls hang. A store that is lost stands for one that an upgrade can't
// read, which is rebuilt in the same way.
func TestTwinSyncGoesOnAfterAnOutageAndALostStore(t *testing.T) {
	h := startKilledHub(t)
	ref := device.Ref{Device: "d1"}
	key := h.make(ref)
	version := 1.0
	for outage := range 3 {
		c := h.connect(ref, key)
		desired, reported := c.twin()
		if desired["$version"] != version {
			t.Fatalf("outage %d: the device reads desired version %v, want %v", outage, desired["$version"], version)
		}
		reportedVersion := reported["$version"].(float64)
		for i := range 5 {
			h.must("PATCH", "/twins/d1", desire("n", 10*outage+i), nil)
			version++
			if d := c.change(); d["n"] != float64(10*outage+i) || d["$version"] != version {
				t.Fatalf("outage %d: the device is told %v, want n = %d in version %v", outage, d, 10*outage+i, version)
			}
			c.report(fmt.Sprintf(`{"n":%d}`, 10*outage+i))
		}
		if _, reported = c.twin(); reported["$version"] != reportedVersion+5 || reported["n"] != float64(10*outage+4) {
			t.Fatalf("outage %d: five patches of version %v gave %v", outage, reportedVersion, reported)
		}
		h.kill()
		if outage == 1 {
			if err := os.RemoveAll(filepath.Join(h.data, "cores")); err != nil {
				t.Fatal(err)
			}
		}
		<-c.mqtt.Done()
		h.start()
		// What changes while the device is away it reads when it is back.
		h.must("PATCH", "/twins/d1", desire("away", outage), nil)
		version++
	}
	// Of writers with the same etag one wins; the others know at once, and win when
	// they have read again.
	var twin struct{ ETag string }
	h.must("GET", "/twins/d1", nil, &twin)
	const writers = 4
	var won, lost int
	var mu sync.Mutex
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			status, answer, _, err := h.ask("PATCH", "/twins/d1", desire("writer", w), "If-Match", `"`+twin.ETag+`"`)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil && status == 200:
				won++
			case err == nil && status == 412:
				lost++
			default:
				t.Errorf("a writer is answered with %d %s %v", status, answer, err)
			}
		})
	}
	all.Wait()
	if won != 1 || lost != writers-1 {
		t.Errorf("%d writers with the same etag won, %d lost", won, lost)
	}
	h.must("GET", "/twins/d1", nil, &twin)
	h.must("PATCH", "/twins/d1", desire("writer", "last"), nil, "If-Match", `"`+twin.ETag+`"`)
}

// desire is a patch of desired properties.
func desire(name string, value any) map[string]any {
	return map[string]any{"properties": map[string]any{"desired": map[string]any{name: value}}}
}

// 19: a module is told of a change of its twin an hour late.
func TestModuleIsToldOfItsTwinAtOnce(t *testing.T) {
	h := startKilledHub(t)
	h.make(device.Ref{Device: "d1"})
	keys := map[device.Ref]credential.Key{}
	for _, m := range []string{"m1", "m2"} {
		ref := device.Ref{Device: "d1", Module: m}
		keys[ref] = h.make(ref)
	}
	version := 1.0
	for life := range 2 {
		clients := map[device.Ref]*client{}
		for ref, key := range keys {
			clients[ref] = h.connect(ref, key)
		}
		for i := range 10 {
			version++
			for ref, c := range clients {
				value := fmt.Sprintf("%s-%d-%d", ref.Module, life, i)
				h.must("PATCH", "/twins/d1/modules/"+ref.Module, desire("v", value), nil)
				if d := c.change(); d["v"] != value || d["$version"] != version {
					t.Fatalf("module %s is told %v, want %s in version %v", ref.Module, d, value, version)
				}
			}
		}
		for ref, c := range clients {
			if n := len(c.desired); n > 0 {
				t.Errorf("module %s is told %d changes too many", ref.Module, n)
			}
			if desired, _ := c.twin(); desired["$version"] != version {
				t.Errorf("module %s reads version %v, want %v", ref.Module, desired["$version"], version)
			}
		}
		h.kill()
		for c := range maps.Values(clients) {
			<-c.mqtt.Done()
		}
		h.start()
	}
}
