package sim

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gemello/gemello/device"
)

var jobDevices = flag.Int("job-devices", 200, "devices of the job that survives kills")

// TestTwinJobSurvivesKills kills the node three times while a job changes twins:
// every device is changed once, and the counts add up.
func TestTwinJobSurvivesKills(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the binary and runs it")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	o := &Options{Dir: t.TempDir(), Binary: filepath.Join(t.TempDir(), "gemello")}
	build := exec.CommandContext(ctx, "go", "build", "-o", o.Binary, "github.com/gemello/gemello/cmd/gemello")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	log, address, err := startLog(ctx, o, filepath.Join(o.Dir, "log-data"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.kill()
	n := newNode(o, "node", 1, "--kafka", address, "--hub", "verify_jobs")
	if _, err := n.start(ctx, 500); err != nil {
		t.Fatal(err)
	}
	defer func() { n.kill() }()
	id := func(i int) string { return fmt.Sprintf("d%05d", i) }
	var g errgroup.Group
	g.SetLimit(32)
	for i := range *jobDevices {
		g.Go(func() error { _, err := n.device(ctx, id(i)); return err })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	job := map[string]any{
		"type": device.JobTwin, "queryCondition": "*", "maxDevicesPerSecond": max(1, *jobDevices/4),
		"updateTwin": map[string]any{"properties": map[string]any{"desired": map[string]int{"rate": 5}}},
	}
	if err := n.call(ctx, http.MethodPut, "/jobs/j", job, nil); err != nil {
		t.Fatal(err)
	}
	var last struct {
		Status device.JobStatus
		Counts device.JobCounts `json:"deviceJobStatistics"`
	}
	await := func(what string, ok func() bool) {
		t.Helper()
		for {
			if err := n.call(ctx, http.MethodGet, "/jobs/j", nil, &last); err != nil {
				t.Fatal(err)
			}
			if ok() {
				return
			}
			if !pause(ctx, 5*lookEvery) {
				t.Fatalf("the job is not %s: %+v", what, last)
			}
		}
	}
	for kill := range int64(3) {
		share := int64(*jobDevices) * (kill + 1) / 5
		await("begun", func() bool { return last.Counts.Succeeded >= share })
		n.kill()
		if _, err := n.start(ctx, 500); err != nil {
			t.Fatal(err)
		}
	}
	await("ended", func() bool { return last.Status.Ended() })
	if want := (device.JobCounts{Total: int64(*jobDevices), Succeeded: int64(*jobDevices)}); last.Status != device.JobCompleted || last.Counts != want {
		t.Errorf("job %s %+v, want %+v", last.Status, last.Counts, want)
	}
	for i := range *jobDevices {
		var twin struct {
			Properties struct {
				Desired struct {
					Version int64 `json:"$version"`
				}
			}
		}
		if err := n.call(ctx, http.MethodGet, "/twins/"+id(i), nil, &twin); err != nil {
			t.Fatal(err)
		}
		if got := twin.Properties.Desired.Version; got != 2 {
			t.Errorf("%s was changed %d times", id(i), got-1)
		}
	}
}
