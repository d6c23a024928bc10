package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"
)

// testNode runs a node in this process until the test ends.
type testNode struct {
	data string
	info *runInfo
	stop func()
}

func startTestNode(t *testing.T, data string, args ...string) *testNode {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	type result struct {
		code   int
		stderr string
	}
	done := make(chan result, 1)
	go func() {
		code, _, stderr := shell{}.runContext(ctx, append([]string{"serve", "--data", data, "--logging.level", "error", "--log.partitions", "2",
			"--log.listen", "127.0.0.1:0", "--listeners.mqtts", "127.0.0.1:0", "--listeners.https", "127.0.0.1:0", "--listeners.admin", "127.0.0.1:0"}, args...)...)
		done <- result{code, stderr}
	}()
	stopped := false
	n := &testNode{data: data, stop: func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if r := <-done; r.code != exitDone {
			t.Errorf("serve ended with %d: %s", r.code, r.stderr)
		}
	}}
	t.Cleanup(n.stop)
	n.info = awaitNode(t, data)
	return n
}

// must runs a command against the node and returns what it printed.
func (n *testNode) must(t *testing.T, args ...string) string {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); ; <-tick.C {
		code, stdout, stderr := n.run(t, "", args...)
		if code == exitDone {
			return stdout
		}
		// Reads are refused while a partition recovers.
		if !strings.Contains(stderr, "ServiceUnavailable") || time.Now().After(deadline) {
			t.Fatalf("%v: code %d, %s", args, code, stderr)
		}
	}
}

func (n *testNode) run(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return shell{stdin: stdin}.run(t, append(args, "--data", n.data)...)
}

const (
	movedKey    = "a2V5IG9mIGEgZGV2aWNlIHRoYXQgbW92ZXMhISEhISE="
	movedPrint  = "0123456789ABCDEF0123456789ABCDEF01234567"
	movedScope  = "ms-azure-iot-edge://e1-637000000000000001"
	cloudExport = `{"id":"d1","eTag":"MQ==","importMode":"create","status":"enabled","statusReason":"new","authentication":{"symmetricKey":{"primaryKey":"` + movedKey + `","secondaryKey":"` + movedKey + `"},"x509Thumbprint":{"primaryThumbprint":null,"secondaryThumbprint":null},"type":"sas"},"twinETag":"AAAAAAAAAAE=","tags":{"site":"a"},"properties":{"desired":{"rate":5,"$metadata":{"$lastUpdated":"2026-01-01T00:00:00Z"},"$version":3},"reported":{"fw":"1.2","$metadata":{},"$version":9}}}` + "\r\n" +
		`{"id":"x1","status":"disabled","authentication":{"type":"selfSigned","x509Thumbprint":{"primaryThumbprint":"` + movedPrint + `"}}}` + "\r\n\r\n" +
		`{"id":"e1","status":"enabled","capabilities":{"iotEdge":true},"deviceScope":"` + movedScope + `"}` + "\r\n" +
		`{"id":"c1","status":"enabled","authentication":{"type":"certificateAuthority"},"deviceScope":"` + movedScope + `","parentScopes":["` + movedScope + `"]}` + "\n"
)

