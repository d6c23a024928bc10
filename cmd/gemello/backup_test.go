package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

type backedTwin struct {
	Version    int64
	Properties struct {
		Desired struct {
			N       int64
			Version int64 `json:"$version"`
		}
	}
}

func (n *testNode) twin(t *testing.T, id string) (tw backedTwin) {
	t.Helper()
	if err := json.Unmarshal([]byte(n.must(t, "twin", "get", id)), &tw); err != nil {
		t.Fatal(err)
	}
	return tw
}

func TestABackupUnderLoadRestoresWhatWasAcknowledged(t *testing.T) {
	dir := t.TempDir()
	from := startTestNode(t, filepath.Join(dir, "from"))
	const devices = 6
	id := func(i int) string { return fmt.Sprintf("d%d", i) }
	for i := range devices {
		from.must(t, "device", "create", id(i), "--primary-key", movedKey, "--secondary-key", movedKey)
	}
	from.must(t, "pipeline", "apply", "p", "--query", "SELECT deviceId INTO rows FROM devices")
	// Patch k of a device makes n k and the desired version k+1.
	patch := func(k int64) error {
		for i := range devices {
			code, _, stderr := shell{}.runContext(t.Context(), "twin", "patch", id(i), fmt.Sprintf(`{"properties":{"desired":{"n":%d}}}`, k), "--data", from.data)
			if code != exitDone {
				return fmt.Errorf("patch %d of %s: %s", k, id(i), stderr)
			}
		}
		return nil
	}
	const before = 3
	for k := range int64(before) {
		if err := patch(k + 1); err != nil {
			t.Fatal(err)
		}
	}
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() {
		for k := int64(before + 1); ; k++ {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			if err := patch(k); err != nil {
				stopped <- err
				return
			}
		}
	}()
	file := filepath.Join(dir, "hub.backup")
	from.must(t, "backup", file, "--with-key")
	after := make([]backedTwin, devices)
	for i := range after {
		after[i] = from.twin(t, id(i))
	}
	close(stop)
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	policy := from.must(t, "connection-string", "--policy", "service")
	from.stop()

	if code, stdout, stderr := (shell{}).run(t, "backup", "verify", file); code != exitDone || !strings.Contains(stdout, "6 records of devices") {
		t.Fatalf("verify: %d %s %s", code, stdout, stderr)
	}
	data := filepath.Join(dir, "to")
	if code, stdout, stderr := (shell{}).run(t, "restore", file, "--data", data); code != exitDone || !strings.Contains(stdout, "--log.partitions 2") {
		t.Fatalf("restore: %d %s %s", code, stdout, stderr)
	}
	if code, _, stderr := (shell{}).run(t, "restore", file, "--data", data); code != exitUsage || !strings.Contains(stderr, "not empty") {
		t.Errorf("restore over a hub: %d %s", code, stderr)
	}
	to := startTestNode(t, data)
	for i := range devices {
		tw := to.twin(t, id(i))
		d := &tw.Properties.Desired
		if d.Version != d.N+1 || tw.Version != d.N+2 {
			t.Errorf("%s is no twin of a single position: %+v", id(i), tw)
		}
		if d.N < before || d.N > after[i].Properties.Desired.N {
			t.Errorf("%s has patch %d; %d was acknowledged before the backup, %d after it", id(i), d.N, before, after[i].Properties.Desired.N)
		}
	}
	key := func(s string) string { _, k, _ := strings.Cut(s, "SharedAccessKey="); return k }
	if got := key(to.must(t, "connection-string", "--policy", "service")); got != key(policy) || got == "" {
		t.Error("the policy has another key")
	}
	if cs := to.must(t, "connection-string", "--device", id(0)); !strings.Contains(cs, movedKey) {
		t.Errorf("the device has another key: %s", cs)
	}
	if list := to.must(t, "pipeline", "list"); !strings.Contains(list, "p ") {
		t.Errorf("pipelines: %s", list)
	}
	// The hub goes on where no offset was given out before.
	was := to.twin(t, id(0))
	to.must(t, "twin", "patch", id(0), `{"properties":{"desired":{"n":0}}}`)
	if tw := to.twin(t, id(0)); tw.Version != was.Version+1 {
		t.Errorf("after a patch: %+v, before: %+v", tw, was)
	}
	to.stop()
	again := startTestNode(t, data)
	if tw := again.twin(t, id(0)); tw.Version != was.Version+1 {
		t.Errorf("after a restart: %+v, before: %+v", tw, was)
	}
}

func TestABackupThatWasCutShortIsRefused(t *testing.T) {
	dir := t.TempDir()
	n := startTestNode(t, filepath.Join(dir, "from"))
	n.must(t, "device", "create", "d1")
	file := filepath.Join(dir, "hub.backup")
	n.must(t, "backup", file)
	if code, _, stderr := n.run(t, "", "backup", file); code != exitUsage {
		t.Errorf("a backup was overwritten: %s", stderr)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(filepath.Join(n.data, hubKeyFile))
	if err != nil || strings.Contains(string(b), string(key)) {
		t.Errorf("the key is in a backup without it (%v)", err)
	}
	part := writeTemp(t, "part", string(b[:len(b)-1]))
	for _, args := range [][]string{{"backup", "verify", part}, {"restore", part, "--data", filepath.Join(dir, "to")}} {
		if code, _, stderr := (shell{}).run(t, args...); code != exitFailed || !strings.Contains(stderr, "cut short") {
			t.Errorf("%v: %d %s", args, code, stderr)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "to")); !os.IsNotExist(err) {
		t.Errorf("a directory was made of a partial backup: %v", err)
	}
	// Without its key a hub needs it from elsewhere.
	code, _, stderr := shell{}.run(t, "restore", file, "--data", filepath.Join(dir, "to"), "--key-file", filepath.Join(n.data, hubKeyFile))
	if code != exitDone {
		t.Fatal(stderr)
	}
	n.stop()
	to := startTestNode(t, filepath.Join(dir, "to"))
	to.must(t, "connection-string", "--device", "d1")
}
