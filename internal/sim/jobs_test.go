package sim

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gemello/gemello/device"
)

var jobDevices = flag.Int("job-devices", 200, "devices of the jobs that survive kills")

// jobRig is a log, a node, and devices that are connected whenever they can be.
type jobRig struct {
	*testing.T
	ctx     context.Context
	node    *node
	at      atomic.Pointer[endpoint]
	devices []*jobDevice
	online  atomic.Int64
}

func newJobRig(t *testing.T) *jobRig {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute+time.Duration(*jobDevices)*100*time.Millisecond)
	o, address := buildAndStartLog(t, ctx)
	// Thousands of handshakes after each kill would be what is measured.
	plain := loopback(1) + ":0"
	r := &jobRig{T: t, ctx: ctx, node: newNode(o, "node", 1, "--kafka", address, "--hub", "verify_jobs", "--listeners.mqtt", plain)}
	r.start()
	t.Cleanup(func() { r.node.kill() })
	r.makeDevices()
	var staying sync.WaitGroup
	dialing := make(chan struct{}, 64)
	for _, d := range r.devices {
		staying.Go(func() { d.stay(ctx, &r.at, dialing, &r.online) })
	}
	t.Cleanup(func() { cancel(); staying.Wait() })
	return r
}

func (r *jobRig) start() {
	r.Helper()
	at, err := r.node.start(r.ctx, 500)
	if err != nil {
		r.Fatal(err)
	}
	r.at.Store(at)
}

func (r *jobRig) makeDevices() {
	r.Helper()
	var g errgroup.Group
	g.SetLimit(32)
	r.devices = make([]*jobDevice, *jobDevices)
	for i := range r.devices {
		d := &jobDevice{id: fmt.Sprintf("d%05d", i), ran: map[string]int{}}
		r.devices[i] = d
		g.Go(func() (err error) { d.key, err = r.node.device(r.ctx, d.id); return err })
	}
	if err := g.Wait(); err != nil {
		r.Fatal(err)
	}
}

// connected waits until every device is.
func (r *jobRig) connected() {
	r.Helper()
	for r.online.Load() < int64(len(r.devices)) {
		if !pause(r.ctx, 5*lookEvery) {
			r.Fatalf("%d of %d devices are connected", r.online.Load(), len(r.devices))
		}
	}
}

// jobState is what is read of a job.
type jobState struct {
	Status device.JobStatus
	Counts device.JobCounts `json:"deviceJobStatistics"`
}

func (r *jobRig) await(id, what string, ok func(jobState) bool) jobState {
	r.Helper()
	for {
		var s jobState
		if err := r.node.call(r.ctx, http.MethodGet, "/jobs/"+id, nil, &s); err != nil {
			r.Fatal(err)
		}
		if ok(s) {
			return s
		}
		if !pause(r.ctx, 5*lookEvery) {
			r.Fatalf("job %s is not %s: %+v", id, what, s)
		}
	}
}

// run runs a job to its end. It kills the node each time another fifth of the
// devices is done, as often as kills says.
func (r *jobRig) run(id string, job map[string]any, kills int) (jobState, time.Duration) {
	r.Helper()
	r.connected()
	began := time.Now()
	job["queryCondition"] = "*"
	if kills > 0 {
		job["maxDevicesPerSecond"] = max(1, len(r.devices)/4) // so that no kill comes too late
	}
	if err := r.node.call(r.ctx, http.MethodPut, "/jobs/"+id, job, nil); err != nil {
		r.Fatal(err)
	}
	total := int64(len(r.devices))
	for kill := range kills {
		share := total * int64(kill+1) / 5
		s := r.await(id, "begun", func(s jobState) bool { return s.Counts.Succeeded+s.Counts.Failed >= share })
		if s.Status.Ended() {
			r.Fatalf("job %s ended before kill %d", id, kill+1)
		}
		r.node.kill()
		r.start()
	}
	s := r.await(id, "ended", func(s jobState) bool { return s.Status.Ended() })
	c := s.Counts
	if s.Status != device.JobCompleted || c.Total != total || c.Succeeded+c.Failed != total || c.Open()+c.Cancelled != 0 {
		r.Errorf("job %s is %s: %+v, want %d devices", id, s.Status, c, total)
	}
	return s, time.Since(began)
}

// jobOutcome is a row of devices.jobs.
type jobOutcome struct {
	DeviceID string
	Status   device.JobStatus
	Error    device.JobRowFailure
	Outcome  struct {
		Response struct {
			Status  int
			Payload json.RawMessage
		} `json:"deviceMethodResponse"`
	}
}

