package device

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Limits of jobs (azure-iot-wire 8, 11).
const (
	MaxJobBody         = 256 << 10 // bytes of a job's document
	MaxJobExecution    = 30 * 24 * time.Hour
	DefaultJobTime     = time.Hour
	MaxActiveJobs      = 100 // that have not ended, a hub
	JobHistory         = 30 * 24 * time.Hour
	MaxJobError        = 1 << 10 // bytes of a device's error text
	maxResponseTimeout = int(MaxResponseTimeout / time.Second)
	maxConnectTimeout  = int(MaxConnectTimeout / time.Second)
)

// Errors of jobs.
var (
	ErrJobExists   = errors.New("job already exists") // 409, JobAlreadyExists
	ErrJobNotFound = errors.New("job not found")      // 404002
	ErrJobEnded    = errors.New("the job has ended")  // 400003
	ErrJobQuota    = errors.New("too many jobs")      // 403, JobQuotaExceeded
)

// JobType is what a job does to each of its devices.
type JobType string

// The types of jobs, as the wire spells them.
const (
	JobTwin   JobType = "scheduleUpdateTwin"
	JobMethod JobType = "scheduleDeviceMethod"
)

// JobStatus is where a job, or a device in it, stands. Clients refuse other
// spellings.
type JobStatus string

// The statuses. A device of a job is scheduled until its step begins.
const (
	JobQueued    JobStatus = "queued"
	JobScheduled JobStatus = "scheduled"
	JobRunning   JobStatus = "running"
	JobCompleted JobStatus = "completed"
	JobFailed    JobStatus = "failed"
	JobCancelled JobStatus = "cancelled"
)

// Ended reports whether nothing follows the status.
func (s JobStatus) Ended() bool { return s == JobCompleted || s == JobFailed || s == JobCancelled }

// Job is scheduled work on the devices that a condition picks. It is stored as
// JSON (docs/format/device-state.md).
type Job struct {
	ID        string          `json:"jobId"`
	Type      JobType         `json:"type"`
	Method    json.RawMessage `json:"cloudToDeviceMethod,omitempty"`
	Twin      json.RawMessage `json:"updateTwin,omitempty"`
	Condition string          `json:"queryCondition"`
	Start     time.Time       `json:"startTime"`                 // when it may begin
	Seconds   int             `json:"maxExecutionTimeInSeconds"` // from Start until its devices are given up
	// Rate bounds how many devices are begun in a second, and Halt ends the job
	// when more than so many percent of the devices done have failed; 0 is no
	// bound.
	Rate int `json:"maxDevicesPerSecond,omitempty"`
	Halt int `json:"haltAboveFailedPercent,omitempty"`

	Status  JobStatus `json:"status"`
	Created time.Time `json:"createdTime"`
	Ended   time.Time `json:"endTime,omitzero"`
	Reason  string    `json:"failureReason,omitempty"`
	// Settled says that all partitions know of the end.
	Settled bool `json:"settled,omitempty"`
}

// jobMethod is the member cloudToDeviceMethod.
type jobMethod struct {
	Name     string          `json:"methodName"`
	Payload  json.RawMessage `json:"payload"`
	Response *int            `json:"responseTimeoutInSeconds"`
	Connect  int             `json:"connectTimeoutInSeconds"`
}

