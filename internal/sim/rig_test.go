package sim

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// buildAndStartLog builds the binary and starts a log of the test's own, which
// nodes with the options returned share.
func buildAndStartLog(t *testing.T, ctx context.Context) (o *Options, address string) {
	t.Helper()
	o = &Options{Dir: t.TempDir(), Binary: filepath.Join(t.TempDir(), "gemello")}
	build := exec.CommandContext(ctx, "go", "build", "-o", o.Binary, "github.com/gemello/gemello/cmd/gemello")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	log, address, err := startLog(ctx, o, filepath.Join(o.Dir, "log-data"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(log.kill)
	return o, address
}
