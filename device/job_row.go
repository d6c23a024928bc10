package device

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// JobCounts counts the devices of a job by where they stand.
type JobCounts struct {
	Total     int64 `json:"deviceCount"`
	Failed    int64 `json:"failedCount"`
	Succeeded int64 `json:"succeededCount"`
	Running   int64 `json:"runningCount"`
	Pending   int64 `json:"pendingCount"`
	Cancelled int64 `json:"cancelledCount,omitempty"`
}

// Add adds by devices of the status, without changing the total.
func (c *JobCounts) Add(s JobStatus, by int64) {
	switch s {
	case JobScheduled:
		c.Pending += by
	case JobRunning:
		c.Running += by
	case JobCompleted:
		c.Succeeded += by
	case JobFailed:
		c.Failed += by
	case JobCancelled:
		c.Cancelled += by
	}
}

// Sum adds the counts of another partition.
func (c *JobCounts) Sum(o JobCounts) {
	c.Total += o.Total
	c.Failed += o.Failed
	c.Succeeded += o.Succeeded
	c.Running += o.Running
	c.Pending += o.Pending
	c.Cancelled += o.Cancelled
}

// Open is how many devices have no outcome yet.
func (c *JobCounts) Open() int64 { return c.Pending + c.Running }

// JobRow is a device of a job. It is stored as JSON
// (docs/format/device-state.md).
type JobRow struct {
	Status  JobStatus      `json:"status"`
	Created time.Time      `json:"created"`
	Started time.Time      `json:"started,omitzero"`
	Updated time.Time      `json:"updated"`
	Ended   time.Time      `json:"ended,omitzero"`
	Driver  string         `json:"driver,omitempty"`  // the process that calls the device's method
	Result  *JobResult     `json:"outcome,omitempty"` // of a method
	Error   *JobRowFailure `json:"error,omitempty"`
}

// JobResult is what a device answered to a method.
type JobResult struct {
	Status  int             `json:"status"`
	Payload json.RawMessage `json:"payload"`
}

// JobRowFailure says why a device failed.
type JobRowFailure struct {
	Code        string `json:"code"` // a code name of azure-iot-wire 12, or one of the JobCode constants
	Description string `json:"description"`
}

// Codes of failures that jobs alone have.
const (
	JobCodeDeadline = "JobDeadlineExceeded" // the device was not begun, or not online, in time
	JobCodeUnknown  = "JobOutcomeUnknown"   // a crash hides whether the device has run the method
)

// JobView is a job as the service REST shows it (azure-iot-wire 5.6): members
// that have no value are left out, which Java's client insists on.
type JobView struct {
	Job
	Counts JobCounts
	// Fresh says that the job was made by this very request: it is queued then,
	// whenever it will start.
	Fresh bool
}

// AppendJSON appends the job's document.
func (v *JobView) AppendJSON(dst []byte) ([]byte, error) {
	status := v.Status
	if v.Fresh {
		status = JobQueued
	}
	message := ""
	if v.Reason != "" {
		message = v.Reason
	}
	b, err := json.Marshal(struct {
		ID        string          `json:"jobId"`
		Created   string          `json:"createdTime"`
		Start     string          `json:"startTime"`
		End       string          `json:"endTime,omitempty"`
		Seconds   int             `json:"maxExecutionTimeInSeconds"`
		Type      JobType         `json:"type"`
		Method    json.RawMessage `json:"cloudToDeviceMethod,omitempty"`
		Twin      json.RawMessage `json:"updateTwin,omitempty"`
		Condition string          `json:"queryCondition"`
		Rate      int             `json:"maxDevicesPerSecond,omitempty"`
		Halt      int             `json:"haltAboveFailedPercent,omitempty"`
		Status    JobStatus       `json:"status"`
		Reason    string          `json:"failureReason,omitempty"`
		Message   string          `json:"statusMessage,omitempty"`
		Counts    JobCounts       `json:"deviceJobStatistics"`
	}{
		v.ID, FormatTime(v.Created), FormatTime(v.Start), optionalTime(v.Ended), v.Seconds, v.Type, v.Method, v.Twin,
		v.Condition, v.Rate, v.Halt, status, v.Reason, message, v.Counts,
	})
	return append(dst, b...), err
}

func optionalTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return FormatTime(t)
}

