package actors_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gemello/gemello/actors"
	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/ingest"
)

// option puts a member into a job's document.
func option(body, member string) string {
	return strings.Replace(body, `{"type"`, `{`+member+`,"type"`, 1)
}

// started returns when each device of a job was begun, in order of time.
func (h *jobNode) started(id string) (at []time.Time) {
	h.t.Helper()
	for _, text := range h.rows("jobId = '" + id + "'") {
		var row struct {
			Start time.Time `json:"startTimeUtc"`
		}
		if err := json.Unmarshal([]byte(text), &row); err != nil {
			h.t.Fatal(err)
		}
		at = append(at, row.Start)
	}
	slices.SortFunc(at, time.Time.Compare)
	return at
}

// TestRateLimitsHowManyDevicesAJobBegins compares when devices were begun with
// when they may be at the earliest; a slow machine begins them later.
func TestRateLimitsHowManyDevicesAJobBegins(t *testing.T) {
	const devices, rate = 8, 5
	h := newJobNode(t, devices)
	defer h.stop()
	for i := range devices {
		h.answering(fmt.Sprintf("d%03d", i), func(m asked) (int, string) { return 200, m.payload })
	}
	for id, body := range map[string]string{
		"twin":   fmt.Sprintf(twinJob, "*"),
		"method": `{"type":"scheduleDeviceMethod","cloudToDeviceMethod":{"methodName":"m"},"queryCondition":"*"}`,
	} {
		h.job(id, option(body, fmt.Sprintf(`"maxDevicesPerSecond":%d`, rate)))
		v := h.ended(id)
		if v.Counts.Succeeded != devices {
			t.Errorf("%s: %+v", id, v.Counts)
		}
		at := h.started(id)
		for i := range at {
			// The log stamps milliseconds.
			if earliest := v.Start.Add(time.Duration(i)*time.Second/rate - 2*time.Millisecond); at[i].Before(earliest) {
				t.Errorf("%s: device %d was begun %s after the start, %d a second are allowed", id, i+1, at[i].Sub(v.Start), rate)
			}
		}
	}
}

func TestHaltThresholdEndsAJob(t *testing.T) {
	const devices = 60
	h := newJobNode(t, devices)
	defer h.stop()
	good, err := h.node.Twin(t.Context(), device.Ref{Device: "d000"})
	if err != nil {
		t.Fatal(err)
	}
	// Every second device is past the etag that the job depends on.
	for i := range devices / 2 {
		h.tags(fmt.Sprintf("d%03d", 2*i), `{"a":1}`)
	}
	body := fmt.Sprintf(`{"type":"scheduleUpdateTwin","updateTwin":{"etag":%q,"tags":{"b":1}},"queryCondition":"%%s"}`, good.Twin.ETag())
	h.job("most", option(fmt.Sprintf(body, "tags.a = 1"), `"maxDevicesPerSecond":20,"haltAboveFailedPercent":50`))
	v := h.ended("most")
	c := v.Counts
	if v.Status != device.JobFailed || c.Succeeded != 0 || c.Failed < 10 || c.Cancelled == 0 || c.Failed+c.Cancelled != devices/2 || !strings.Contains(v.Reason, "more than 50 %") {
		t.Errorf("all fail: %s %q %+v", v.Status, v.Reason, c)
	}
	// Half of the devices is not more than half of them.
	h.job("half", option(fmt.Sprintf(body, "*"), `"haltAboveFailedPercent":60`))
	if v := h.ended("half"); v.Status != device.JobCompleted || v.Counts != (device.JobCounts{Total: devices, Failed: devices / 2, Succeeded: devices / 2}) {
		t.Errorf("half of them fails: %s %q %+v", v.Status, v.Reason, v.Counts)
	}
}

// TestCancelLeavesWhatIsNotBegun also shows that progress is seen while the job
// runs.
func TestCancelLeavesWhatIsNotBegun(t *testing.T) {
	const devices = 40
	h := newJobNode(t, devices)
	defer h.stop()
	h.job("j", option(fmt.Sprintf(twinJob, "*"), `"maxDevicesPerSecond":10`))
	h.await("j", "begun", func(v *device.JobView) bool {
		c := v.Counts
		return v.Status == device.JobRunning && c.Succeeded > 2 && c.Succeeded+c.Open() == devices
	})
	if _, err := h.node.CancelJob(t.Context(), "j", device.Audit{}); err != nil {
		t.Fatal(err)
	}
	v := h.ended("j")
	if c := v.Counts; v.Status != device.JobCancelled || c.Succeeded < 3 || c.Cancelled == 0 || c.Succeeded+c.Cancelled != devices {
		t.Errorf("job %s %+v", v.Status, v.Counts)
	}
	changed := int64(0)
	for i := range devices {
		doc, err := h.node.Twin(t.Context(), device.Ref{Device: fmt.Sprintf("d%03d", i)})
		if err != nil {
			t.Fatal(err)
		}
		changed += doc.Twin.Desired.Version - 1
	}
	if changed != v.Counts.Succeeded {
		t.Errorf("%d twins were changed, the job says %d", changed, v.Counts.Succeeded)
	}
}

