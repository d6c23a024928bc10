package device

import (
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestJobDocumentIsReadOrRefused(t *testing.T) {
	twin := `{"type":"scheduleUpdateTwin","updateTwin":{"tags":{"a":1}}`
	method := `{"type":"scheduleDeviceMethod","cloudToDeviceMethod":`
	for _, c := range []struct {
		name, body string
		want       error
	}{
		{"a twin job", twin + `}`, nil},
		{"as Node sends it", `{"jobId":"j","type":"scheduleUpdateTwin","updateTwin":{"etag":"*","tags":{"k":"v"},"properties":{"desired":{}}},"queryCondition":"deviceId = 'd1'","startTime":"2026-01-02T03:04:05.000Z","maxExecutionTimeInSeconds":120}`, nil},
		{"a method job", method + `{"methodName":"m","payload":null,"responseTimeoutInSeconds":30}}`, nil},
		{"nulls are left out", twin + `,"cloudToDeviceMethod":null,"startTime":null,"queryCondition":null}`, nil},
		{"no JSON", `{`, ErrFormat},
		{"wrong type of a member", twin + `,"maxExecutionTimeInSeconds":"1"}`, ErrArgument},
		{"another id", twin + `,"jobId":"k"}`, ErrArgument},
		{"unknown type", `{"type":"export"}`, ErrArgument},
		{"twin job without a twin", `{"type":"scheduleUpdateTwin"}`, ErrArgument},
		{"twin that breaks a rule", `{"type":"scheduleUpdateTwin","updateTwin":[1]}`, ErrArgument},
		{"method job without a method", `{"type":"scheduleDeviceMethod","cloudToDeviceMethod":null}`, ErrArgument},
		{"method without a name", method + `{"methodName":""}}`, ErrArgument},
		{"response time-out too long", method + `{"methodName":"m","responseTimeoutInSeconds":301}}`, ErrArgument},
		{"start that is no time", twin + `,"startTime":"tomorrow"}`, ErrArgument},
		{"no time to run", twin + `,"maxExecutionTimeInSeconds":-1}`, ErrArgument},
		{"threshold above 100", twin + `,"haltAboveFailedPercent":101}`, ErrArgument},
		{"too large", twin + strings.Repeat(" ", MaxJobBody) + `}`, ErrTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := ParseJob("j", []byte(c.body)); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Errorf("error %v, want %v", err, c.want)
			}
		})
	}
}

func TestJobMovesForwardOnly(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		actions, want string
		err           error
	}{
		{"", "queued", nil},
		{"start", "running", nil},
		{"start end", "completed settled", nil},
		{"start halt end", "failed settled", nil},
		{"start cancel", "cancelled", nil},
		{"cancel start", "cancelled", nil},
		{"cancel settled end", "cancelled settled", nil},
		{"start end start", "completed settled", nil},
		{"start end halt", "completed settled", nil},
		{"start settled", "running", nil},
		{"start end cancel", "completed settled", ErrJobEnded},
		{"cancel cancel", "cancelled", ErrJobEnded},
		{"explode", "queued", ErrArgument},
	} {
		j := Job{ID: "j"}
		j.Create(at)
		var last error
		for a := range strings.FieldsSeq(c.actions) {
			reason := ""
			if a == JobActionHalt {
				reason = "why"
			}
			last = j.Step(a, reason, at.Add(time.Second))
		}
		got := string(j.Status)
		if j.Settled {
			got += " settled"
		}
		if got != c.want || !errors.Is(last, c.err) {
			t.Errorf("%q: %s, error %v; want %s, %v", c.actions, got, last, c.want, c.err)
		}
	}
	later := Job{ID: "j", Start: at.Add(time.Hour)}
	if later.Create(at); later.Status != JobScheduled {
		t.Errorf("a job with a start to come is %s", later.Status)
	}
}

func TestJobIsKeptFor30Days(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	j := Job{ID: "j"}
	j.Create(at.Add(-48 * time.Hour))
	if j.Over(at.AddDate(1, 0, 0), JobHistory) {
		t.Error("a job that has not ended is over")
	}
	for _, a := range []string{JobActionStart, JobActionEnd} {
		if err := j.Step(a, "", at); err != nil {
			t.Fatal(err)
		}
	}
	for days, want := range map[int]bool{0: false, 29: false, 30: false, 31: true} {
		if j.Over(at.AddDate(0, 0, days), JobHistory) != want {
			t.Errorf("after %d days: over is not %v", days, want)
		}
	}
}

