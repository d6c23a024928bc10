package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestChangesOfPipelinesAreInTheAuditTrail(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	n := startTestNode(t, data)
	n.must(t, "pipeline", "apply", "p", "--query", "SELECT deviceId INTO rows FROM devices")
	n.must(t, "pipeline", "apply", "p", "--query", "SELECT deviceId INTO rows FROM devices") // changes nothing
	n.must(t, "pipeline", "apply", "p", "--query", "SELECT deviceId, 1 AS one INTO rows FROM devices")
	if code, _, _ := n.run(t, "", "pipeline", "apply", "p", "--query", "SELECT FROM"); code == exitDone {
		t.Fatal("a broken query was taken")
	}
	n.must(t, "pipeline", "delete", "p")
	if code, _, _ := n.run(t, "", "pipeline", "delete", "p"); code == exitDone {
		t.Fatal("a pipeline was deleted twice")
	}
	type line struct {
		Kind, Object, Actor, Credential, Address, RequestID string
		Detail                                              struct{ Action, Object string }
	}
	pipeline := func(name string) (list []line) {
		for text := range strings.Lines(n.must(t, "audit", "--json")) {
			var l line
			if err := json.Unmarshal([]byte(text), &l); err != nil {
				t.Fatal(err)
			}
			if l.Detail.Object == "pipelines/"+name {
				list = append(list, l)
			}
		}
		return list
	}
	got := pipeline("p")
	if len(got) != 3 {
		t.Fatalf("%d changes, want 3: %+v", len(got), got)
	}
	for i, action := range []string{"create", "change", "delete"} {
		l := got[i]
		if l.Kind != "setting" || l.Object != "pipeline/p" || l.Detail.Action != action || l.Detail.Object != "pipelines/p" ||
			l.Actor != "admin" || l.Credential != "token" || !strings.HasPrefix(l.Address, "127.0.0.1:") || l.RequestID == "" {
			t.Errorf("%+v, want %s", l, action)
		}
	}
	// What the configuration asks for is noted when it changes something.
	n.stop()
	file := writeTemp(t, "gemello.yaml", "pipelines:\n  - name: c\n    query: SELECT deviceId INTO rows FROM devices\n")
	for range 2 {
		n = startTestNode(t, data, "--config", file)
		if got := pipeline("c"); len(got) != 1 || got[0].Actor != "configuration" || got[0].Detail.Action != "create" {
			t.Errorf("%+v", got)
		}
		n.stop()
	}
}

// The trail goes on from page to page, and begins where it is asked to.
func TestTheAuditTrailBeginsByTimeAndGoesOnByPage(t *testing.T) {
	n := startTestNode(t, filepath.Join(t.TempDir(), "data"))
	const devices = 12
	for i := range devices {
		n.must(t, "device", "create", fmt.Sprintf("d%02d", i))
	}
	made := func(args ...string) (list []string, last time.Time) {
		t.Helper()
		for text := range strings.Lines(n.must(t, append([]string{"audit", "--json"}, args...)...)) {
			var l struct {
				Time         time.Time
				Kind, Object string
			}
			if err := json.Unmarshal([]byte(text), &l); err != nil || l.Kind == "" {
				t.Fatalf("%s: %v", text, err)
			}
			if l.Kind == "identity" {
				list = append(list, l.Object)
			}
			if l.Time.After(last) {
				last = l.Time
			}
		}
		slices.Sort(list)
		return list, last
	}
	all, last := made()
	if len(all) != devices || len(slices.Compact(all)) != devices {
		t.Fatalf("made %q", all)
	}
	n.must(t, "device", "create", "late")
	if got, _ := made("--since", last.Add(time.Millisecond).Format(time.RFC3339Nano)); !slices.Equal(got, []string{"late"}) {
		t.Errorf("since the last: %q", got)
	}
	if got, _ := made("--since", "start", "--limit", "5"); len(got) > 5 {
		t.Errorf("five at most: %q", got)
	}
	c, err := (&adminFlags{data: n.data}).client()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	pages, objects := 0, map[string]int{}
	q := url.Values{"since": {"start"}, "limit": {"3"}}
	for more := true; more; {
		pages, more = pages+1, false
		if err := c.follow(t.Context(), "/audit", q, func(line []byte) error {
			var l struct{ Kind, Object, Next, Since string }
			if err := json.Unmarshal(line, &l); err != nil {
				return err
			}
			if l.Next != "" {
				more = true
				q.Set("after", l.Next)
			} else if l.Kind == "identity" {
				objects[l.Object]++
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if pages < devices/3 || len(objects) != devices+1 {
		t.Errorf("%d pages with %v", pages, objects)
	}
	for id, times := range objects {
		if times != 1 {
			t.Errorf("%s came %d times", id, times)
		}
	}
}