func TestCancelLetsCallsThatWereMadeHaveTheirOutcome(t *testing.T) {
	h := newJobNode(t, 2)
	defer h.stop()
	answer := make(chan struct{})
	h.answering("d000", func(m asked) (int, string) { <-answer; return 200, "7" })
	h.job("j", `{"type":"scheduleDeviceMethod","cloudToDeviceMethod":{"methodName":"m","responseTimeoutInSeconds":300},"queryCondition":"*"}`)
	h.await("j", "calling", func(v *device.JobView) bool { return v.Counts.Running == 1 && v.Counts.Pending == 1 })
	if _, err := h.node.CancelJob(t.Context(), "j", device.Audit{}); err != nil {
		t.Fatal(err)
	}
	h.await("j", "cancelled for the other", func(v *device.JobView) bool { return v.Counts.Running == 1 && v.Counts.Cancelled == 1 && !v.Settled })
	close(answer)
	if v, want := h.ended("j"), (device.JobCounts{Total: 2, Succeeded: 1, Cancelled: 1}); v.Status != device.JobCancelled || v.Counts != want {
		t.Errorf("job %s %+v, want %+v", v.Status, v.Counts, want)
	}
}

func TestJobsAreForgottenAfterTheirHistory(t *testing.T) {
	h := newJobNode(t, 5)
	h.job("old", fmt.Sprintf(twinJob, "*"))
	h.ended("old")
	h.job("open", `{"type":"scheduleDeviceMethod","cloudToDeviceMethod":{"methodName":"m"},"queryCondition":"*"}`)
	h.await("open", "picked", func(v *device.JobView) bool { return v.Counts.Pending == 5 })
	h.stop()
	h.start() // nothing is forgotten within the 30 days
	h.await("old", "kept over a restart", func(v *device.JobView) bool { return v.Counts.Succeeded == 5 })
	if rows := h.rows("jobId = 'old'"); len(rows) != 5 {
		t.Errorf("%d rows after a restart", len(rows))
	}
	h.stop()
	n, err := actors.Start(t.Context(), actors.Options{
		Log: h.log, Cluster: joinCluster, Hub: "hub", Data: h.dir, Partitions: 2, CommitEvery: 20 * time.Millisecond,
		JobHistory: time.Nanosecond,
	}, false)
	if err != nil {
		t.Fatal(err)
	}
	h.node = n
	defer h.stop()
	h.eventually("the end of the history", func() bool {
		_, err := n.Job(t.Context(), "old")
		return errors.Is(err, device.ErrJobNotFound)
	})
	if rows := h.rows("jobId = 'old'"); len(rows) != 0 {
		t.Errorf("rows of a job that is forgotten: %s", rows)
	}
	if v, err := n.Job(t.Context(), "open"); err != nil || v.Counts.Pending != 5 {
		t.Errorf("a job that has not ended: %+v, %v", v.Counts, err)
	}
	h.job("old", fmt.Sprintf(twinJob, "*")) // its name is free again
}

// TestDeviceThatCannotBeCalledHasNoIntent: it is connected and has not
// subscribed to methods.
func TestDeviceThatCannotBeCalledHasNoIntent(t *testing.T) {
	h := newJobNode(t, 4)
	defer h.stop()
	deaf := device.Ref{Device: "d000"}
	if err := h.node.Attach(t.Context(), deaf, actors.Attachment{ID: "s", Session: newPhone(), Check: func(*device.Identity) error { return nil }}); err != nil {
		t.Fatal(err)
	}
	h.node.Presence(t.Context(), actors.Connection{Ref: deaf, Session: "s", Connected: true})
	for i := range 3 {
		h.answering(fmt.Sprintf("d%03d", i+1), func(m asked) (int, string) { return 200, m.payload })
	}
	h.job("j", `{"type":"scheduleDeviceMethod","cloudToDeviceMethod":{"methodName":"m"},"queryCondition":"*"}`)
	h.await("j", "done with the others", func(v *device.JobView) bool { return v.Counts.Succeeded == 3 && v.Counts.Pending == 1 })
	var row struct{ CreatedDateTimeUTC, LastUpdatedDateTimeUTC time.Time }
	rows := h.rows("jobId = 'j' AND deviceId = 'd000'")
	if err := json.Unmarshal([]byte(rows[0]), &row); err != nil || !row.CreatedDateTimeUTC.Equal(row.LastUpdatedDateTimeUTC) {
		t.Errorf("a step was recorded: %s, %v", rows, err)
	}
	h.node.Ready(deaf, "s", ingest.FeatureMethods, true)
	h.await("j", "calling the device once it has subscribed", func(v *device.JobView) bool { return v.Counts.Running == 1 })
}
