package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// restored backs a node up, stops it and starts what the backup becomes.
func (n *testNode) restored(t *testing.T) *testNode {
	t.Helper()
	dir := t.TempDir()
	file, data := filepath.Join(dir, "hub.backup"), filepath.Join(dir, "to")
	n.must(t, "backup", file, "--with-key")
	n.stop()
	if code, _, stderr := (shell{}).run(t, "restore", file, "--data", data); code != exitDone {
		t.Fatalf("restore: %d %s", code, stderr)
	}
	return startTestNode(t, data)
}

// All that the hub keeps of its devices comes back, not their twins alone.
func TestARestoredHubHasItsQueuesAndJobs(t *testing.T) {
	n := startTestNode(t, filepath.Join(t.TempDir(), "data"))
	n.must(t, "device", "create", "d1")
	n.must(t, "device", "create", "d1", "--module", "m1")
	n.must(t, "command", "send", "d1", "--body", "for the device", "--ack", "full", "--message-id", "c1")
	n.must(t, "command", "send", "d1", "--module", "m1", "--body", "for the module", "--message-id", "c2")
	n.must(t, "command", "send", "d1", "--module", "m1", "--body", "x", "--ack", "full", "--message-id", "c3")
	n.must(t, "device", "create", "d2")
	n.must(t, "command", "send", "d2", "--body", "ended", "--ack", "full", "--message-id", "c4")
	n.must(t, "command", "purge", "d2")
	n.must(t, "job", "create-twin", "j1", "--tags", `{"job":1}`)
	eventually(t, "the end of the job", func() bool { return strings.Contains(n.must(t, "job", "show", "j1"), "completed") })
	n = n.restored(t)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"command", "list", "d1"}, `"messageId": "c1"`},
		{[]string{"command", "list", "d1", "--module", "m1"}, `"messageId": "c2"`},
		{[]string{"command", "purge", "d1", "--module", "m1"}, `"totalMessagesPurged": 2`},
		{[]string{"command", "purge", "d1", "--module", "m1"}, `"moduleId": "m1"`},
		{[]string{"command", "purge", "d1"}, `"totalMessagesPurged": 1`},
		{[]string{"job", "show", "j1"}, "completed"},
		{[]string{"twin", "get", "d1"}, `"job": 1`},
	} {
		if got := n.must(t, c.args...); !strings.Contains(got, c.want) {
			t.Errorf("%v: %s lacks %s", c.args, got, c.want)
		}
	}
	w := wireNodeOf(t, n)
	if b := w.want(200, "GET", "/messages/serviceBound/feedback"+serviceV, "").body; !strings.Contains(b, `"c4"`) && !strings.Contains(b, `"c3"`) {
		t.Errorf("feedback %s", b)
	}
}

// The history of a restored device begins with what the backup had, at the time of
// the backup. What was before it is gone, and said to be.
func TestTheHistoryOfARestoredDeviceBeginsWithItsBackup(t *testing.T) {
	n := startTestNode(t, filepath.Join(t.TempDir(), "data"))
	n.must(t, "device", "create", "d1")
	n.must(t, "device", "create", "d1", "--module", "m1")
	n.must(t, "device", "create", "gone")
	n.must(t, "twin", "patch", "d1", `{"tags":{"site":"a"},"properties":{"desired":{"rate":5}}}`)
	n.must(t, "command", "send", "d1", "--body", "waits")
	before := time.Now().UTC().Format(time.RFC3339Nano)
	was := n.must(t, "twin", "get", "d1")
	n = n.restored(t)
	n.must(t, "twin", "patch", "d1", `{"properties":{"desired":{"rate":6}}}`)
	n.must(t, "command", "purge", "d1")
	n.must(t, "device", "create", "d3")
	type line struct {
		Time                    time.Time
		Kind, Actor             string
		Version, DesiredVersion int64
	}
	var steps []line
	for text := range strings.Lines(n.must(t, "twin", "log", "d1")) {
		var s line
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			t.Fatal(err)
		}
		steps = append(steps, s)
	}
	if len(steps) != 2 || steps[0].Kind != "restored" || steps[0].Actor != "restore" || steps[0].Version != 3 || steps[0].DesiredVersion != 2 ||
		steps[1].Kind != "twin" || steps[1].Version != 4 || steps[1].DesiredVersion != 3 || !steps[0].Time.Before(steps[1].Time) {
		t.Fatalf("steps %+v", steps)
	}
	base := steps[0].Time.Format(time.RFC3339Nano)
	then := n.must(t, "twin", "get", "d1", "--at", base)
	for _, part := range []string{`"site": "a"`, `"rate": 5`, `"version": 3`} {
		if !strings.Contains(then, part) || !strings.Contains(was, part) {
			t.Errorf("at the backup lacks %s: %s", part, then)
		}
	}
	if now, at := n.must(t, "twin", "get", "d1"), n.must(t, "twin", "get", "d1", "--at", "2999-01-01T00:00:00Z"); strings.ReplaceAll(now, "\n", "") == "" || !strings.Contains(at, `"rate": 6`) {
		t.Errorf("now %s", at)
	}
	if diff := n.must(t, "twin", "diff", "d1", "--from", base); !strings.Contains(diff, `"path": "/properties/desired/rate"`) || strings.Contains(diff, "/tags") {
		t.Errorf("diff %s", diff)
	}
	if code, _, stderr := n.run(t, "", "twin", "get", "d1", "--at", before); code != exitFailed || !strings.Contains(stderr, "HistoryGone") {
		t.Errorf("before the backup: %d %s", code, stderr)
	}
	if log := n.must(t, "twin", "log", "d3"); strings.Count(log, "\n") != 1 || !strings.Contains(log, `"identity"`) {
		t.Errorf("a device made since: %s", log)
	}
	if log := n.must(t, "twin", "log", "gone"); strings.Count(log, "\n") != 1 || !strings.Contains(log, `"restored"`) {
		t.Errorf("a device that nobody has touched: %s", log)
	}
	if audit := n.must(t, "audit"); strings.Contains(audit, "restored") {
		t.Errorf("the audit trail has beginnings of histories: %s", audit)
	}
}
