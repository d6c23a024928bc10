package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// holdEnv makes the test binary hold a data directory instead of running tests:
// locks are between processes.
const holdEnv = "GEMELLO_TEST_HOLD_DATA"

// programEnv makes the test binary the program itself, for tests that need it as
// a process.
const programEnv = "RUN_AS_GEMELLO"

func TestMain(m *testing.M) {
	if os.Getenv(programEnv) != "" {
		os.Exit(execute(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	if dir := os.Getenv(holdEnv); dir != "" {
		os.Exit(holdDataDir(dir))
	}
	goleak.VerifyTestMain(m)
}

// shell is one call of the program.
type shell struct {
	env   map[string]string
	stdin string
}

// run returns what a shell would see. The environment is the test's own.
func (s shell) run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return s.runContext(t.Context(), args...)
}

func (s shell) runContext(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	a := &app{
		stdin: strings.NewReader(s.stdin), stdout: &out, stderr: &err,
		lookupEnv: func(name string) (string, bool) { v, ok := s.env[name]; return v, ok },
		environ: func() []string {
			var kv []string
			for k, v := range s.env {
				kv = append(kv, k+"="+v)
			}
			return kv
		},
	}
	code = a.run(ctx, args)
	return code, out.String(), err.String()
}

func writeTemp(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// wantOneLine checks an exit code and that the complaint is one line with the
// given parts.
func wantOneLine(t *testing.T, code, wantCode int, stdout, stderr string, parts ...string) {
	t.Helper()
	if code != wantCode {
		t.Errorf("exit code %d, want %d; stderr: %s", code, wantCode, stderr)
	}
	if stdout != "" {
		t.Errorf("stdout %q, want none", stdout)
	}
	if strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "gemello: ") || !strings.HasSuffix(stderr, "\n") {
		t.Errorf("stderr is not one line: %q", stderr)
	}
	for _, p := range parts {
		if !strings.Contains(stderr, p) {
			t.Errorf("stderr %q lacks %q", stderr, p)
		}
	}
}
