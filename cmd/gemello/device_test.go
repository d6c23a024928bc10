package main

import (
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

func TestShellQuote(t *testing.T) {
	for in, want := range map[string]string{"d1": "d1", "/a/b_c.d": "/a/b_c.d", "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "$x": "'$x'", "é": "'é'"} {
		if got := shellQuote(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}