func TestExportAndImportKeepDevicesWithKeysAndTwins(t *testing.T) {
	from := startTestNode(t, filepath.Join(t.TempDir(), "from"))
	code, stdout, stderr := from.run(t, cloudExport, "device", "import")
	if code != exitDone || stdout != "imported 4 devices, 0 unchanged, 0 failed\n" {
		t.Fatalf("code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	first := from.must(t, "device", "export")
	for _, part := range []string{
		`"primaryKey":"` + movedKey + `"`, `"primaryThumbprint":"` + movedPrint + `"`, `"status":"disabled"`, `"statusReason":"new"`,
		`"tags":{"site":"a"}`, `"desired":{"rate":5}`, `"reported":{"fw":"1.2"}`, `"deviceScope":"` + movedScope + `"`, `"iotEdge":true`,
	} {
		if !strings.Contains(first, part) {
			t.Errorf("the export lacks %s:\n%s", part, first)
		}
	}
	file := filepath.Join(t.TempDir(), "devices.txt")
	from.must(t, "device", "export", file)
	if st, err := os.Stat(file); err != nil || runtime.GOOS != "windows" && st.Mode().Perm() != 0o600 {
		t.Errorf("keys are in a file of mode %v (%v)", st.Mode(), err)
	}
	if code, _, stderr := from.run(t, "", "device", "export", file); code != exitUsage {
		t.Errorf("an existing file was overwritten: %s", stderr)
	}
	if without := from.must(t, "device", "export", "--no-keys"); strings.Contains(without, movedKey) || !strings.Contains(without, movedPrint) {
		t.Errorf("--no-keys: %s", without)
	}
	from.stop()

	to := startTestNode(t, filepath.Join(t.TempDir(), "to"))
	if out := to.must(t, "device", "import", file); out != "imported 4 devices, 0 unchanged, 0 failed\n" {
		t.Errorf("import: %s", out)
	}
	if second := to.must(t, "device", "export"); sortedWithoutTags(t, second) != sortedWithoutTags(t, first) {
		t.Errorf("moved devices differ:\n%s\nbefore:\n%s", second, first)
	}
	if cs := to.must(t, "connection-string", "--device", "d1"); !strings.Contains(cs, movedKey) {
		t.Errorf("a device that moved does not connect with its key: %s", cs)
	}
	// A run that is repeated changes nothing, also where it was cut short.
	to.must(t, "twin", "patch", "d1", `{"tags":{"site":"b"}}`)
	if out := to.must(t, "device", "import", file); out != "imported 0 devices, 4 unchanged, 0 failed\n" {
		t.Errorf("import again: %s", out)
	}
	if twin := to.must(t, "twin", "get", "d1"); !strings.Contains(twin, `"site": "b"`) {
		t.Errorf("the repeated import changed a twin back: %s", twin)
	}
	if out := to.must(t, "device", "import", file, "--update", "--from-line", "2"); out != "imported 3 devices, 0 unchanged, 0 failed\n" {
		t.Errorf("import --update: %s", out)
	}
}

// sortedWithoutTags drops etags, which are the hub's own.
func sortedWithoutTags(t *testing.T, lines string) string {
	t.Helper()
	byID := map[string]map[string]any{}
	for line := range strings.Lines(lines) {
		var d map[string]any
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		delete(d, "eTag")
		delete(d, "twinETag")
		byID[d["id"].(string)] = d
	}
	b, err := json.Marshal(byID)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A child may stand before its parent, and its parent before that one's; one
// whose parent is in no line is refused, and goes in once the parent is there.
func TestImportFindsParentsInLaterLines(t *testing.T) {
	n := startTestNode(t, filepath.Join(t.TempDir(), "data"))
	const top = "ms-azure-iot-edge://e2-637000000000000002"
	lines := `{"id":"c1","deviceScope":"` + movedScope + `"}` + "\n" +
		`{"id":"e1","capabilities":{"iotEdge":true},"deviceScope":"` + movedScope + `","parentScopes":["` + top + `"]}` + "\n"
	code, stdout, stderr := n.run(t, lines, "device", "import")
	if code != exitFailed || !strings.Contains(stdout, "imported 0 devices, 0 unchanged, 2 failed") || strings.Count(stderr, "InvalidDeviceScope") != 2 {
		t.Errorf("without the parent: code %d, %s, %s", code, stdout, stderr)
	}
	lines += `{"id":"e2","capabilities":{"iotEdge":true},"deviceScope":"` + top + `"}` + "\n"
	if code, stdout, stderr := n.run(t, lines, "device", "import"); code != exitDone || stdout != "imported 3 devices, 0 unchanged, 0 failed\n" {
		t.Errorf("code %d, %s, %s", code, stdout, stderr)
	}
	if code, stdout, stderr := n.run(t, lines, "device", "import"); code != exitDone || stdout != "imported 0 devices, 3 unchanged, 0 failed\n" {
		t.Errorf("again: code %d, %s, %s", code, stdout, stderr)
	}
}

func TestImportTellsWhichLinesWereRefused(t *testing.T) {
	n := startTestNode(t, filepath.Join(t.TempDir(), "data"))
	n.must(t, "device", "create", "old")
	lines := `{"id":"old"}` + "\nnonsense\n" + `{"status":"enabled"}` + "\n" + `{"id":"new"}` + "\n" +
		`{"id":"big","tags":{"a":"` + strings.Repeat("x", 5000) + `"}}` + "\n" +
		`{"id":"old","authentication":{"symmetricKey":{"primaryKey":"` + movedKey + `"}}}` + "\n" +
		`{"id":"gone","importMode":"delete"}` + "\n" + `{"id":"w","importMode":"sideways"}` + "\n"
	refused := filepath.Join(t.TempDir(), "refused")
	code, stdout, stderr := n.run(t, lines, "device", "import", "--json", "--refused", refused)
	var counts struct{ Imported, Unchanged, Failed, Next int }
	if err := json.Unmarshal([]byte(stdout), &counts); err != nil || counts.Imported != 1 || counts.Unchanged != 1 || counts.Failed != 6 || counts.Next != 9 {
		t.Errorf("stdout %s, stderr %s", stdout, stderr)
	}
	if code != exitFailed {
		t.Errorf("code %d", code)
	}
	for _, part := range []string{
		"line 2: ", "(400006 IotHubFormatError)", "line 3: ", "(400004 ArgumentInvalid)", `line 5: "big": the identity was imported, its twin was not`,
		`line 6: "old": `, "(409001 DeviceAlreadyExists)", `line 7: "gone": `, "(404001 DeviceNotFound)", `line 8: "w": `, "6 devices failed",
	} {
		if !strings.Contains(stderr, part) {
			t.Errorf("stderr lacks %q:\n%s", part, stderr)
		}
	}
	b, err := os.ReadFile(refused)
	if err != nil || strings.Count(string(b), "\n") != 6 || !strings.Contains(string(b), `"line":7,"deviceId":"gone","status":404,"number":404001,"code":"DeviceNotFound"`) {
		t.Errorf("refused %s, %v", b, err)
	}
}

func TestImportSaysWhereToGoOn(t *testing.T) {
	f := newFakeAdmin(t)
	code, _, stderr := f.run(t, strings.Repeat("{}\n", 3), "device", "import", "--from-line", "2")
	if code != exitFailed || !strings.Contains(stderr, "go on with --from-line 2") {
		t.Errorf("code %d, stderr %s", code, stderr)
	}
	if code, _, stderr := f.run(t, "", "device", "import", "--from-line", "0"); code != exitUsage {
		t.Errorf("code %d, stderr %s", code, stderr)
	}
}

// BenchmarkImport is how fast a fleet comes over.
func BenchmarkImport(b *testing.B) {
	dir := b.TempDir()
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		shell{}.runContext(ctx, "serve", "--data", filepath.Join(dir, "data"), "--logging.level", "error",
			"--log.listen", "127.0.0.1:0", "--listeners.mqtts", "127.0.0.1:0", "--listeners.https", "127.0.0.1:0", "--listeners.admin", "127.0.0.1:0")
	}()
	defer func() { cancel(); <-done }()
	awaitNode(b, filepath.Join(dir, "data"))
	var lines strings.Builder
	for i := range b.N {
		fmt.Fprintf(&lines, `{"id":"d%07d","status":"enabled","authentication":{"type":"sas","symmetricKey":{"primaryKey":"%s","secondaryKey":"%s"}},"tags":{"site":"a"},"properties":{"desired":{"rate":5}}}`+"\n", i, movedKey, movedKey)
	}
	file := filepath.Join(dir, "devices.txt")
	if err := os.WriteFile(file, []byte(lines.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	if code, _, stderr := (shell{}).runContext(ctx, "device", "import", file, "--data", filepath.Join(dir, "data")); code != exitDone {
		b.Fatal(stderr)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "devices/s")
}

// Modules move with their device: identity, keys, twin and who manages them.
func TestModulesMoveBetweenHubs(t *testing.T) {
	from := startTestNode(t, filepath.Join(t.TempDir(), "from"))
	const line = `{"id":"d%d","moduleId":"m%d","importMode":"create","managedBy":"fleet","authentication":{"type":"sas","symmetricKey":{"primaryKey":"` + movedKey + `","secondaryKey":"` + movedKey + `"}},` +
		`"tags":{"n":%d},"properties":{"desired":{"rate":5},"reported":{"fw":"1"}}}` + "\n"
	var lines strings.Builder
	for d := range 3 {
		fmt.Fprintf(&lines, `{"id":"d%d","status":"enabled"}`+"\n", d)
		for m := range 2 {
			fmt.Fprintf(&lines, line, d, m, d*10+m)
		}
	}
	lines.WriteString(`{"id":"nobody","moduleId":"m0"}` + "\n")
	if code, stdout, stderr := from.run(t, lines.String(), "device", "import"); code != exitFailed || !strings.Contains(stdout+stderr, "nobody") {
		t.Fatalf("code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	byRef := func(text string) map[string]map[string]any {
		t.Helper()
		out, device := map[string]map[string]any{}, ""
		for l := range strings.Lines(text) {
			var e map[string]any
			if err := json.Unmarshal([]byte(l), &e); err != nil {
				t.Fatalf("%s: %v", l, err)
			}
			id, _ := e["id"].(string)
			if m, ok := e["moduleId"].(string); !ok {
				device = id
			} else if id += "/" + m; !strings.HasPrefix(id, device+"/") {
				t.Errorf("%s comes behind device %q", id, device)
			}
			delete(e, "eTag")
			delete(e, "twinETag")
			out[id] = e
		}
		return out
	}
	first := from.must(t, "device", "export")
	moved := byRef(first)
	m := moved["d2/m1"]
	if len(moved) != 9 || m == nil || m["managedBy"] != "fleet" || m["status"] != nil || fmt.Sprint(m["tags"], m["properties"]) != "map[n:21] map[desired:map[rate:5] reported:map[fw:1]]" {
		t.Fatalf("exported %s", first)
	}
	to := startTestNode(t, filepath.Join(t.TempDir(), "to"))
	for _, want := range []string{"imported 9 devices, 0 unchanged, 0 failed\n", "imported 0 devices, 9 unchanged, 0 failed\n"} {
		if code, stdout, stderr := to.run(t, first, "device", "import"); code != exitDone || stdout != want {
			t.Fatalf("code %d, stdout %q, want %q, stderr %q", code, stdout, want, stderr)
		}
	}
	if got := byRef(to.must(t, "device", "export")); !reflect.DeepEqual(got, moved) {
		t.Errorf("moved\n%v\nwere\n%v", got, moved)
	}
	if cs := to.must(t, "connection-string", "--device", "d1", "--module", "m0"); !strings.Contains(cs, movedKey) {
		t.Errorf("a module that moved has another key: %s", cs)
	}
}
