package api

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/gemello/gemello/device"
)

// fakeJobs keeps jobs by the rules of package device.
type fakeJobs struct {
	jobs   map[string]device.Job
	counts device.JobCounts
}

func (f *fakeJobs) CreateJob(_ context.Context, j device.Job, _ device.Audit) (device.JobView, error) {
	if _, ok := f.jobs[j.ID]; ok {
		return device.JobView{}, fmt.Errorf("%w: %s", device.ErrJobExists, j.ID)
	}
	if len(f.jobs) >= device.MaxActiveJobs {
		return device.JobView{}, device.ErrJobQuota
	}
	j.Create(testTime)
	f.jobs[j.ID] = j
	return device.JobView{Job: j, Fresh: true}, nil
}

func (f *fakeJobs) CancelJob(ctx context.Context, id string, _ device.Audit) (device.JobView, error) {
	j, ok := f.jobs[id]
	if !ok {
		return f.Job(ctx, id)
	}
	if err := j.Step(device.JobActionCancel, "", testTime); err != nil {
		return device.JobView{}, err
	}
	f.jobs[id] = j
	return f.Job(ctx, id)
}

func (f *fakeJobs) Job(_ context.Context, id string) (device.JobView, error) {
	j, ok := f.jobs[id]
	if !ok {
		return device.JobView{}, fmt.Errorf("%w: %s", device.ErrJobNotFound, id)
	}
	return device.JobView{Job: j, Counts: f.counts}, nil
}

func (f *fakeJobs) Jobs(_ context.Context, t device.JobType, s device.JobStatus, after string, limit int) ([]device.JobView, error) {
	var out []device.JobView
	for _, id := range slices.Sorted(maps.Keys(f.jobs)) {
		j := f.jobs[id]
		if id > after && (t == "" || t == j.Type) && (s == "" || s == j.Status) && len(out) < limit {
			out = append(out, device.JobView{Job: j})
		}
	}
	return out, nil
}

func jobsBench(t *testing.T) (*bench, *fakeJobs) {
	b := newBench(t)
	f := &fakeJobs{jobs: map[string]device.Job{}}
	b.service.jobs = f
	return b, f
}

const someJob = `{"type":"scheduleDeviceMethod","cloudToDeviceMethod":{"methodName":"m","payload":null},"updateTwin":null,"queryCondition":"*"}`

func TestJobIsQueuedRightAfterItsCreation(t *testing.T) {
	b, _ := jobsBench(t)
	for _, start := range []string{"null", `"2999-01-01T00:00:00.000Z"`} {
		id := "j" + fmt.Sprint(len(start))
		w := b.do("PUT", "/jobs/v2/"+id, strings.Replace(someJob, `{"type"`, `{"startTime":`+start+`,"type"`, 1))
		if body := w.Body.String(); w.Code != 200 || !strings.Contains(body, `"status":"queued"`) || strings.Contains(body, `"updateTwin"`) || strings.Contains(body, "endTime") {
			t.Errorf("start %s: %d %s", start, w.Code, body)
		}
	}
	w := b.do("GET", "/jobs/v2/j26", "")
	if w.Code != 200 || !strings.Contains(w.Body.String(), `"status":"scheduled"`) || !strings.Contains(w.Body.String(), `"deviceJobStatistics":{"deviceCount":0,`) {
		t.Errorf("a job with a start to come: %d %s", w.Code, w.Body)
	}
	// Java cancels with a body, Node without.
	if w := b.do("POST", "/jobs/v2/j26/cancel", "{}"); w.Code != 200 || !strings.Contains(w.Body.String(), `"status":"cancelled"`) {
		t.Errorf("cancel: %d %s", w.Code, w.Body)
	}
}