// AppendRow appends a row of devices.jobs (azure-iot-wire 7.2).
func (j *Job) AppendRow(dst []byte, deviceID, moduleID string, r *JobRow) ([]byte, error) {
	type outcome struct {
		Response *JobResult `json:"deviceMethodResponse,omitempty"`
	}
	var out *outcome
	if r.Result != nil {
		out = &outcome{r.Result}
	}
	b, err := json.Marshal(struct {
		DeviceID string          `json:"deviceId"`
		ModuleID string          `json:"moduleId,omitempty"`
		JobID    string          `json:"jobId"`
		Type     JobType         `json:"jobType"`
		Status   JobStatus       `json:"status"`
		Start    string          `json:"startTimeUtc,omitempty"`
		End      string          `json:"endTimeUtc,omitempty"`
		Created  string          `json:"createdDateTimeUtc"`
		Updated  string          `json:"lastUpdatedDateTimeUtc"`
		Method   json.RawMessage `json:"cloudToDeviceMethod,omitempty"`
		Outcome  *outcome        `json:"outcome,omitempty"`
		Error    *JobRowFailure  `json:"error,omitempty"`
	}{
		deviceID, moduleID, j.ID, j.Type, r.Status, optionalTime(r.Started), optionalTime(r.Ended),
		FormatTime(r.Created), FormatTime(r.Updated), j.Method, out, r.Error,
	})
	return append(dst, b...), err
}

// Actions on one device of a job; they are the header action of its records.
const (
	StepApply   = "apply"   // change the twin
	StepCall    = "call"    // the driver is about to call the method
	StepRelease = "release" // it has not called it
	StepDone    = "done"    // body: the device's answer
	StepFail    = "fail"    // body: JobRowFailure
)

// Step changes a row by one of the actions but apply. It reports false when the
// row is past the action, which happens when a record is repeated; an error
// when the body can't be read, ErrFormat or ErrArgument.
func (r *JobRow) Step(action, driver string, body []byte, at time.Time) (bool, error) {
	mine := r.Status == JobRunning && r.Driver == driver
	switch action {
	case StepCall:
		if r.Status != JobScheduled {
			return false, nil
		}
		r.Status, r.Driver, r.Started, r.Updated = JobRunning, driver, at, at
	case StepRelease:
		if !mine {
			return false, nil
		}
		r.Status, r.Driver, r.Started, r.Updated = JobScheduled, "", time.Time{}, at
	case StepDone:
		var res JobResult
		if err := json.Unmarshal(body, &res); err != nil {
			return false, fmt.Errorf("%w: answer of a job's device: %w", ErrFormat, err)
		}
		if !mine {
			return false, nil
		}
		r.Result = &res
		r.End(JobCompleted, nil, at)
	case StepFail:
		var f JobRowFailure
		if err := json.Unmarshal(body, &f); err != nil {
			return false, fmt.Errorf("%w: failure of a job's device: %w", ErrFormat, err)
		}
		if r.Status.Ended() || r.Status == JobRunning && r.Driver != driver {
			return false, nil
		}
		r.End(JobFailed, &f, at)
	default:
		return false, fmt.Errorf("%w: action %q on a device of a job", ErrArgument, clipText(action))
	}
	return true, nil
}

// End gives the row its outcome.
func (r *JobRow) End(s JobStatus, f *JobRowFailure, at time.Time) {
	if f != nil {
		f.Description = f.Description[:min(len(f.Description), MaxJobError)]
	}
	if r.Started.IsZero() && s != JobCancelled {
		r.Started = at
	}
	r.Status, r.Error, r.Driver, r.Updated, r.Ended = s, f, "", at, at
}

// ErrorName returns the code name (azure-iot-wire 12) of what a step on a device
// was refused for.
func ErrorName(err error) string {
	for _, f := range [...]struct {
		err  error
		name string
	}{
		{ErrFormat, "IotHubFormatError"}, {ErrTooLarge, "MessageTooLarge"}, {ErrArgument, "ArgumentInvalid"},
		{ErrNotFound, "DeviceNotFound"}, {ErrModuleNotFound, "ModuleNotFound"}, {ErrPrecondition, "PreconditionFailed"}, {ErrNotOnline, "DeviceNotOnline"},
		{ErrConnection, "DeviceConnectionClosedRemotely"}, {ErrNoAnswer, "GatewayTimeout"}, {ErrBadAnswer, "InvalidResponseWhileProxying"},
	} {
		if errors.Is(err, f.err) {
			return f.name
		}
	}
	return "ServerError"
}
