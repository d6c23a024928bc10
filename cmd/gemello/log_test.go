package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gemello/gemello/persistence/eventlog"
)

func TestLogServesUntilInterrupted(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out, in := io.Pipe()
	a := &app{stdin: strings.NewReader(""), stdout: in, stderr: io.Discard,
		lookupEnv: func(string) (string, bool) { return "", false }}
	code := make(chan int, 1)
	users := writeTemp(t, "users", "# comment\nann:s3cret\n")
	metrics := freeAddress(t)
	go func() {
		code <- a.run(ctx, []string{"log", "--data", filepath.Join(t.TempDir(), "log"), "--listen", "127.0.0.1:0", "--auth", users, "--log-level", "error", "--metrics", metrics})
		in.Close()
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	addr := strings.TrimSpace(strings.TrimPrefix(line, "listening on "))
	if _, port, err := net.SplitHostPort(addr); err != nil || port == "0" {
		t.Fatalf("said %q", line)
	}
	log, err := eventlog.Open(ctx, eventlog.Options{Seeds: []string{addr}, SASL: eventlog.SASL{Mechanism: "SCRAM-SHA-512", User: "ann", Password: "s3cret"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := log.EnsureTopics(ctx, eventlog.TopicSpec{Name: "t", Partitions: 1}); err != nil {
		t.Error(err)
	}
	log.Close()
	if page := get(t, "http://"+metrics+"/metrics"); !strings.Contains(page, "gemello_log_commits_total") {
		t.Errorf("metrics: %s", page)
	}
	cancel()
	if c := <-code; c != exitDone {
		t.Errorf("exit code %d", c)
	}
}

// freeAddress is a loopback address that nothing listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func get(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestLogNamesWhatIsWrong(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := writeTemp(t, "users", "ann:hunter2\nbob\n")
	twice := writeTemp(t, "users", "ann:a\nann:hunter2\n")
	empty := writeTemp(t, "users", "# nobody\n")
	users := writeTemp(t, "users", "ann:a\n")
	old := t.TempDir()
	if err := os.WriteFile(filepath.Join(old, "meta.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name  string
		args  []string
		parts []string
	}{
		{"no data", nil, []string{"--data is needed"}},
		{"public without users", []string{"--data", "d", "--listen", "0.0.0.0:9092"}, []string{"--listen", `"0.0.0.0:9092"`, "loopback", "--auth"}},
		{"bad address", []string{"--data", "d", "--listen", "9092"}, []string{"--listen", `"9092"`, "HOST:PORT"}},
		{"wildcard without a name", []string{"--data", "d", "--listen", ":9092", "--auth", users}, []string{"--advertise", `":9092"`}},
		{"line without password", []string{"--data", "d", "--auth", file}, []string{file + ":2", "USER:PASSWORD"}},
		{"user twice", []string{"--data", "d", "--auth", twice}, []string{twice + ":2", `"ann"`}},
		{"no users", []string{"--data", "d", "--auth", empty}, []string{empty, "no user"}},
		{"users missing", []string{"--data", "d", "--auth", "/nonexistent"}, []string{"--auth", "/nonexistent"}},
		{"certificate alone", []string{"--data", "d", "--tls-cert", "/x"}, []string{"--tls-cert and --tls-key"}},
		{"certificate missing", []string{"--data", "d", "--tls-cert", "/nonexistent", "--tls-key", "/nonexistent"}, []string{"--tls-cert", "/nonexistent"}},
		{"retention", []string{"--data", "d", "--retention", "long"}, []string{"--retention", `"long"`, "a duration"}},
		{"size", []string{"--data", "d", "--retention-bytes", "much"}, []string{"--retention-bytes", `"much"`, "a size"}},
		{"busy port", []string{"--data", "d", "--listen", taken.Addr().String()}, []string{"--listen: port", "in use", "choose another port with --listen"}},
		{"log of an earlier version", []string{"--data", old, "--listen", "127.0.0.1:0"}, []string{old, "earlier version", "gemello device export", "new data directory"}},
		{"busy metrics", []string{"--data", "d", "--listen", "127.0.0.1:0", "--metrics", taken.Addr().String()}, []string{"--metrics", "choose another"}},
		{"a file as data", []string{"--data", users, "--listen", "127.0.0.1:0"}, []string{users}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			code, stdout, stderr := shell{}.run(t, append([]string{"log"}, tc.args...)...)
			wantOneLine(t, code, exitUsage, stdout, stderr, tc.parts...)
			if strings.Contains(stderr, "hunter2") {
				t.Errorf("a password is shown: %s", stderr)
			}
		})
	}
}

func TestUsersHaveTheirGrants(t *testing.T) {
	file := writeTemp(t, "users", "# comment\nnode:secret\nann:pa:ss read:orders. write:results\n\nbob:word admin:*\n")
	users, grants, err := readUsers(file)
	if err != nil || len(users) != 3 || users[1].Password != "pa:ss" {
		t.Fatalf("%v, %v", users, err)
	}
	if got := fmt.Sprint(grants["node"], grants["ann"], grants["bob"]); got != "[] [read:orders. write:results] [admin:*]" {
		t.Errorf("grants %s", got)
	}
	_, _, err = readUsers(writeTemp(t, "bad", "ann:two words\n"))
	if err == nil || strings.Contains(err.Error(), "two") || strings.Contains(err.Error(), "words") || !strings.Contains(err.Error(), "read:PREFIX") {
		t.Errorf("a word that is no grant: %v", err)
	}
}
