package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestDeviceLifeFromAShell(t *testing.T) {
	f := newFakeAdmin(t)
	for _, step := range []struct {
		args []string
		code int
		want []string // parts of stdout, of stderr when the code is not 0
	}{
		{[]string{"create", "d 1", "--primary-key", "AAAA", "--disabled", "--status-reason", "new"}, exitDone, []string{"created d 1", "gemello connection-string --device 'd 1'"}},
		{[]string{"create", "d 1"}, exitFailed, []string{"d 1 exists", "DeviceAlreadyExists"}},
		{[]string{"show", "d 1"}, exitDone, []string{"status          disabled", "reason          new", "authentication  sas", "etag            e1"}},
		{[]string{"show", "d 1", "--json"}, exitDone, []string{`"primaryKey": "AAAA"`}},
		{[]string{"create", "x", "--thumbprint", "ABCD", "--json"}, exitDone, []string{`"selfSigned"`, `"primaryThumbprint": "ABCD"`}},
		{[]string{"create", "y", "--edge"}, exitDone, []string{"created y"}},
		{[]string{"list"}, exitDone, []string{"DEVICE", "d 1     disabled  Disconnected  sas", "x       enabled", "y"}},
		{[]string{"list", "--limit", "1", "--json"}, exitDone, []string{`"deviceId": "d 1"`}},
		{[]string{"list", "--after", "x"}, exitDone, []string{"y"}},
		{[]string{"delete", "x", "y"}, exitDone, []string{"deleted 2"}},
		{[]string{"delete", "x"}, exitFailed, []string{"delete x: no device x"}},
	} {
		code, stdout, stderr := f.run(t, "", append([]string{"device"}, step.args...)...)
		text := stdout
		if step.code != exitDone {
			text = stderr
		}
		if code != step.code {
			t.Errorf("%v: code %d, stderr %s", step.args, code, stderr)
		}
		for _, part := range step.want {
			if !strings.Contains(text, part) {
				t.Errorf("%v: %q lacks %q", step.args, text, part)
			}
		}
	}
}

func TestDeviceShowKeepsKeysToItself(t *testing.T) {
	f := newFakeAdmin(t)
	f.run(t, "", "device", "create", "d1", "--primary-key", "c2VjcmV0")
	for _, args := range [][]string{{"device", "show", "d1"}, {"device", "list"}} {
		if _, stdout, _ := f.run(t, "", args...); strings.Contains(stdout, "c2VjcmV0") {
			t.Errorf("%v shows the key: %s", args, stdout)
		}
	}
}

func TestIdsAreEscapedInPaths(t *testing.T) {
	f := newFakeAdmin(t)
	f.run(t, "", "device", "show", "a%b?c#d e/f")
	f.called(t, "GET /api/v1/devices/a%25b%3Fc%23d%20e%2Ff")
}

func TestExportThenImportKeepsDevices(t *testing.T) {
	from, to := newFakeAdmin(t), newFakeAdmin(t)
	const n = 7
	for i := range n {
		from.run(t, "", "device", "create", fmt.Sprintf("d%d", i), "--primary-key", "AAAA", "--secondary-key", "BBBB")
	}
	file := filepath.Join(t.TempDir(), "devices.jsonl")
	if code, _, stderr := from.run(t, "", "device", "export", file); code != exitDone {
		t.Fatal(stderr)
	}
	if st, err := os.Stat(file); err != nil || runtime.GOOS != "windows" && st.Mode().Perm() != 0o600 {
		t.Errorf("keys are in a file of mode %v (%v)", st.Mode(), err)
	}
	if code, _, stderr := from.run(t, "", "device", "export", file); code != exitUsage {
		t.Errorf("an existing file was overwritten: %s", stderr)
	}
	code, stdout, stderr := to.run(t, "", "device", "import", file)
	if code != exitDone || stdout != "imported 7 devices, 0 failed\n" {
		t.Fatalf("code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	for id := range from.devices {
		if string(from.devices[id]) != string(to.devices[id]) {
			t.Errorf("%s: %s became %s", id, from.devices[id], to.devices[id])
		}
	}
}

func TestImportReadsAzuresExport(t *testing.T) {
	f := newFakeAdmin(t)
	lines := `{"id":"d1","eTag":"x","status":"enabled","authentication":{"symmetricKey":{"primaryKey":"AAAA","secondaryKey":"BBBB"}},"twinETag":"y","tags":{"site":"a"},"properties":{"desired":{"rate":5}}}` + "\r\n\n"
	code, stdout, stderr := f.run(t, lines, "device", "import")
	if code != exitDone || stdout != "imported 1 devices, 0 failed\n" {
		t.Fatalf("code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	f.called(t, `PATCH /api/v1/twins/d1 {"properties":{"desired":{"rate":5}},"tags":{"site":"a"}}`)
	if !strings.Contains(string(f.devices["d1"]), `"primaryKey":"AAAA"`) || strings.Contains(string(f.devices["d1"]), "tags") {
		t.Errorf("device %s", f.devices["d1"])
	}
}

func TestImportCountsWhatFails(t *testing.T) {
	f := newFakeAdmin(t)
	f.run(t, "", "device", "create", "old")
	lines := "{\"deviceId\":\"old\"}\nnonsense\n{\"status\":\"enabled\"}\n{\"deviceId\":\"new\"}\n"
	code, stdout, stderr := f.run(t, lines, "device", "import", "--json")
	var counts map[string]int
	if err := json.Unmarshal([]byte(stdout), &counts); err != nil || counts["imported"] != 1 || counts["failed"] != 3 {
		t.Errorf("stdout %q", stdout)
	}
	for _, part := range []string{"line 1: old: old exists", "line 2: not a device", "line 3: not a device: no deviceId", "3 devices failed"} {
		if !strings.Contains(stderr, part) {
			t.Errorf("stderr %q lacks %q", stderr, part)
		}
	}
	if code != exitFailed {
		t.Errorf("code %d", code)
	}
	code, stdout, stderr = f.run(t, "{\"deviceId\":\"old\"}\n{\"deviceId\":\"newer\"}\n", "device", "import", "--update", "-")
	if code != exitDone || stdout != "imported 2 devices, 0 failed\n" {
		t.Errorf("code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

func TestShellQuote(t *testing.T) {
	for in, want := range map[string]string{"d1": "d1", "/a/b_c.d": "/a/b_c.d", "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "$x": "'$x'", "é": "'é'"} {
		if got := shellQuote(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}
