package main

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// hub is a node in this process.
type hub struct {
	t    *testing.T
	data string
}

// startHub runs a node until the test ends.
func startHub(t *testing.T) *hub {
	t.Helper()
	h := &hub{t, filepath.Join(t.TempDir(), "data")}
	ctx, stop := context.WithCancel(t.Context())
	type result struct {
		code   int
		stderr string
	}
	done := make(chan result, 1)
	go func() {
		code, _, stderr := shell{}.runContext(ctx, "serve", "--data", h.data, "--logging.level", "error", "--log.partitions", "2",
			"--log.listen", "127.0.0.1:0", "--listeners.mqtts", "127.0.0.1:0", "--listeners.https", "127.0.0.1:0", "--listeners.admin", "127.0.0.1:0")
		done <- result{code, stderr}
	}()
	t.Cleanup(func() {
		stop()
		if r := <-done; r.code != exitDone {
			t.Errorf("serve ended with %d: %s", r.code, r.stderr)
		}
	})
	awaitNode(t, h.data)
	return h
}

// run is a command against the node that must succeed.
func (h *hub) run(args ...string) string {
	h.t.Helper()
	code, stdout, stderr := shell{}.run(h.t, append(args, "--data", h.data)...)
	if code != exitDone {
		h.t.Fatalf("gemello %s: %d %s", strings.Join(args, " "), code, stderr)
	}
	return stdout
}

// explain returns how a query was answered.
func (h *hub) explain(text string) (way string, read, returned int) {
	h.t.Helper()
	var plan struct {
		Plan []struct {
			Access   string
			Indexes  []string
			RowsRead int
		}
		RowsReturned, Pages int
	}
	if err := json.Unmarshal([]byte(h.run("query", "--explain", "--json", "--page-size", "2", text)), &plan); err != nil {
		h.t.Fatal(err)
	}
	for _, a := range plan.Plan {
		way += a.Access + strings.Join(a.Indexes, "+")
		read += a.RowsRead
	}
	return way, read, plan.RowsReturned
}

func TestQueryAndIndexCommands(t *testing.T) {
	h := startHub(t)
	for id, site := range map[string]string{"d1": "a", "d2": "b", "d3": "a", "d4": "a"} {
		h.run("device", "create", id)
		h.run("twin", "patch", id, `{"tags":{"site":"`+site+`"}}`)
	}
	const text = "SELECT deviceId FROM devices WHERE tags.site = 'a' AND tags.none != 1"
	rows := func() string {
		return h.run("query", "--page-size", "2", "SELECT deviceId FROM devices WHERE tags.site = 'a'")
	}
	before := rows()
	if strings.Count(before, "\n") != 3 || !strings.Contains(before, `{"deviceId":"d4"}`) {
		t.Errorf("rows %q", before)
	}
	if way, read, returned := h.explain(text); way != "scan" || read < 4 || returned != 0 {
		t.Errorf("without an index: %s, %d read, %d returned", way, read, returned)
	}
	if got := h.run("index", "create", "tags.site", "--wait"); got != "created tags.site; it is built\n" {
		t.Errorf("created: %q", got)
	}
	if got := h.run("index", "list"); got != "PATH       BY        STATE\ntags.site  operator  ready\n" {
		t.Errorf("listed: %q", got)
	}
	if way, read, _ := h.explain(text); way != "indextags.site" || read != 3 {
		t.Errorf("with an index: %s, %d read", way, read)
	}
	if way, read, returned := h.explain("SELECT * FROM devices WHERE deviceId = 'd2'"); way != "id" || read != 1 || returned != 1 {
		t.Errorf("by id: %s, %d read, %d returned", way, read, returned)
	}
	if got := h.run("query", "--explain", "SELECT * FROM devices WHERE deviceId = 'd2'"); !strings.Contains(got, "ACCESS") || !strings.Contains(got, "1 rows in 1 pages") {
		t.Errorf("explained: %q", got)
	}
	if after := rows(); after != before {
		t.Errorf("rows %q, before the index %q", after, before)
	}
	var one []json.RawMessage
	if err := json.Unmarshal([]byte(h.run("query", "--json", "SELECT COUNT() AS n FROM devices")), &one); err != nil || len(one) != 1 {
		t.Errorf("as JSON: %v, %v", one, err)
	}
	if got := h.run("index", "drop", "tags.site"); got != "deleted tags.site\n" {
		t.Errorf("dropped: %q", got)
	}
	for _, c := range []struct{ args, want string }{
		{"index drop tags.site", "no such index"}, {"index create tags", "can't be indexed"}, {"query SELECT", "line 1, column 7"},
	} {
		code, _, stderr := shell{}.run(t, append(strings.Fields(c.args), "--data", h.data)...)
		if code != exitFailed || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: %d %s", c.args, code, stderr)
		}
	}
	audit := h.run("audit", "--since", "1h")
	if strings.Count(audit, "indexes  by admin") != 2 {
		t.Errorf("the audit trail of the index: %s", audit)
	}
}