// outcomes reads the rows of a job: one for each device, all with an outcome,
// and as many of each kind as the statistics say.
func (r *jobRig) outcomes(id string, s jobState) map[string]jobOutcome {
	r.Helper()
	rows := map[string]jobOutcome{}
	counts := device.JobCounts{}
	r.rows("SELECT * FROM devices.jobs WHERE devices.jobs.jobId = '"+id+"'", func(raw json.RawMessage) {
		var row jobOutcome
		if err := json.Unmarshal(raw, &row); err != nil {
			r.Fatal(err)
		}
		if _, twice := rows[row.DeviceID]; twice {
			r.Errorf("job %s has two rows of %s", id, row.DeviceID)
		}
		rows[row.DeviceID] = row
		counts.Total++
		counts.Add(row.Status, 1)
	})
	if counts != s.Counts {
		r.Errorf("the rows of job %s are %+v, its statistics %+v", id, counts, s.Counts)
	}
	for _, d := range r.devices {
		if row, ok := rows[d.id]; !ok || !row.Status.Ended() {
			r.Errorf("job %s: %s has no outcome: %+v", id, d.id, row)
		}
	}
	return rows
}

// rows reads all pages of a query.
func (r *jobRig) rows(query string, visit func(json.RawMessage)) {
	r.Helper()
	next := ""
	for {
		var page []json.RawMessage
		h := http.Header{"X-Ms-Max-Item-Count": {"1000"}}
		if next != "" {
			h.Set("x-ms-continuation", next)
		}
		answer, err := r.node.ask(r.ctx, http.MethodPost, "/query", map[string]string{"query": query}, &page, h)
		if err != nil {
			r.Fatal(err)
		}
		for _, row := range page {
			visit(row)
		}
		if next = answer.Get("x-ms-continuation"); next == "" {
			return
		}
	}
}

// TestJobsSurviveKills kills the node three times while a job changes twins and
// three times while one calls methods: every device has one outcome, the counts
// add up, no twin is changed twice and no method is called twice.
func TestJobsSurviveKills(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the binary and runs it")
	}
	r := newJobRig(t)
	twin := func() map[string]any {
		return map[string]any{"type": device.JobTwin, "updateTwin": map[string]any{"properties": map[string]any{"desired": map[string]int{"rate": 5}}}}
	}
	method := func(name string) map[string]any {
		return map[string]any{"type": device.JobMethod, "cloudToDeviceMethod": map[string]any{"methodName": name}}
	}
	s, took := r.run("twin", twin(), 3)
	for id, row := range r.outcomes("twin", s) {
		if row.Status != device.JobCompleted {
			t.Errorf("%s is %s: %+v", id, row.Status, row.Error)
		}
	}
	r.versions(2)
	t.Logf("twin job, 3 kills: %s, %+v", took.Round(time.Millisecond), s.Counts)

	s, took = r.run("method", method(slowMethod), 3)
	unknown := r.methods("method", slowMethod, s)
	t.Logf("method job, 3 kills: %s, %+v, %d outcomes unknown", took.Round(time.Millisecond), s.Counts, unknown)

	s, took = r.run("twin-alone", twin(), 0)
	t.Logf("twin job: %s, %.0f devices/s", took.Round(time.Millisecond), float64(s.Counts.Total)/took.Seconds())
	r.outcomes("twin-alone", s)
	r.versions(3)
	s, took = r.run("method-alone", method("blink"), 0)
	t.Logf("method job: %s, %.0f devices/s", took.Round(time.Millisecond), float64(s.Counts.Total)/took.Seconds())
	if unknown := r.methods("method-alone", "blink", s); s.Counts.Failed+int64(unknown) != 0 {
		t.Errorf("without a kill %+v, %d outcomes unknown", s.Counts, unknown)
	}
}

// versions compares every twin's version of the desired properties.
func (r *jobRig) versions(want int64) {
	r.Helper()
	seen := 0
	r.rows("SELECT deviceId, properties.desired.$version AS version FROM devices", func(raw json.RawMessage) {
		var row struct {
			DeviceID string
			Version  int64
		}
		if err := json.Unmarshal(raw, &row); err != nil {
			r.Fatal(err)
		}
		seen++
		if row.Version != want {
			r.Errorf("%s has version %d of its desired properties, want %d", row.DeviceID, row.Version, want)
		}
	})
	if seen != len(r.devices) {
		r.Errorf("%d twins, want %d", seen, len(r.devices))
	}
}

// methods compares the rows of a method job with what the devices have run, and
// returns how many outcomes a kill hides.
func (r *jobRig) methods(id, method string, s jobState) (unknown int) {
	r.Helper()
	rows := r.outcomes(id, s)
	known := []string{device.JobCodeUnknown, device.ErrorName(device.ErrConnection), device.ErrorName(device.ErrNoAnswer)}
	for _, d := range r.devices {
		row, ran := rows[d.id], d.count(method)
		switch {
		case row.Status == device.JobCompleted && (ran != 1 || string(row.Outcome.Response.Payload) != answerOf(d.id, 1) || row.Outcome.Response.Status != 200):
			r.Errorf("%s ran %s %d times, and its row is %+v", d.id, method, ran, row)
		case row.Status == device.JobFailed && (ran > 1 || !slices.Contains(known, row.Error.Code)):
			r.Errorf("%s ran %s %d times, and failed with %+v", d.id, method, ran, row.Error)
		case row.Status == device.JobFailed:
			unknown++
		}
	}
	return unknown
}