func TestJobErrorsHaveTheirCodes(t *testing.T) {
	b, f := jobsBench(t)
	b.do("PUT", "/jobs/v2/j", someJob)
	b.do("PUT", "/jobs/v2/ended", someJob)
	b.do("POST", "/jobs/v2/ended/cancel", "")
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		code                     string
	}{
		{"the name is taken", "PUT", "/jobs/v2/j", someJob, 409, "JobAlreadyExists"},
		{"unknown job", "GET", "/jobs/v2/none", "", 404, "JobNotFound"},
		{"cancel of an unknown job", "POST", "/jobs/v2/none/cancel", "", 404, "JobNotFound"},
		{"cancel of a job that has ended", "POST", "/jobs/v2/ended/cancel", "", 400, "InvalidOperation"},
		{"no JSON", "PUT", "/jobs/v2/k", "{", 400, "IotHubFormatError"},
		{"unknown type", "PUT", "/jobs/v2/k", `{"type":"x"}`, 400, "ArgumentInvalid"},
		{"too large", "PUT", "/jobs/v2/k", `{"type":"` + strings.Repeat("x", device.MaxJobBody) + `"}`, 413, "MessageTooLarge"},
		{"unknown status", "GET", "/jobs/v2/query?api-version=2021-04-12&jobStatus=odd", "", 400, "ArgumentInvalid"},
		{"unknown filter", "GET", "/jobs/v2/query?api-version=2021-04-12&jobType=odd", "", 400, "ArgumentInvalid"},
		{"page too large", "GET", "/jobs/v2/query?api-version=2021-04-12&pageSize=1001", "", 400, "ArgumentInvalid"},
		{"made-up continuation", "GET", "/jobs/v2/query?api-version=2021-04-12&continuationToken=%20", "", 400, "ArgumentInvalid"},
	} {
		w := b.do(c.method, c.path, c.body)
		if w.Code != c.status || w.Header().Get("iothub-errorcode") != c.code || !strings.Contains(w.Body.String(), "ErrorCode:"+c.code+";") {
			t.Errorf("%s: %d %s, want %d %s", c.name, w.Code, w.Body, c.status, c.code)
		}
	}
	for i := range device.MaxActiveJobs {
		f.jobs[fmt.Sprint(i)] = device.Job{ID: fmt.Sprint(i)}
	}
	if w := b.do("PUT", "/jobs/v2/more", someJob); w.Code != 403 || w.Header().Get("iothub-errorcode") != "JobQuotaExceeded" {
		t.Errorf("too many jobs: %d %s", w.Code, w.Body)
	}
}

func TestListOfJobsComesInPages(t *testing.T) {
	b, f := jobsBench(t)
	for i := range 5 {
		id := fmt.Sprint("j", i)
		b.do("PUT", "/jobs/v2/"+id, someJob)
	}
	j := f.jobs["j3"]
	j.Status = device.JobCompleted
	f.jobs["j3"] = j
	pages, next := []string{}, ""
	for {
		w := b.do("GET", "/jobs/v2/query?api-version=2021-04-12&jobType=scheduleDeviceMethod", "", "x-ms-max-item-count", "2", "x-ms-continuation", next)
		if w.Code != 200 || w.Header().Get("x-ms-item-type") != "JobResponse" {
			t.Fatalf("%d %v %s", w.Code, w.Header(), w.Body)
		}
		pages = append(pages, fmt.Sprint(strings.Count(w.Body.String(), `"jobId"`)))
		if next = w.Header().Get("x-ms-continuation"); next == "" {
			if _, there := w.Header()["X-Ms-Continuation"]; there {
				t.Error("the last page has a continuation header")
			}
			break
		}
	}
	if got := strings.Join(pages, " "); got != "2 2 1" {
		t.Errorf("pages of %s jobs, want 2 2 1", got)
	}
	for query, want := range map[string]int{"jobStatus=finished": 1, "jobStatus=Completed": 1, "jobType=scheduleUpdateTwin": 0, "": 5} {
		w := b.do("GET", "/jobs/v2/query?api-version=2021-04-12&"+query, "")
		if got := strings.Count(w.Body.String(), `"jobId"`); got != want || w.Body.String()[0] != '[' {
			t.Errorf("%q: %d jobs, want %d", query, got, want)
		}
	}
}
