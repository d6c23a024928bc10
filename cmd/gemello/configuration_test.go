package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

const fakeConfiguration = `{"id":"cfg1","schemaVersion":"1.0","labels":{"owner":"ops"},"content":{"deviceContent":{"properties.desired":{"rate":5}}},` +
	`"targetCondition":"tags.site='a'","createdTimeUtc":"2026-01-02T03:04:05Z","lastUpdatedTimeUtc":"2026-01-02T03:04:06Z","priority":10,` +
	`"systemMetrics":{"results":{"appliedCount":2,"targetedCount":3},"queries":{}},` +
	`"metrics":{"results":{"slow":1},"queries":{"slow":"SELECT deviceId FROM devices"}},"etag":"MQ=="}`

const fakeJob = `{"jobId":"j1","type":"scheduleUpdateTwin","status":"completed","queryCondition":"*","createdTime":"2026-01-02T03:04:05Z",` +
	`"deviceJobStatistics":{"deviceCount":3,"failedCount":1,"succeededCount":2,"runningCount":0,"pendingCount":0}}`

// fleet answers requests on configurations and jobs.
func (f *fakeAdmin) fleet(mux *http.ServeMux) {
	say := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, text) }
	}
	known := func(id string, serve http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.PathValue("id") != id {
				refuse(w, 404, "NotThere", "no "+r.PathValue("id"))
				return
			}
			serve(w, r)
		}
	}
	mux.HandleFunc("GET /api/v1/configurations", say("["+fakeConfiguration+"]"))
	mux.HandleFunc("GET /api/v1/configurations/{id}", known("cfg1", say(fakeConfiguration)))
	mux.HandleFunc("PUT /api/v1/configurations/{id}", say(fakeConfiguration))
	mux.HandleFunc("DELETE /api/v1/configurations/{id}", known("cfg1", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	mux.HandleFunc("POST /api/v1/configurations/testQueries", func(w http.ResponseWriter, r *http.Request) {
		text := new(strings.Builder)
		r.Write(text)
		if strings.Contains(text.String(), "bad") {
			fmt.Fprint(w, `{"targetConditionError":"1:4: odd","customMetricQueryErrors":{"m":"1:1: odder"}}`)
			return
		}
		fmt.Fprint(w, `{"targetConditionError":"","customMetricQueryErrors":{}}`)
	})
	mux.HandleFunc("GET /api/v1/jobs", say("["+fakeJob+"]"))
	mux.HandleFunc("GET /api/v1/jobs/{id}", known("j1", say(fakeJob)))
	mux.HandleFunc("PUT /api/v1/jobs/{id}", say(fakeJob))
	mux.HandleFunc("POST /api/v1/jobs/{id}/cancel", known("j1", say(fakeJob)))
}

// cliCase is one call of the program and what it must give.
type cliCase struct {
	name, args, stdin string
	code              int
	stdout, stderr    string // parts
	call              string // that the node got
}

func runCLI(t *testing.T, cases []cliCase) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f := newFakeAdmin(t)
			code, stdout, stderr := f.run(t, c.stdin, strings.Split(c.args, "|")...)
			if code != c.code || !strings.Contains(stdout, c.stdout) || !strings.Contains(stderr, c.stderr) || (stderr == "") != (c.stderr == "") {
				t.Errorf("code %d, stdout %q, stderr %q; want %d, %q, %q", code, stdout, stderr, c.code, c.stdout, c.stderr)
			}
			if c.call != "" {
				f.called(t, c.call)
			}
			if c.code == exitUsage && len(f.calls) > 0 {
				t.Errorf("a mistake in the command line reached the node: %q", f.calls)
			}
		})
	}
}

