package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// positionAdmin answers all requests with a position that grows, and two pages of
// a query.
func positionAdmin(t *testing.T) (url string, after *[]string) {
	t.Helper()
	after = &[]string{}
	n := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*after = append(*after, r.Header.Get("x-gemello-after"))
		n++
		w.Header().Set("x-gemello-log-position", fmt.Sprintf("0:%d,1:%d", 10+n, 20-n))
		switch {
		case strings.HasSuffix(r.URL.Path, "/methods"):
			io.WriteString(w, `{"status":200,"payload":1}`)
		case !strings.HasSuffix(r.URL.Path, "/query"):
			io.WriteString(w, `{"deviceId":"d1","sequenceNumber":4}`)
		case n == 1:
			w.Header().Set("x-ms-continuation", "next")
			io.WriteString(w, `[{"n":1}]`)
		default:
			io.WriteString(w, `[{"n":2}]`)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL, after
}

func TestCommandsWaitForAPositionAndPrintTheirs(t *testing.T) {
	for _, args := range []string{
		"twin get d1", "twin patch d1 {}", "device show d1", "device create d1", "device delete d1",
		"method invoke d1 m", "command send d1 --body x", "command list d1", "command purge d1",
		"job create-twin j {}", "job create-method j m", "job show j", "job cancel j", "job rows j", "query q",
	} {
		t.Run(args, func(t *testing.T) {
			run := func(more ...string) (stdout, stderr string, after []string) {
				t.Helper()
				url, seen := positionAdmin(t)
				token := writeTemp(t, "token", testToken)
				all := append(strings.Fields(args), "--admin", url, "--token-file", token)
				code, stdout, stderr := shell{}.run(t, append(all, more...)...)
				if code != exitDone {
					t.Fatalf("code %d: %s", code, stderr)
				}
				return stdout, stderr, *seen
			}
			stdout, stderr, seen := run("--after", "3:4")
			if strings.Contains(stdout+stderr, "position") || seen[0] != "3:4" {
				t.Errorf("asked after %q, printed %q, %q", seen, stdout, stderr)
			}
			want := "0:11,1:19"
			if len(seen) > 1 {
				want = "0:11,1:18" // of two answers, what both reflect
			}
			if _, stderr, _ := run("--position"); stderr != "position "+want+"\n" {
				t.Errorf("standard error is %q, want position %s", stderr, want)
			}
			plain, _, _ := run("--json")
			stdout, _, _ = run("--json", "--position")
			var got struct {
				Position string
				Result   json.RawMessage
			}
			if err := json.Unmarshal([]byte(stdout), &got); err != nil || got.Position != want || compactText(t, string(got.Result)) != compactText(t, plain) {
				t.Errorf("%s is not %s with position %s", stdout, plain, want)
			}
		})
	}
}

func compactText(t *testing.T, s string) string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		t.Fatalf("%v: %s", err, s)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
