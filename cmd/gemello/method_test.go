package main

import (
	"io"
	"strings"
	"testing"
	"time"
)

func TestMethodInvokeExitCodes(t *testing.T) {
	for _, tt := range []struct {
		id     string
		args   []string
		code   int
		stdout string
		stderr string
	}{
		{"d200", nil, exitDone, "{\n  \"ok\": true\n}\n", ""},
		{"d200", []string{"--json"}, exitDone, "{\n  \"status\": 200,\n  \"payload\": {\n    \"ok\": true\n  }\n}\n", ""},
		{"d400", nil, exitFailed, "{\n  \"ok\": true\n}\n", "status 400"},
		{"offline", nil, exitFailed, "", "DeviceNotOnline"},
		{"d200", []string{"--payload", "{"}, exitUsage, "", "--payload"},
		{"d200", []string{"--payload", "@/none"}, exitUsage, "", "--payload"},
		{"d200", []string{"--timeout", "4s"}, exitUsage, "", "--timeout"},
		{"d200", []string{"--timeout", "5500ms"}, exitUsage, "", "--timeout"},
		{"d200", []string{"--connect-timeout", "301s"}, exitUsage, "", "--connect-timeout"},
	} {
		f := newFakeAdmin(t)
		code, stdout, stderr := f.run(t, "", append([]string{"method", "invoke", tt.id, "m"}, tt.args...)...)
		if code != tt.code || stdout != tt.stdout || !strings.Contains(stderr, tt.stderr) || (tt.stderr == "") != (stderr == "") {
			t.Errorf("%s %v: code %d, stdout %q, stderr %q", tt.id, tt.args, code, stdout, stderr)
		}
	}
}

func TestMethodInvokeSendsItsRequest(t *testing.T) {
	f := newFakeAdmin(t)
	code, _, stderr := f.run(t, `"foo"`, "method", "invoke", "d200", "a*b", "--payload", "-", "--timeout", "1m", "--connect-timeout", "7s")
	if code != exitDone {
		t.Fatal(stderr)
	}
	f.called(t, `POST /api/v1/twins/d200/methods {"methodName":"a*b","payload":"foo","responseTimeoutInSeconds":60,"connectTimeoutInSeconds":7}`)
}

func TestMethodBodyDefaultsToNull(t *testing.T) {
	b, err := methodBody(io.LimitReader(nil, 0), "m", "null", 30*time.Second, 0)
	if want := `{"methodName":"m","payload":null,"responseTimeoutInSeconds":30,"connectTimeoutInSeconds":0}`; err != nil || string(b) != want {
		t.Errorf("%s, %v", b, err)
	}
}
