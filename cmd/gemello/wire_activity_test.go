package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A device that has no session is seen by its messages.
func TestLastActivityFollowsMessagesOverHTTPS(t *testing.T) {
	n := newWireNode(t)
	n.device("d1")
	if got := n.twin("d1").member(t, "lastActivityTime"); got != "0001-01-01T00:00:00Z" {
		t.Errorf("before: %v", got)
	}
	n.want(204, "POST", "/"+eventsOf("d1")+serviceV, "{}", "Authorization", n.deviceToken("d1"))
	eventually(t, "activity", func() bool {
		return n.twin("d1").member(t, "lastActivityTime") != "0001-01-01T00:00:00Z"
	})
}

// The page on events is held against events of a running node: each header and
// body that it names, and its example bodies.
func TestEventsAreWhatTheirPageSays(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "format", "events.md"))
	if err != nil {
		t.Fatal(err)
	}
	n := newWireNode(t)
	n.device("d1")
	n.want(200, "PATCH", "/twins/d1"+serviceV, `{"tags":{"site":"a"}}`)
	c := n.connected("d1")
	c.publish(reportedPatch+"1", `{"rate":5}`)
	c.leave()
	eventually(t, "disconnection", func() bool { return n.twin("d1").member(t, "connectionState") == "Disconnected" })
	n.want(200, "PUT", "/twins/d1"+serviceV, `{"tags":{"site":"b"}}`)
	n.want(204, "DELETE", "/devices/d1"+serviceV, "")
	var events []wireRecord
	eventually(t, "the last event", func() bool {
		events = events[:0]
		for _, r := range n.records(n.info.Hub + ".events") {
			if r.Key == "d1" && r.Headers["iothub-message-source"] != "Telemetry" {
				events = append(events, r)
			}
		}
		return len(events) > 0 && events[len(events)-1].Headers["opType"] == "deleteDeviceIdentity"
	})
	var operations []string
	for _, r := range events {
		operations = append(operations, r.Headers["opType"])
		for name := range r.Headers {
			if !bytes.Contains(page, []byte("`"+name+"`")) {
				t.Errorf("%s: the page has no header %s", r.Headers["opType"], name)
			}
		}
		for _, word := range []string{r.Headers["iothub-message-source"], r.Headers["iothub-message-schema"], r.Headers["opType"]} {
			if !bytes.Contains(page, []byte("`"+word+"`")) {
				t.Errorf("the page has no %q", word)
			}
		}
		if r.Headers["deviceId"] != "d1" || r.Headers["iothub-connection-device-id"] != "d1" || r.Headers["content-type"] != "application/json" ||
			r.Headers["hubName"] != n.info.Hub || r.Headers["user-id"] != n.info.Hub || r.Headers["correlation-id"] == "" ||
			!regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z$`).MatchString(r.Headers["operationTimestamp"]) {
			t.Errorf("headers %v", r.Headers)
		}
	}
	if got, want := strings.Join(operations, " "), "createDeviceIdentity updateTwin deviceConnected updateTwin deviceDisconnected replaceTwin deleteDeviceIdentity"; got != want {
		t.Fatalf("events %s, want %s", got, want)
	}
	_, examples, _ := strings.Cut(string(page), "```json\n")
	examples, _, _ = strings.Cut(examples, "```")
	lines := strings.Split(strings.TrimSpace(examples), "\n")
	if len(lines) != 3 {
		t.Fatalf("%d examples", len(lines))
	}
	// Numbers and times aside, the examples are the bodies of the same changes.
	for i, event := range []int{1, 3, 2} {
		if got, want := shapeOf(t, events[event].Value), shapeOf(t, []byte(lines[i])); got != want {
			t.Errorf("example %d is\n%s\nthe event\n%s", i, want, got)
		}
	}
}

// shapeOf is JSON with the kinds of its values in place of these.
func shapeOf(t *testing.T, b []byte) string {
	t.Helper()
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	var kinds func(any) any
	kinds = func(v any) any {
		switch v := v.(type) {
		case map[string]any:
			for k := range v {
				v[k] = kinds(v[k])
			}
			return v
		case string:
			return len(v) == 32 // a sequence number
		case float64:
			return 0
		}
		return v
	}
	out, err := json.Marshal(kinds(v))
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
