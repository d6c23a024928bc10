package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
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
