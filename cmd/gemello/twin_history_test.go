package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

func TestTwinsAreToldAsTheyWere(t *testing.T) {
	n := startTestNode(t, filepath.Join(t.TempDir(), "data"))
	n.must(t, "device", "create", "d1")
	n.must(t, "twin", "patch", "d1", `{"tags":{"site":"a"},"properties":{"desired":{"rate":5,"a/b":{"c":1}}}}`)
	if code, _, _ := n.run(t, "", "twin", "patch", "d1", `{"tags":{"site":7}}`, "--if-match", "wrong"); code == exitDone {
		t.Fatal("a wrong etag was accepted")
	}
	n.must(t, "twin", "patch", "d1", `{"properties":{"desired":{"rate":6,"a/b":null}}}`)
	type line struct {
		Time, Kind, Actor, Credential, Address, RequestID, Refused string
		Change                                                     json.RawMessage
		Version, DesiredVersion                                    int64
	}
	var steps []line
	for text := range strings.Lines(n.must(t, "twin", "log", "d1")) {
		var s line
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			t.Fatal(err)
		}
		steps = append(steps, s)
	}
	if len(steps) != 4 {
		t.Fatalf("%d steps: %+v", len(steps), steps)
	}
	for i, want := range []line{
		{Kind: "identity", Version: 2, DesiredVersion: 1}, {Kind: "twin", Version: 3, DesiredVersion: 2},
		{Kind: "twin", Version: 3, DesiredVersion: 2, Refused: "precondition"}, {Kind: "twin", Version: 4, DesiredVersion: 3},
	} {
		s := steps[i]
		if s.Kind != want.Kind || s.Version != want.Version || s.DesiredVersion != want.DesiredVersion || (s.Refused != "") != (want.Refused != "") {
			t.Errorf("step %d: %+v, want %+v", i, s, want)
		}
		if s.Actor != "admin" || s.Credential != "token" || s.Address == "" || s.RequestID == "" {
			t.Errorf("step %d: nobody asked: %+v", i, s)
		}
	}
	if string(steps[1].Change) != `{"tags":{"site":"a"},"properties":{"desired":{"rate":5,"a/b":{"c":1}}}}` {
		t.Errorf("change %s", steps[1].Change)
	}
	for _, args := range [][]string{{"--at", steps[1].Time}, {"--at-version", "3"}} {
		if was := n.must(t, append([]string{"twin", "get", "d1"}, args...)...); !strings.Contains(was, `"rate": 5`) || !strings.Contains(was, `"version": 3`) {
			t.Errorf("%v: %s", args, was)
		}
	}
	now, at := n.must(t, "twin", "get", "d1"), n.must(t, "twin", "get", "d1", "--at", "2999-01-01T00:00:00Z")
	if now != at {
		t.Errorf("replayed\n%s\nkept\n%s", at, now)
	}
	if code, _, stderr := n.run(t, "", "twin", "get", "d1", "--at", "2001-01-01T00:00:00Z"); code != exitFailed || !strings.Contains(stderr, "DeviceNotFound") {
		t.Errorf("before it was made: %d %s", code, stderr)
	}
	var diff struct {
		Changes []struct {
			Path     string
			From, To any
		}
	}
	if err := json.Unmarshal([]byte(n.must(t, "twin", "diff", "d1", "--from", steps[1].Time)), &diff); err != nil {
		t.Fatal(err)
	}
	if len(diff.Changes) != 2 || diff.Changes[0].Path != "/properties/desired/a~1b/c" || diff.Changes[0].To != nil ||
		diff.Changes[1].Path != "/properties/desired/rate" || diff.Changes[1].From != 5.0 || diff.Changes[1].To != 6.0 {
		t.Errorf("diff %+v", diff.Changes)
	}
	for _, args := range [][]string{{"get", "d1", "--at", "noon"}, {"get", "d1", "--at-version", "-1"}, {"log", "d1", "--from", "noon"}} {
		if code, _, stderr := n.run(t, "", append([]string{"twin"}, args...)...); code != exitFailed || !strings.Contains(stderr, "ArgumentInvalid") {
			t.Errorf("%v: %d %s", args, code, stderr)
		}
	}
}