func TestConfigurationCommands(t *testing.T) {
	path := "/api/v1/configurations"
	runCLI(t, []cliCase{
		{name: "create from flags", args: `configuration|create|cfg1|--target|tags.site='a'|--priority|10|--desired|{"rate":5}|--metric|slow=SELECT deviceId FROM devices WHERE a = 1|--label|owner=ops`,
			stdout: "created cfg1; what it reaches: gemello configuration show cfg1\n",
			call:   `PUT ` + path + `/cfg1 {"content":{"deviceContent":{"properties.desired":{"rate":5}}},"labels":{"owner":"ops"},"metrics":{"queries":{"slow":"SELECT deviceId FROM devices WHERE a = 1"}},"priority":10,"targetCondition":"tags.site='a'"}`},
		{name: "create for modules", args: `configuration|create|m|--target|FROM devices.modules WHERE moduleId = 'm'|--module-desired|{}`, stdout: "created m",
			call: `PUT ` + path + `/m {"content":{"moduleContent":{"properties.desired":{}}},"targetCondition":"FROM devices.modules WHERE moduleId = 'm'"}`},
		{name: "create from standard input", args: `configuration|create|m|-f|-|--priority|7|--json`, stdin: `{"targetCondition":"*","priority":1}`,
			stdout: `"targetCondition": "tags.site='a'"`, call: `PUT ` + path + `/m {"priority":7,"targetCondition":"*"}`},
		{name: "whole content", args: `configuration|create|m|--content|-`, stdin: `{"modulesContent":{"a":{}}}`, stdout: "created", call: `PUT ` + path + `/m {"content":{"modulesContent":{"a":{}}}}`},
		{name: "content that is no JSON", args: `configuration|create|m|--desired|{`, code: exitUsage, stderr: "--desired"},
		{name: "file that is not there", args: `configuration|create|m|-f|/none`, code: exitUsage, stderr: "--file"},
		{name: "file that holds no object", args: `configuration|create|m|-f|-`, stdin: `[]`, code: exitUsage, stderr: "no JSON object"},
		{name: "metric without a query", args: `configuration|create|m|--metric|slow`, code: exitUsage, stderr: "NAME=VALUE"},
		{name: "no id", args: `configuration|create`, code: exitUsage, stderr: "accepts 1 arg"},
		{name: "update keeps what no flag says", args: `configuration|update|cfg1|--priority|20`, stdout: "updated cfg1",
			call: `PUT ` + path + `/cfg1 ` + strings.Replace(sorted(fakeConfiguration), `"priority":10`, `"priority":20`, 1)},
		{name: "update of what is not there", args: `configuration|update|none|--priority|20`, code: exitFailed, stderr: "NotThere"},
		{name: "list", args: `configuration|list`, stdout: "cfg1           10        3         2        tags.site='a'\n", call: "GET " + path},
		{name: "list as JSON", args: `configuration|list|--json`, stdout: `"id": "cfg1"`},
		{name: "show", args: `configuration|show|cfg1`, stdout: "metric slow    1  SELECT deviceId FROM devices\n"},
		{name: "show as JSON", args: `configuration|show|cfg1|--json`, stdout: `"targetedCount": 3`},
		{name: "show of what is not there", args: `configuration|show|none`, code: exitFailed, stderr: "NotThere"},
		{name: "delete", args: `configuration|delete|cfg1`, stdout: "deleted cfg1\n", call: "DELETE " + path + "/cfg1"},
		{name: "delete of what is not there", args: `configuration|delete|none`, code: exitFailed, stderr: "NotThere"},
		{name: "test", args: `configuration|test|--target|*`, stdout: "all can be read", call: `POST ` + path + `/testQueries {"customMetricQueries":{},"targetCondition":"*"}`},
		{name: "test of what is wrong", args: `configuration|test|--target|bad`, code: exitFailed, stderr: "target: 1:4: odd; metric m: 1:1: odder"},
		{name: "test of what is wrong as JSON", args: `configuration|test|--target|bad|--json`, code: exitFailed, stdout: `"targetConditionError": "1:4: odd"`, stderr: "odder"},
	})
}

func TestUpdateOfAConfigurationDependsOnWhatWasRead(t *testing.T) {
	f := newFakeAdmin(t)
	if code, _, stderr := f.run(t, "", "configuration", "update", "cfg1", "--priority", "20"); code != exitDone {
		t.Fatal(stderr)
	}
	i := slices.IndexFunc(f.calls, func(c string) bool { return strings.HasPrefix(c, "PUT ") })
	if i < 0 || f.headers[i].Get("If-Match") != `"MQ=="` {
		t.Errorf("calls %q, If-Match of the last %q", f.calls, f.headers[len(f.headers)-1].Get("If-Match"))
	}
}

// sorted writes an object with its members in order.
func sorted(text string) string {
	m := map[string]any{}
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		panic(err)
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func TestJobCommands(t *testing.T) {
	path := "/api/v1/jobs"
	runCLI(t, []cliCase{
		{name: "twin job", args: `job|create-twin|j1|--desired|{"a":1}|--where|tags.b = 1|--rate|9|--halt-above|5|--max-time|1m`, stdout: "created job j1",
			call: `PUT ` + path + `/j1 {"haltAboveFailedPercent":5,"maxDevicesPerSecond":9,"maxExecutionTimeInSeconds":60,"queryCondition":"tags.b = 1","type":"scheduleUpdateTwin","updateTwin":{"properties":{"desired":{"a":1}}}}`},
		{name: "method job", args: `job|create-method|j1|reboot|--payload|-|--start|2999-01-01T00:00:00Z|--json`, stdin: "5", stdout: `"jobId": "j1"`,
			call: `PUT ` + path + `/j1 {"cloudToDeviceMethod":{"methodName":"reboot","payload":5,"responseTimeoutInSeconds":30},"haltAboveFailedPercent":0,"maxDevicesPerSecond":0,"maxExecutionTimeInSeconds":3600,"queryCondition":"*","startTime":"2999-01-01T00:00:00Z","type":"scheduleDeviceMethod"}`},
		{name: "payload that is no JSON", args: `job|create-method|j1|reboot|--payload|{`, code: exitUsage, stderr: "--payload"},
		{name: "show", args: `job|show|j1`, stdout: "devices    3: 2 succeeded, 1 failed, 0 running, 0 pending\n"},
		{name: "show of what is not there", args: `job|show|none`, code: exitFailed, stderr: "NotThere"},
		{name: "list", args: `job|list|--status|completed`, stdout: "j1   scheduleUpdateTwin  completed", call: "GET " + path + "?jobStatus=completed"},
		{name: "cancel", args: `job|cancel|j1`, stdout: "completed", call: "POST " + path + "/j1/cancel"},
		{name: "no name of a method", args: `job|create-method|j1`, code: exitUsage, stderr: "accepts 2 arg"},
	})
}

func TestShellsCompleteCommandsAndIDs(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"__complete|configuration|upd", "update\t"},
		{"__complete|configuration|show|--data=DATA|", "cfg1\n:4\n"},
		{"__complete|configuration|show|--data=DATA|cfg1|", ":4\n"},
		{"__complete|configuration|show|--data=/none|", ":1\n"},
		{"__complete|job|cancel|--data=DATA|", "j1\n:4\n"},
		{"completion|bash", "bash completion"},
	} {
		f := newFakeAdmin(t)
		args := strings.Split(strings.ReplaceAll(c.args, "DATA", f.data), "|")
		code, stdout, _ := shell{}.run(t, args...)
		if code != exitDone || !strings.Contains(stdout, c.want) {
			t.Errorf("%s: code %d, %.300q, want %q", c.args, code, stdout, c.want)
		}
	}
}
