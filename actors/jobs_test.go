package actors_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gemello/gemello/actors"
	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/query"
	"github.com/gemello/gemello/ingest"
)

// jobNode is a node whose devices get jobs.
type jobNode struct{ *harness }

func newJobNode(t *testing.T, devices int) *jobNode {
	t.Helper()
	h := &jobNode{newHarness(t)}
	h.start()
	// The devices may all be in one partition, and jobs are in all.
	h.eventually("all partitions", func() bool {
		_, err := h.node.Jobs(t.Context(), actors.JobFilter{}, "", 1)
		return err == nil
	})
	for i := range devices {
		h.create(fmt.Sprintf("d%03d", i))
	}
	return h
}

func (h *jobNode) create(id string) {
	h.t.Helper()
	_, err := h.node.PutIdentity(h.t.Context(), device.Change{Wanted: device.Identity{
		DeviceID: id, Auth: device.Auth{Type: device.AuthSAS, Primary: []byte("k"), Secondary: []byte("k")},
	}})
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *jobNode) job(id, body string) device.JobView {
	h.t.Helper()
	j, err := device.ParseJob(id, []byte(body))
	if err != nil {
		h.t.Fatal(err)
	}
	v, err := h.node.CreateJob(h.t.Context(), j, device.Audit{Actor: "test"})
	if err != nil {
		h.t.Fatal(err)
	}
	return v
}

// await waits until the job is as wanted.
func (h *jobNode) await(id, what string, ok func(*device.JobView) bool) device.JobView {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), 60*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var last device.JobView
	for {
		v, err := h.node.Job(ctx, id)
		if err == nil {
			if last = v; ok(&v) {
				return v
			}
		}
		select {
		case <-ctx.Done():
			h.t.Fatalf("job %s is not %s: %+v %v", id, what, last, err)
		case <-tick.C:
		}
	}
}

func (h *jobNode) ended(id string) device.JobView {
	h.t.Helper()
	return h.await(id, "ended", func(v *device.JobView) bool { return v.Settled })
}

// rows lists devices.jobs.
func (h *jobNode) rows(where string) []string {
	h.t.Helper()
	q, err := query.Parse("SELECT * FROM devices.jobs WHERE " + where)
	if err != nil {
		h.t.Fatal(err)
	}
	var all []string
	at := &query.Cursor{}
	for at != nil {
		page, err := h.node.Query(h.t.Context(), q, *at, 7)
		if err != nil {
			h.t.Fatal(err)
		}
		for _, row := range page.Rows {
			all = append(all, string(row))
		}
		at = page.Next
	}
	return all
}

func (h *jobNode) answering(id string, answer func(asked) (int, string)) {
	h.t.Helper()
	p, ref := newPhone(), device.Ref{Device: id}
	if err := h.node.Attach(h.t.Context(), ref, actors.Attachment{ID: "s", Session: p, Check: func(*device.Identity) error { return nil }}); err != nil {
		h.t.Fatal(err)
	}
	h.node.Presence(h.t.Context(), actors.Connection{Ref: ref, Session: "s", Connected: true})
	h.node.Ready(ref, "s", ingest.FeatureMethods, true)
	ctx, node := h.t.Context(), h.node
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case m := <-p.methods:
				status, body := answer(m)
				node.MethodResponse(ref, m.rid, status, []byte(body))
			}
		}
	}()
}

const twinJob = `{"type":"scheduleUpdateTwin","updateTwin":{"etag":"*","tags":{"k":"v"},"properties":{"desired":{"rate":5},"reported":{"x":1}}},"queryCondition":"%s","startTime":null,"maxExecutionTimeInSeconds":3600}`

func TestTwinJobChangesEveryDeviceThatItsConditionPicks(t *testing.T) {
	h := newJobNode(t, 30)
	defer h.stop()
	if v := h.job("j1", fmt.Sprintf(twinJob, "deviceId < 'd020'")); v.Status != device.JobQueued {
		t.Errorf("status right after creation: %s", v.Status)
	}
	v := h.ended("j1")
	if want := (device.JobCounts{Total: 20, Succeeded: 20}); v.Status != device.JobCompleted || v.Counts != want {
		t.Errorf("job %s %+v, want %+v", v.Status, v.Counts, want)
	}
	for _, c := range []struct {
		id      string
		version int64
	}{{"d019", 2}, {"d020", 1}} {
		doc, err := h.node.Twin(t.Context(), device.Ref{Device: c.id})
		if err != nil || doc.Twin.Desired.Version != c.version {
			t.Errorf("%s: desired version %d, want %d (%v)", c.id, doc.Twin.Desired.Version, c.version, err)
		}
	}
	if rows := h.rows("devices.jobs.jobId = 'j1' AND devices.jobs.status = 'completed'"); len(rows) != 20 || !strings.HasPrefix(rows[0], `{"deviceId":"d0`) {
		t.Errorf("%d rows, first %.200s", len(rows), rows)
	}
	j, _ := device.ParseJob("j1", fmt.Appendf(nil, twinJob, "*"))
	if _, err := h.node.CreateJob(t.Context(), j, device.Audit{}); !errors.Is(err, device.ErrJobExists) {
		t.Errorf("second job of the name: %v", err)
	}
	if _, err := h.node.CancelJob(t.Context(), "j1", device.Audit{}); !errors.Is(err, device.ErrJobEnded) {
		t.Errorf("cancel of a job that has ended: %v", err)
	}
	if _, err := h.node.Job(t.Context(), "none"); !errors.Is(err, device.ErrJobNotFound) {
		t.Errorf("unknown job: %v", err)
	}
}

