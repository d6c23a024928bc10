package actors_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/gemello/gemello/actors"
	"github.com/gemello/gemello/device"
)

var crashStride = flag.Int("crash-stride", 4, "of the writes to the log, crash the node at every so many; 1: at each")

// configRig is a node with two devices, one of which comes and goes, and an edge
// device, which configurations change.
type configRig struct {
	*rig
	jobs *jobNode
	dir  string
	n    *running
}

func (r *configRig) start() {
	r.t.Helper()
	r.n = r.run(r.dir, actors.Options{FlushRecords: 20, ReleaseTimeout: time.Millisecond})
	r.jobs = &jobNode{r.harness}
}

// put makes a configuration say v, whatever became of earlier attempts.
func (r *configRig) put(ctx context.Context, id, condition, content string, v int) error {
	c, err := device.ParseConfiguration(id, fmt.Appendf(nil, `{"targetCondition":%q,"priority":1,"content":`+content+`}`, condition, v))
	if err != nil {
		return err
	}
	_, _, err = r.n.PutConfiguration(ctx, c, "*", device.Audit{})
	return err
}

// change makes both configurations say v and has one device leave or join the
// target.
func (r *configRig) change(ctx context.Context, v int) error {
	if err := r.put(ctx, "c", "tags.site = 'a'", `{"deviceContent":{"properties.desired.v":%d}}`, v); err != nil {
		return err
	}
	if err := r.put(ctx, "m", "*", `{"modulesContent":{"mod":{"properties.desired.v":%d}}}`, v); err != nil {
		return err
	}
	_, err := r.n.PatchTwin(ctx, device.TwinChange{DeviceID: "guest", Body: fmt.Appendf(nil, `{"tags":{"site":%q}}`, r.site(v))})
	return err
}

func (r *configRig) site(v int) string { return string(rune('a' + v%2)) }

// settled waits until v is what the devices and the module have.
func (r *configRig) settled(v int) {
	r.t.Helper()
	want := map[device.Ref]string{
		{Device: "resident"}: fmt.Sprintf(`{"v":%d}`, v), {Device: "edge", Module: "mod"}: fmt.Sprintf(`{"v":%d}`, v),
		{Device: "guest"}: `{}`, {Device: "edge"}: `{}`,
	}
	if r.site(v) == "a" {
		want[device.Ref{Device: "guest"}] = fmt.Sprintf(`{"v":%d}`, v)
	}
	for ref, w := range want {
		r.eventually(fmt.Sprintf("%s with %s", ref, w), func() bool {
			doc, err := r.n.Twin(r.t.Context(), ref)
			return err == nil && string(doc.Twin.Desired.AppendDocument(nil)) == w
		})
	}
	applied := int64(1 + (v+1)%2)
	r.eventually(fmt.Sprintf("%d devices in the metrics", applied), func() bool {
		c, err := r.n.Configuration(r.t.Context(), "c")
		m, also := r.n.Configuration(r.t.Context(), "m")
		return err == nil && also == nil && c.Counts.Applied == applied && c.Counts.Targeted == applied && m.Counts.Applied == 1
	})
}

func (r *configRig) version(ref device.Ref) int64 {
	r.t.Helper()
	doc, err := r.n.Twin(r.t.Context(), ref)
	if err != nil {
		r.t.Fatal(err)
	}
	return doc.Twin.Desired.Version
}

// TestConfigurationsSurviveACrashAtEachStep changes configurations and a target,
// cuts the node off the log at the k-th write and starts it again, for each k
// until all is done before. No device lacks a change, and none gets one twice.
func TestConfigurationsSurviveACrashAtEachStep(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a node for each step")
	}
	r := &configRig{rig: newRig(t), dir: t.TempDir()}
	r.start()
	for _, id := range []string{"resident", "guest", "edge"} {
		_, err := r.n.PutIdentity(t.Context(), device.Change{Wanted: device.Identity{
			DeviceID: id, IoTEdge: id == "edge", Auth: device.Auth{Type: device.AuthNone},
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	r.jobs.tags("resident", `{"site":"a"}`)
	v, crashes := 0, 0
	if err := r.change(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	r.settled(v)
	resident, module := device.Ref{Device: "resident"}, device.Ref{Device: "edge", Module: "mod"}
	for k := int64(1); ; k += int64(*crashStride) {
		v++
		before := [2]int64{r.version(resident), r.version(module)}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		r.n.wires.fuse.Store(r.n.wires.writes.Load() + k)
		go r.cancelWhenCut(ctx, r.n.wires, cancel)
		err := r.change(ctx, v)
		if err == nil {
			err = r.quiet(ctx, v)
		}
		cancel()
		cut := r.n.wires.fuse.Load() <= r.n.wires.writes.Load()
		r.n.wires.fuse.Store(0)
		if !cut {
			if err != nil {
				t.Fatalf("step %d: %v", k, err)
			}
			r.settled(v)
		} else {
			crashes++
			r.n.crash()
			r.start()
			if err := r.change(t.Context(), v); err != nil {
				t.Fatalf("step %d, after the crash: %v", k, err)
			}
			r.settled(v)
		}
		if got, want := [2]int64{r.version(resident), r.version(module)}, [2]int64{before[0] + 1, before[1] + 1}; got != want {
			t.Fatalf("step %d: versions %v, want %v", k, got, want)
		}
		if !cut {
			break
		}
	}
	r.n.end()
	if crashes < 3 {
		t.Errorf("%d crashes", crashes)
	}
	t.Logf("%d crashes", crashes)
}

func (r *configRig) cancelWhenCut(ctx context.Context, w *wires, cancel context.CancelFunc) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if f := w.fuse.Load(); f > 0 && w.writes.Load() >= f {
				cancel()
				return
			}
		}
	}
}

// quiet waits until v has reached the device and module, or ctx ends.
func (r *configRig) quiet(ctx context.Context, v int) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	want := fmt.Sprintf(`{"v":%d}`, v)
	for {
		done := true
		for _, ref := range []device.Ref{{Device: "resident"}, {Device: "edge", Module: "mod"}} {
			doc, err := r.n.Twin(ctx, ref)
			if err != nil && !errors.Is(err, actors.ErrUnavailable) && ctx.Err() == nil {
				return err
			}
			done = done && err == nil && string(doc.Twin.Desired.AppendDocument(nil)) == want
		}
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