// TestCallOfAnotherCallerChangesNothing shows that a record that comes again, or
// late, neither frees nor ends a call that it does not know.
func TestCallOfAnotherCallerChangesNothing(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	done, fail := `{"status":200,"payload":null}`, `{"code":"c","description":"d"}`
	for _, c := range []struct{ steps, want string }{
		{"call/a", "running"},
		{"call/a call/b done/b", "running"},
		{"call/a release/b", "running"},
		{"call/a fail/b", "running"},
		{"call/a release/a", "scheduled"},
		{"call/a release/a call/b release/a", "running"},
		{"call/a release/a call/b done/a", "running"},
		{"call/a done/a fail/a", "completed"},
		{"call/a done/a call/b", "completed"},
		{"fail/a", "failed"},
		{"fail/a call/a", "failed"},
		{"done/a", "scheduled"},
	} {
		r := JobRow{Status: JobScheduled}
		for s := range strings.FieldsSeq(c.steps) {
			action, by, _ := strings.Cut(s, "/")
			body := map[string]string{StepDone: done, StepFail: fail}[action]
			if _, err := r.Step(action, by, []byte(body), at); err != nil {
				t.Fatal(err)
			}
		}
		if string(r.Status) != c.want {
			t.Errorf("%q: %s, want %s", c.steps, r.Status, c.want)
		}
	}
}

func TestJobDocumentLeavesOutWhatHasNoValue(t *testing.T) {
	j, err := ParseJob("j", []byte(`{"type":"scheduleUpdateTwin","updateTwin":{"tags":{"a":1}},"queryCondition":"*","maxExecutionTimeInSeconds":60}`))
	if err != nil {
		t.Fatal(err)
	}
	j.Create(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	v := JobView{Job: j, Fresh: true}
	got, err := v.AppendJSON(nil)
	want := `{"jobId":"j","createdTime":"2026-01-02T03:04:05Z","startTime":"2026-01-02T03:04:05Z","maxExecutionTimeInSeconds":60,"type":"scheduleUpdateTwin","updateTwin":{"tags":{"a":1}},"queryCondition":"*","status":"queued","deviceJobStatistics":{"deviceCount":0,"failedCount":0,"succeededCount":0,"runningCount":0,"pendingCount":0}}`
	if err != nil || string(got) != want {
		t.Errorf("got  %s (%v)\nwant %s", got, err, want)
	}
}

// TestFormatPageShowsJobsAsTheyAreStored reads the page's examples and writes
// them again.
func TestFormatPageShowsJobsAsTheyAreStored(t *testing.T) {
	page, err := os.ReadFile("../docs/format/device-state.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, into := range map[string]any{"job": &Job{}, "row": &JobRow{}} {
		m := regexp.MustCompile("(?s)```json " + name + "\n(.*?)```").FindSubmatch(page)
		if m == nil {
			t.Fatalf("no example %q", name)
		}
		d := json.NewDecoder(strings.NewReader(string(m[1])))
		d.DisallowUnknownFields()
		if err := d.Decode(into); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := json.Marshal(into)
		if err != nil {
			t.Fatal(err)
		}
		if want := strings.ReplaceAll(strings.ReplaceAll(string(m[1]), "\n ", ""), "\n", ""); string(got) != want {
			t.Errorf("%s: stored %s\npage   %s", name, got, want)
		}
	}
}

func FuzzParseJob(f *testing.F) {
	f.Add([]byte(`{"type":"scheduleUpdateTwin","updateTwin":{"tags":{"a":1}},"queryCondition":"*"}`))
	f.Add([]byte(`{"type":"scheduleDeviceMethod","cloudToDeviceMethod":{"methodName":"m"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		j, err := ParseJob("j", b)
		if err != nil {
			return
		}
		stored, err := json.Marshal(&j)
		if err != nil {
			t.Fatal(err)
		}
		var again Job
		if err := json.Unmarshal(stored, &again); err != nil {
			t.Fatal(err)
		}
	})
}
