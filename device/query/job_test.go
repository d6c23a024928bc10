package query

import "testing"

func TestConditionOverJobsReadsTheirRows(t *testing.T) {
	row := JobRow{Text: `{"deviceId":"d1","jobId":"j1","jobType":"scheduleDeviceMethod","status":"completed","createdDateTimeUtc":"2026-01-02T03:04:05Z","outcome":{"deviceMethodResponse":{"status":200,"payload":{"a":[1,2]}}}}`}
	for _, c := range []struct {
		where, job string
		want       bool
	}{
		{"devices.jobs.jobId = 'j1'", "j1", true},
		{"jobId = 'j2'", "j2", false},
		{"JOBID = 'j1' AND devices.jobs.status = 'completed'", "j1", true},
		{"'j1' = jobId AND status = 'failed'", "j1", false},
		{"jobId = 'j1' OR status = 'failed'", "", true},
		{"NOT jobId = 'j1'", "", false},
		{"devices.jobs.outcome.deviceMethodResponse.status = 200", "", true},
		{"outcome.deviceMethodResponse.payload.a[1] = 2", "", true},
		{"createdTimeUtc < '2026-02-01T00:00:00Z'", "", true},
		{"createdDateTimeUtc > '2026-02-01T00:00:00Z'", "", false},
		{"IS_DEFINED(error)", "", false},
		{"tags.site = 'a'", "", false},
	} {
		q, err := Parse("SELECT * FROM devices.jobs WHERE " + c.where)
		if err != nil {
			t.Errorf("%s: %v", c.where, err)
			continue
		}
		if got := q.Match(row); got != c.want {
			t.Errorf("%s is %v", c.where, got)
		}
		if got := q.JobID(); got != c.job {
			t.Errorf("%s is of job %q, want %q", c.where, got, c.job)
		}
	}
}
