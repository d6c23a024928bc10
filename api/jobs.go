package api

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/credential"
)

// Jobs schedules work on many devices (azure-iot-wire 5.6, 8). Its methods may be
// called from any goroutine and return errors that wrap those of package device
// or of this one.
type Jobs interface {
	CreateJob(ctx context.Context, j device.Job, a device.Audit) (device.JobView, error)
	CancelJob(ctx context.Context, id string, a device.Audit) (device.JobView, error)
	Job(ctx context.Context, id string) (device.JobView, error)
	// Jobs returns up to limit jobs of a type and status, "" for any, with ids
	// above after, in order of id.
	Jobs(ctx context.Context, t device.JobType, s device.JobStatus, after string, limit int) ([]device.JobView, error)
}

// Limits of a listing of jobs.
const (
	maxJobsPage     = 1000
	defaultJobsPage = 100
)

func (s *Service) jobRoutes(c *call) map[string]operation {
	switch {
	case len(c.path) == 3 && c.word(2, "query") && c.r.Method == http.MethodGet:
		return map[string]operation{http.MethodGet: {"list_jobs", credential.ServiceConnect, s.listJobs}}
	case len(c.path) == 3:
		return map[string]operation{
			http.MethodPut: {"create_job", credential.ServiceConnect, s.createJob},
			http.MethodGet: {"get_job", credential.ServiceConnect, s.getJob},
		}
	case len(c.path) == 4 && c.word(3, "cancel"):
		return map[string]operation{http.MethodPost: {"cancel_job", credential.ServiceConnect, s.cancelJob}}
	}
	return nil
}

func (a *Admin) jobRoutes(c *call) map[string]adminOperation {
	none := a.o.Jobs == nil
	switch {
	case len(c.path) == 3:
		return map[string]adminOperation{"GET": {"list_jobs", none, a.listJobs}}
	case len(c.path) == 4:
		return map[string]adminOperation{
			"PUT": {"create_job", none, a.createJob},
			"GET": {"get_job", none, a.getJob},
		}
	case len(c.path) == 5 && c.word(4, "cancel"):
		return map[string]adminOperation{"POST": {"cancel_job", none, a.cancelJob}}
	}
	return nil
}

func (s *Service) createJob(ctx context.Context, c *call) error {
	return createJob(ctx, c, s.jobs, c.path[2])
}

func (a *Admin) createJob(ctx context.Context, c *call) error {
	return createJob(ctx, c, a.o.Jobs, c.path[3])
}

func createJob(ctx context.Context, c *call, jobs Jobs, id string) error {
	if jobs == nil {
		return fmt.Errorf("%w: jobs", ErrNotYet)
	}
	body, err := c.body(device.MaxJobBody)
	if err != nil {
		return err
	}
	j, err := device.ParseJob(id, body)
	if err != nil {
		return err
	}
	v, err := jobs.CreateJob(ctx, j, c.audit)
	return c.replyJob(&v, err)
}

func (s *Service) getJob(ctx context.Context, c *call) error {
	return getJob(ctx, c, s.jobs, c.path[2])
}

func (a *Admin) getJob(ctx context.Context, c *call) error {
	return getJob(ctx, c, a.o.Jobs, c.path[3])
}

func getJob(ctx context.Context, c *call, jobs Jobs, id string) error {
	if jobs == nil {
		return fmt.Errorf("%w: jobs", ErrNotYet)
	}
	v, err := jobs.Job(ctx, id)
	return c.replyJob(&v, err)
}

func (s *Service) cancelJob(ctx context.Context, c *call) error {
	return cancelJob(ctx, c, s.jobs, c.path[2])
}

func (a *Admin) cancelJob(ctx context.Context, c *call) error {
	return cancelJob(ctx, c, a.o.Jobs, c.path[3])
}

func cancelJob(ctx context.Context, c *call, jobs Jobs, id string) error {
	if jobs == nil {
		return fmt.Errorf("%w: jobs", ErrNotYet)
	}
	v, err := jobs.CancelJob(ctx, id, c.audit)
	return c.replyJob(&v, err)
}

func (c *call) replyJob(v *device.JobView, err error) error {
	if err != nil {
		return err
	}
	b, err := v.AppendJSON(nil)
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, b)
}

func (s *Service) listJobs(ctx context.Context, c *call) error { return listJobs(ctx, c, s.jobs) }

func (a *Admin) listJobs(ctx context.Context, c *call) error { return listJobs(ctx, c, a.o.Jobs) }

// listJobs answers a page of jobs. Page size and continuation come as headers
// or, from older clients, in the query string.
func listJobs(ctx context.Context, c *call, jobs Jobs) error {
	if jobs == nil {
		return fmt.Errorf("%w: jobs", ErrNotYet)
	}
	v := c.r.URL.Query()
	first := func(header, parameter string) string {
		if h := c.r.Header.Get(header); h != "" {
			return h
		}
		return v.Get(parameter)
	}
	limit := defaultJobsPage
	if text := first("x-ms-max-item-count", "pageSize"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxJobsPage {
			return fmt.Errorf("%w: page size %.20q, allowed is 1 to %d", device.ErrArgument, text, maxJobsPage)
		}
		limit = n
	}
	after := ""
	if text := first("x-ms-continuation", "continuationToken"); text != "" {
		b, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil || device.ValidID(string(b)) != nil {
			return fmt.Errorf("%w: not a continuation of a listing of jobs", device.ErrArgument)
		}
		after = string(b)
	}
	kind, status, err := jobFilter(v.Get("jobType"), v.Get("jobStatus"))
	if err != nil {
		return err
	}
	page, err := jobs.Jobs(ctx, kind, status, after, limit+1)
	if err != nil {
		return err
	}
	h := c.w.Header()
	h.Set("x-ms-item-type", "JobResponse")
	if len(page) > limit {
		page = page[:limit]
		h.Set("x-ms-continuation", base64.RawURLEncoding.EncodeToString([]byte(page[limit-1].ID)))
	}
	body := []byte{'['}
	for i := range page {
		if i > 0 {
			body = append(body, ',')
		}
		if body, err = page[i].AppendJSON(body); err != nil {
			return err
		}
	}
	return c.reply(http.StatusOK, append(body, ']'))
}

// jobFilter reads a type and status of jobs; clients spell some in other ways.
func jobFilter(kind, status string) (t device.JobType, s device.JobStatus, err error) {
	for _, known := range []device.JobType{device.JobTwin, device.JobMethod} {
		if strings.EqualFold(kind, string(known)) {
			t = known
		}
	}
	if kind != "" && t == "" && !strings.EqualFold(kind, "unknown") {
		return "", "", fmt.Errorf("%w: jobType %.40q, allowed are %s and %s", device.ErrArgument, kind, device.JobTwin, device.JobMethod)
	}
	switch status = strings.ToLower(status); status {
	case "finished":
		s = device.JobCompleted
	case "canceled":
		s = device.JobCancelled
	case "enqueued", "pending":
		s = device.JobQueued
	case "", "unknown":
	default:
		s = device.JobStatus(status)
		switch s {
		case device.JobQueued, device.JobScheduled, device.JobRunning, device.JobCompleted, device.JobFailed, device.JobCancelled:
		default:
			return "", "", fmt.Errorf("%w: jobStatus %.40q, allowed are queued, scheduled, running, completed, failed and cancelled", device.ErrArgument, status)
		}
	}
	return t, s, nil
}