func TestMethodJobWaitsForDevicesThatAreOffline(t *testing.T) {
	h := newJobNode(t, 3)
	defer h.stop()
	h.answering("d000", func(m asked) (int, string) { return 200, m.payload })
	h.job("m", `{"type":"scheduleDeviceMethod","cloudToDeviceMethod":{"methodName":"reboot","payload":{"a":1}},"queryCondition":"*","maxExecutionTimeInSeconds":3600}`)
	h.await("m", "done with one", func(v *device.JobView) bool { return v.Counts.Succeeded == 1 && v.Counts.Pending == 2 })
	h.answering("d001", func(asked) (int, string) { return 404, `"no"` })
	h.await("m", "done with two", func(v *device.JobView) bool { return v.Counts.Succeeded == 2 })
	if err := h.node.DeleteIdentity(t.Context(), device.Ref{Device: "d002"}, "*", device.Audit{}); err != nil {
		t.Fatal(err)
	}
	v := h.ended("m")
	if want := (device.JobCounts{Total: 3, Succeeded: 2, Failed: 1}); v.Status != device.JobCompleted || v.Counts != want {
		t.Errorf("job %s %+v, want %+v", v.Status, v.Counts, want)
	}
	got := strings.Join(h.rows("jobId = 'm'"), "\n")
	for _, want := range []string{
		`"outcome":{"deviceMethodResponse":{"status":200,"payload":{"a":1}}}`, `"outcome":{"deviceMethodResponse":{"status":404,"payload":"no"}}`,
		`"error":{"code":"DeviceNotFound"`, `"cloudToDeviceMethod":{"methodName":"reboot"`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("rows without %s:\n%s", want, got)
		}
	}
}

func TestJobEndsDevicesThatItHasNotBegun(t *testing.T) {
	for _, c := range []struct {
		name, body string
		cancel     bool
		status     device.JobStatus
		counts     device.JobCounts
	}{
		{"its time is over", `{"type":"scheduleDeviceMethod","cloudToDeviceMethod":{"methodName":"m"},"queryCondition":"*","maxExecutionTimeInSeconds":1}`,
			false, device.JobCompleted, device.JobCounts{Total: 3, Failed: 3}},
		{"it is cancelled", `{"type":"scheduleDeviceMethod","cloudToDeviceMethod":{"methodName":"m"},"queryCondition":"*"}`,
			true, device.JobCancelled, device.JobCounts{Total: 3, Cancelled: 3}},
		{"too many have failed", `{"type":"scheduleUpdateTwin","updateTwin":{"etag":"stale","tags":{"a":1}},"queryCondition":"*","haltAboveFailedPercent":50}`,
			false, device.JobFailed, device.JobCounts{Total: 3, Failed: 3}},
		{"it was cancelled before its start", `{"type":"scheduleDeviceMethod","cloudToDeviceMethod":{"methodName":"m"},"queryCondition":"*","startTime":"2999-01-01T00:00:00.000Z"}`,
			true, device.JobCancelled, device.JobCounts{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newJobNode(t, 3)
			defer h.stop()
			h.job("j", c.body)
			if c.cancel {
				h.await("j", "picked", func(v *device.JobView) bool { return v.Counts.Total == c.counts.Total })
				if v, err := h.node.CancelJob(t.Context(), "j", device.Audit{}); err != nil || v.Status != device.JobCancelled {
					t.Fatalf("cancel: %s %v", v.Status, err)
				}
			}
			if v := h.ended("j"); v.Status != c.status || v.Counts != c.counts {
				t.Errorf("job %s %+v, want %s %+v", v.Status, v.Counts, c.status, c.counts)
			}
		})
	}
}

func TestJobGoesOnAfterRestart(t *testing.T) {
	h := newJobNode(t, 40)
	h.job("j", strings.Replace(fmt.Sprintf(twinJob, "*"), `"type"`, `"maxDevicesPerSecond":20,"type"`, 1))
	h.await("j", "begun", func(v *device.JobView) bool { return v.Counts.Succeeded > 5 })
	h.stop()
	h.start()
	defer h.stop()
	if v, want := h.ended("j"), (device.JobCounts{Total: 40, Succeeded: 40}); v.Counts != want {
		t.Errorf("counts %+v, want %+v", v.Counts, want)
	}
	for i := range 40 {
		doc, err := h.node.Twin(t.Context(), device.Ref{Device: fmt.Sprintf("d%03d", i)})
		if err != nil || doc.Twin.Desired.Version != 2 {
			t.Errorf("device %d was changed %d times (%v)", i, doc.Twin.Desired.Version-1, err)
		}
	}
}

// queryRows joins the rows of a query.
func (h *jobNode) queryRows(text string) string {
	h.t.Helper()
	q, err := query.Parse(text)
	if err != nil {
		h.t.Fatal(err)
	}
	page, err := h.node.Query(h.t.Context(), q, query.Cursor{}, 100)
	if err != nil {
		h.t.Fatal(err)
	}
	var rows []string
	for _, r := range page.Rows {
		rows = append(rows, string(r))
	}
	return strings.Join(rows, "\n")
}
