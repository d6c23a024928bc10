package main

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gemello/gemello/persistence/broker/storage"
)

func TestLogToolsLookAtALogThatNothingUses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l, err := storage.Open(context.Background(), storage.Options{Dir: dir, ReserveBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.CreateTopic(t.Context(), storage.Topic{Name: "t", Partitions: 2}); err != nil {
		t.Fatal(err)
	}
	for _, tool := range []string{"dump", "verify", "repair"} {
		code, stdout, stderr := shell{}.run(t, "log", tool, "--data", dir)
		wantOneLine(t, code, exitFailed, stdout, stderr, "log "+tool, "another process")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"verify"}, "1 topics, 2 partitions, 0 batches"},
		{[]string{"verify", "--json"}, `"Partitions": 2`},
		{[]string{"dump"}, `"highWatermark":0`},
		{[]string{"repair"}, "0 lost, 0 done, 0 left"},
		{[]string{"repair", "--dry-run", "--json"}, `"Left": null`},
	} {
		code, stdout, stderr := shell{}.run(t, append(append([]string{"log"}, tc.args...), "--data", dir)...)
		if code != exitDone || !strings.Contains(stdout, tc.want) {
			t.Errorf("%v: exit code %d\n%s%s", tc.args, code, stdout, stderr)
		}
	}
	_, stdout, _ := shell{}.run(t, "log", "dump", "--data", dir, "--topic", "t", "--partition", "1", "--state")
	var kinds []string
	for line := range strings.Lines(stdout) {
		var m struct {
			Type string `json:"type"`
		}
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		kinds = append(kinds, m.Type)
	}
	if got := strings.Join(kinds, " "); got != "topic partition" {
		t.Errorf("dump of one partition: %s", got)
	}
}

func TestLogToolsNameWhatIsWrong(t *testing.T) {
	empty := t.TempDir()
	for _, tc := range []struct {
		name  string
		args  []string
		code  int
		parts []string
	}{
		{"no data", []string{"verify"}, exitUsage, []string{"log verify", "--data is needed"}},
		{"no log", []string{"verify", "--data", empty}, exitFailed, []string{empty, "holds no log"}},
		{"offset below zero", []string{"dump", "--data", empty, "--from", "-1"}, exitUsage, []string{"--from"}},
		{"argument", []string{"repair", "x"}, exitUsage, []string{"x"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, stdout, stderr := shell{}.run(t, append([]string{"log"}, tc.args...)...)
			wantOneLine(t, code, tc.code, stdout, stderr, tc.parts...)
		})
	}
}
