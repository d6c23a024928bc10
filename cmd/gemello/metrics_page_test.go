package main

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

const metricsPage = "../../docs/operate/metrics.md"

// TestMetricsPage: what a node that has done some work exports is on the page,
// and what is on the page is exported or, with labels not seen yet, in the source.
func TestMetricsPage(t *testing.T) {
	page, err := os.ReadFile(metricsPage)
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(gemello_[a-z_]+)` \\|").FindAllSubmatch(page, -1) {
		documented[string(m[1])] = true
	}
	exported := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (gemello_\S+)`).FindAllSubmatch(scrape(t), -1) {
		exported[string(m[1])] = true
		if !documented[string(m[1])] {
			t.Errorf("%s lacks %s", metricsPage, m[1])
		}
	}
	source := metricsSource(t)
	for name := range documented {
		if exported[name] {
			continue
		}
		// In the source a name may be put together from its parts.
		part := strings.TrimPrefix(name, "gemello_")
		_, rest, _ := strings.Cut(part, "_")
		if !slices.ContainsFunc([]string{name, part, rest}, func(s string) bool { return bytes.Contains(source, []byte(`"`+s+`"`)) }) {
			t.Errorf("%s has %s, which nothing exports", metricsPage, name)
		}
	}
}

// scrape runs a node in this process, lets it do some work and returns its
// metrics.
func scrape(t *testing.T) []byte {
	t.Helper()
	data := filepath.Join(t.TempDir(), "data")
	ctx, stop := context.WithCancel(t.Context())
	type result struct {
		code   int
		stderr string
	}
	done := make(chan result, 1)
	go func() {
		code, _, stderr := shell{}.runContext(ctx, "serve", "--data", data, "--logging.level", "error", "--log.partitions", "2",
			"--log.listen", "127.0.0.1:0", "--listeners.mqtts", "127.0.0.1:0", "--listeners.https", "127.0.0.1:0", "--listeners.admin", "127.0.0.1:0")
		done <- result{code, stderr}
	}()
	defer func() {
		stop()
		if r := <-done; r.code != exitDone {
			t.Errorf("serve ended with %d: %s", r.code, r.stderr)
		}
	}()
	info := awaitNode(t, data)
	for _, args := range [][]string{
		{"pipeline", "apply", "p", "--query", "SELECT deviceId, COUNT(*) AS n INTO rows FROM devices GROUP BY deviceId, TumblingWindow(millisecond, 100)"},
		{"simulate", "--devices", "2", "--rate", "40", "--duration", "1s"},
	} {
		if code, _, stderr := (shell{}).run(t, append(args, "--data", data)...); code != exitDone {
			t.Fatalf("%v: %s", args, stderr)
		}
	}
	resp, err := http.Get(info.Admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %v", resp.StatusCode, err)
	}
	return b
}

// awaitNode waits until a node has written its run.json.
func awaitNode(t testing.TB, data string) *runInfo {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		info, err := readRunInfo(data)
		if err == nil {
			return info
		}
		select {
		case <-deadline:
			t.Fatalf("the node is not there: %v", err)
		case <-tick.C:
		}
	}
}

// metricsSource is the text of all files that declare metrics.
func metricsSource(t *testing.T) []byte {
	t.Helper()
	var all []byte
	err := filepath.WalkDir("../..", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(d.Name(), "metrics.go") {
			return err
		}
		b, err := os.ReadFile(p)
		all = append(all, b...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