// ParseJob reads the document that creates a job. The error wraps ErrFormat,
// ErrArgument or ErrTooLarge. The condition is not looked at.
func ParseJob(id string, body []byte) (Job, error) {
	var in struct {
		ID        *string         `json:"jobId"`
		Type      JobType         `json:"type"`
		Method    json.RawMessage `json:"cloudToDeviceMethod"`
		Twin      json.RawMessage `json:"updateTwin"`
		Condition *string         `json:"queryCondition"`
		Start     *string         `json:"startTime"`
		Seconds   *int            `json:"maxExecutionTimeInSeconds"`
		Rate      int             `json:"maxDevicesPerSecond"`
		Halt      int             `json:"haltAboveFailedPercent"`
	}
	if len(body) > MaxJobBody {
		return Job{}, fmt.Errorf("%w: the job has %d bytes, %d are allowed", ErrTooLarge, len(body), MaxJobBody)
	}
	if err := json.Unmarshal(body, &in); err != nil {
		var kind *json.UnmarshalTypeError
		if errors.As(err, &kind) {
			return Job{}, fmt.Errorf("%w: the member %q can't hold a JSON %s", ErrArgument, kind.Field, kind.Value)
		}
		return Job{}, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if err := ValidID(id); err != nil {
		return Job{}, fmt.Errorf("job: %w", err)
	}
	j := Job{ID: id, Type: in.Type, Seconds: int(DefaultJobTime / time.Second), Rate: in.Rate, Halt: in.Halt}
	if in.Condition != nil {
		j.Condition = *in.Condition
	}
	if in.Seconds != nil && *in.Seconds != 0 {
		j.Seconds = *in.Seconds
	}
	if in.Start != nil && *in.Start != "" {
		at, err := time.Parse(time.RFC3339Nano, *in.Start)
		if err != nil {
			return Job{}, fmt.Errorf("%w: startTime %q is no time like 2026-01-02T03:04:05Z", ErrArgument, clipText(*in.Start))
		}
		j.Start = at.UTC()
	}
	switch {
	case in.ID != nil && *in.ID != "" && *in.ID != id:
		return Job{}, fmt.Errorf("%w: the body's jobId %q is not the path's %q", ErrArgument, clipText(*in.ID), id)
	case j.Seconds < 1 || time.Duration(j.Seconds) > MaxJobExecution/time.Second:
		return Job{}, fmt.Errorf("%w: maxExecutionTimeInSeconds is %d, 1 to %d are allowed", ErrArgument, j.Seconds, MaxJobExecution/time.Second)
	case j.Rate < 0 || j.Halt < 0 || j.Halt > 100:
		return Job{}, fmt.Errorf("%w: maxDevicesPerSecond is at least 0, haltAboveFailedPercent 0 to 100", ErrArgument)
	}
	switch j.Type {
	case JobTwin:
		if !isObject(in.Twin) {
			return Job{}, fmt.Errorf("%w: %s needs updateTwin", ErrArgument, j.Type)
		}
		j.Twin = compactJSON(in.Twin)
		_, _, err := j.TwinChange()
		return j, err
	case JobMethod:
		if !isObject(in.Method) {
			return Job{}, fmt.Errorf("%w: %s needs cloudToDeviceMethod", ErrArgument, j.Type)
		}
		j.Method = compactJSON(in.Method)
		_, err := j.MethodCall()
		return j, err
	}
	return Job{}, fmt.Errorf("%w: type %q, allowed are %s and %s", ErrArgument, clipText(string(j.Type)), JobTwin, JobMethod)
}

func isObject(b json.RawMessage) bool { b = bytes.TrimSpace(b); return len(b) > 0 && b[0] == '{' }

func clipText(s string) string { return s[:min(len(s), 64)] }

func compactJSON(b []byte) json.RawMessage {
	var out bytes.Buffer
	if json.Compact(&out, b) != nil {
		return b
	}
	return out.Bytes()
}

// TwinChange returns the change of a twin job and the etag that it depends on.
func (j *Job) TwinChange() (body []byte, ifMatch string, err error) {
	var in struct {
		ETag *string `json:"etag"`
	}
	if err := json.Unmarshal(j.Twin, &in); err != nil {
		return nil, "", fmt.Errorf("%w: updateTwin: %w", ErrArgument, err)
	}
	if _, err := parseServicePatch(j.Twin); err != nil {
		return nil, "", fmt.Errorf("updateTwin: %w", err)
	}
	if in.ETag != nil {
		ifMatch = *in.ETag
	}
	return j.Twin, ifMatch, nil
}

// MethodCall returns the call of a method job.
func (j *Job) MethodCall() (MethodCall, error) {
	var in jobMethod
	if err := json.Unmarshal(j.Method, &in); err != nil {
		return MethodCall{}, fmt.Errorf("%w: cloudToDeviceMethod: %w", ErrArgument, err)
	}
	response := int(DefaultMethodResponse / time.Second)
	if in.Response != nil && *in.Response != 0 {
		response = *in.Response
	}
	if response < int(MinResponseTimeout/time.Second) || response > maxResponseTimeout || in.Connect < 0 || in.Connect > maxConnectTimeout {
		return MethodCall{}, fmt.Errorf("%w: responseTimeoutInSeconds is 5 to %d, connectTimeoutInSeconds 0 to %d", ErrArgument, maxResponseTimeout, maxConnectTimeout)
	}
	c := MethodCall{
		Name: in.Name, Payload: in.Payload,
		ConnectTimeout: time.Duration(in.Connect) * time.Second, ResponseTimeout: time.Duration(response) * time.Second,
	}
	return c, c.Check()
}

// Deadline is when devices that have not been begun are given up.
func (j *Job) Deadline() time.Time { return j.Start.Add(time.Duration(j.Seconds) * time.Second) }

// Over reports whether a job that has ended has been kept for as long as history
// says.
func (j *Job) Over(now time.Time, history time.Duration) bool {
	return j.Settled && now.Sub(j.Ended) > history
}

// Actions that change a job; they are the header action of its records.
const (
	JobActionCreate  = "create"
	JobActionStart   = "start"
	JobActionHalt    = "halt"
	JobActionEnd     = "end"
	JobActionCancel  = "cancel"
	JobActionSettled = "settled"
	JobActionForget  = "forget"
)

// Create makes a job of what a client asks for.
func (j *Job) Create(at time.Time) {
	j.Created, j.Ended, j.Reason, j.Settled = at, time.Time{}, "", false
	j.Status = JobScheduled
	if !j.Start.After(at) {
		j.Start, j.Status = at, JobQueued
	}
}

// Step changes a job by one of the actions but create and forget. reason says
// why a job is halted or can't run. An action that the job is past changes
// nothing; to cancel a job that has ended is ErrJobEnded.
func (j *Job) Step(action, reason string, at time.Time) error {
	switch action {
	case JobActionStart:
		if j.Status == JobQueued || j.Status == JobScheduled {
			j.Status = JobRunning
		}
	case JobActionHalt:
		if !j.Status.Ended() {
			j.Reason = reason
		}
	case JobActionEnd:
		if !j.Status.Ended() {
			j.Status, j.Ended, j.Settled = JobCompleted, at, true
			if reason != "" {
				j.Reason = reason
			}
			if j.Reason != "" {
				j.Status = JobFailed
			}
		}
	case JobActionCancel:
		if j.Status.Ended() {
			return fmt.Errorf("%w: %s is %s", ErrJobEnded, j.ID, j.Status)
		}
		j.Status, j.Ended = JobCancelled, at
	case JobActionSettled:
		if j.Status.Ended() {
			j.Settled = true
		}
	default:
		return fmt.Errorf("%w: action %q of a job", ErrArgument, clipText(action))
	}
	return nil
}
