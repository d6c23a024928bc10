package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gemello/gemello/api"
	"github.com/gemello/gemello/device/credential"
)

var shape1Tracking = regexp.MustCompile(`^Tracking ID:\S+-G:\d+-TimeStamp:\d\d/\d\d/\d{4} \d\d:\d\d:\d\d$`)

// wantShape1 checks the body of registry, twin, job and query errors.
func wantShape1(t *testing.T, a *answer, name string) {
	t.Helper()
	var b map[string]string
	a.into(t, &b)
	message, rest, ok := strings.Cut(b["Message"], ";")
	if len(b) != 2 || message != "ErrorCode:"+name || !ok || rest == "" || !shape1Tracking.MatchString(b["ExceptionMessage"]) {
		t.Errorf("not shape 1 of %s: %s", name, a.body)
	}
	wantErrorHeaders(t, a, name)
}

// wantShape2 checks the body of direct methods' errors.
func wantShape2(t *testing.T, a *answer, number int) {
	t.Helper()
	var b map[string]string
	a.into(t, &b)
	if exception, ok := b["ExceptionMessage"]; len(b) != 2 || !ok || exception != "" {
		t.Errorf("not shape 2: %s", a.body)
	}
	wantNumber(t, a, []byte(b["Message"]), number)
}

// wantShape3 checks the body of digital twins' errors and those over MQTT.
func wantShape3(t *testing.T, a *answer, number int) {
	t.Helper()
	wantNumber(t, a, []byte(a.body), number)
}

func wantNumber(t *testing.T, a *answer, body []byte, number int) {
	t.Helper()
	var b struct {
		ErrorCode                         int
		TrackingID, Message, TimestampUTC string
	}
	if err := json.Unmarshal(body, &b); err != nil || b.ErrorCode != number || b.TrackingID == "" || b.Message == "" {
		t.Errorf("%d %s (%v), want %d", a.status, a.body, err, number)
	}
	if _, err := time.Parse("2006-01-02T15:04:05.0000000Z", b.TimestampUTC); err != nil {
		t.Error(err)
	}
}

// wantErrorHeaders checks what each error over HTTP has; name "" is any.
func wantErrorHeaders(t *testing.T, a *answer, name string) {
	t.Helper()
	if got := a.header.Get("iothub-errorcode"); got != name && name != "" || got == "" {
		t.Errorf("iothub-errorcode %q, want %q", got, name)
	}
	if kind := a.header.Get("Content-Type"); !strings.HasPrefix(kind, "application/json") {
		t.Errorf("Content-Type %q", kind)
	}
	if a.header.Get("x-ms-request-id") == "" {
		t.Error("no x-ms-request-id")
	}
	if wait := a.header.Get("Retry-After") != ""; wait != (a.status == http.StatusTooManyRequests || a.status == http.StatusServiceUnavailable) {
		t.Errorf("%d with Retry-After %q", a.status, a.header.Get("Retry-After"))
	}
}

// errorRow is a row of azure-iot-wire 12 with a condition that leads to it.
type errorRow struct {
	status, number int
	name           string
	shape          int // 1, 2, 3; 0: as the row's provoke has checked
	provoke        func(n *wireNode) *answer
}

// errorRows has the rows that a request can lead to.
func errorRows() []errorRow {
	rest := func(method, target, body string, headers ...string) func(*wireNode) *answer {
		return func(n *wireNode) *answer { return n.ask(method, target+serviceV, body, headers...) }
	}
	onDevice := func(id string, method, target, body string, headers ...string) func(*wireNode) *answer {
		return func(n *wireNode) *answer {
			return n.ask(method, target+serviceV, body, append([]string{"Authorization", n.deviceToken(id)}, headers...)...)
		}
	}
	const method = `{"methodName":"m","payload":null,"responseTimeoutInSeconds":5,"connectTimeoutInSeconds":0}`
	const job = `{"jobId":"j","type":"scheduleUpdateTwin","updateTwin":{"tags":{"k":"v"}},"queryCondition":"deviceId='e1'","startTime":null,"maxExecutionTimeInSeconds":60}`
	return []errorRow{
		{400, 400001, "InvalidProtocolVersion", 1, func(n *wireNode) *answer { return n.ask("GET", "/devices/e1", "") }},
		{400, 400001, "InvalidProtocolVersion", 1, func(n *wireNode) *answer { return n.ask("GET", "/devices/e1?api-version=1999-01-01", "") }},
		{400, 400001, "InvalidProtocolVersion", 1, func(n *wireNode) *answer {
			return n.ask("POST", "/devices/e1/messages/events", "", "Authorization", n.deviceToken("e1"))
		}},
		{400, 400003, "InvalidOperation", 1, func(n *wireNode) *answer {
			n.want(200, "PUT", "/jobs/v2/ended"+serviceV, strings.Replace(job, `"j"`, `"ended"`, 1))
			eventually(n.t, "end of the job", func() bool {
				return n.want(200, "GET", "/jobs/v2/ended"+serviceV, "").member(n.t, "status") == "completed"
			})
			return n.ask("POST", "/jobs/v2/ended/cancel"+serviceV, "")
		}},
		{400, 400004, "ArgumentInvalid", 1, rest("PATCH", "/twins/e1", `{"tags":{"a b":1}}`)},
		{400, 400004, "ArgumentInvalid", 1, rest("PUT", "/devices/e2", `{"deviceId":"another"}`)},
		{400, 400004, "ArgumentInvalid", 1, rest("PUT", "/devices/"+strings.Repeat("x", 129), `{}`)},
		{400, 400004, "ArgumentInvalid", 2, rest("POST", "/twins/e1/methods", `{"methodName":"m","responseTimeoutInSeconds":301}`)},
		{400, 400005, "ArgumentNull", 2, rest("POST", "/twins/e1/methods", `{"payload":1}`)},
		{400, 400006, "IotHubFormatError", 1, rest("PATCH", "/twins/e1", `{"tags":`)},
		{400, 400006, "IotHubFormatError", 2, rest("POST", "/twins/e1/methods", `{`)},
		{400, 400006, "IotHubFormatError", 3, rest("PATCH", "/digitaltwins/e1", `[`)},
		{400, 400011, "DeviceDefinedMultipleTimes", 0, func(n *wireNode) *answer {
			a := n.ask("POST", "/devices"+serviceV, `[{"id":"twice","importMode":"create"},{"id":"twice","importMode":"create"}]`)
			wantBulk(n.t, a, "DeviceDefinedMultipleTimes")
			return a
		}},
		{400, 400013, "BulkRegistryOperationFailure", 0, func(n *wireNode) *answer {
			a := n.ask("POST", "/devices"+serviceV, `[{"id":"e1","importMode":"create"}]`)
			wantBulk(n.t, a, "DeviceAlreadyExists")
			wantErrorHeaders(n.t, a, "BulkRegistryOperationFailure")
			return a
		}},
		{401, 401002, "IotHubUnauthorizedAccess", 1, rest("GET", "/devices/e1", "", "Authorization", none)},
		{401, 401002, "IotHubUnauthorizedAccess", 1, onDevice("e1", "GET", "/devices/e1", "")},
		{401, 401002, "IotHubUnauthorizedAccess", 1, onDevice("ready-1", "POST", "/devices/e1/messages/events", "")},
		{401, 401002, "IotHubUnauthorizedAccess", 2, rest("POST", "/twins/e1/methods", method, "Authorization", "Bearer x")},
		{401, 401002, "IotHubUnauthorizedAccess", 3, rest("GET", "/digitaltwins/e1", "", "Authorization", none)},
		{403, 403004, "DeviceMaximumQueueDepthExceeded", 0, func(n *wireNode) *answer {
			n.device("full")
			for range 50 {
				n.must(n.t, "command", "send", "full", "--body", "x")
			}
			code, _, stderr := n.run(n.t, "", "command", "send", "full", "--body", "x")
			if code != exitFailed || !strings.Contains(stderr, "DeviceMaximumQueueDepthExceeded") {
				n.t.Errorf("the 51st: %d %s", code, stderr)
			}
			return &answer{status: 403}
		}},
		{404, 404001, "DeviceNotFound", 1, rest("GET", "/devices/nobody", "")},
		{404, 404001, "DeviceNotFound", 1, rest("PATCH", "/twins/nobody", "{}")},
		{404, 404001, "DeviceNotFound", 1, rest("PUT", "/devices/nobody", "{}", "If-Match", anyETag)},
		{404, 404001, "DeviceNotFound", 2, rest("POST", "/twins/nobody/methods", method)},
		{404, 404001, "DeviceNotFound", 3, rest("GET", "/digitaltwins/nobody", "")},
		{404, 404002, "JobNotFound", 1, rest("GET", "/jobs/v2/nothing", "")},
		{404, 404010, "ModuleNotFound", 1, rest("GET", "/devices/e1/modules/nobody", "")},
		{404, 404010, "ModuleNotFound", 2, rest("POST", "/twins/e1/modules/nobody/methods", method)},
		{404, 404103, "DeviceNotOnline", 2, rest("POST", "/twins/e1/methods", method)},
		{404, 404104, "DeviceConnectionClosedRemotely", 2, func(n *wireNode) *answer {
			n.device("gone")
			c := n.connect(hello{id: "gone"})
			c.subscribe(0, methodCalls)
			called := n.invoke("gone", method)
			c.received()
			c.nc.Close()
			return <-called
		}},
		{409, 409001, "DeviceAlreadyExists", 1, rest("PUT", "/devices/e1", "{}")},
		{409, 409301, "ModuleAlreadyExistsOnDevice", 1, rest("PUT", "/devices/e1/modules/m", "{}")},
		{409, 0, "JobAlreadyExists", 1, func(n *wireNode) *answer {
			n.want(200, "PUT", "/jobs/v2/twice"+serviceV, strings.Replace(job, `"j"`, `"twice"`, 1))
			return n.ask("PUT", "/jobs/v2/twice"+serviceV, strings.Replace(job, `"j"`, `"twice"`, 1))
		}},
		{409, 0, "ConfigurationAlreadyExists", 1, func(n *wireNode) *answer {
			const cfg = `{"id":"cfg","content":{"deviceContent":{"properties.desired.x":1}},"targetCondition":""}`
			n.want(201, "PUT", "/configurations/cfg"+serviceV, cfg)
			return n.ask("PUT", "/configurations/cfg"+serviceV, cfg)
		}},
		{412, 412001, "PreconditionFailed", 1, rest("PATCH", "/twins/e1", "{}", "If-Match", "abc")},
		{412, 412001, "PreconditionFailed", 1, rest("DELETE", "/devices/e1", "", "If-Match", `"abc"`)},
		{412, 412001, "PreconditionFailed", 3, rest("PATCH", "/digitaltwins/e1", `[{"op":"add","path":"/p","value":1}]`, "If-Match", "abc")},
		{412, 412002, "DeviceMessageLockLost", 1, onDevice("e1", "DELETE", "/devices/e1/messages/devicebound/no-lock", "")},
		{413, 413001, "MessageTooLarge", 1, onDevice("e1", "POST", "/devices/e1/messages/events", strings.Repeat("x", 256<<10+1))},
		{413, 413001, "MessageTooLarge", 1, rest("PATCH", "/twins/e1", `{"tags":`+wide(3, 3<<10)+`}`)},
		{413, 413001, "MessageTooLarge", 2, rest("POST", "/twins/e1/methods", `{"methodName":"m","payload":"`+strings.Repeat("x", 128<<10)+`"}`)},
		{413, 413002, "TooManyDevices", 1, rest("POST", "/devices", "["+strings.TrimSuffix(strings.Repeat(`{"id":"x"},`, 101), ",")+"]")},
		{429, 429001, "ThrottlingException", 1, func(n *wireNode) *answer {
			const target, body = "/devices/query" + serviceV, `{"query":"SELECT deviceId FROM devices"}`
			n.want(200, "POST", target, body) // the rate of this node is one an hour
			return n.ask("POST", target, body)
		}},
		{502, 0, "InvalidResponseWhileProxying", 2, func(n *wireNode) *answer {
			n.device("odd")
			c := n.connect(hello{id: "odd"})
			c.subscribe(0, methodCalls)
			called := n.invoke("odd", method)
			c.publish(methodAnswers+"200/?$rid="+ridOf(c.received().topic), "no JSON")
			return <-called
		}},
		{504, 504101, "GatewayTimeout", 2, func(n *wireNode) *answer {
			n.device("mute")
			n.connect(hello{id: "mute"}).subscribe(0, methodCalls)
			return <-n.invoke("mute", method)
		}},
		// What follows has a name and no number in the table.
		{400, 0, "InvalidDeviceScope", 1, rest("PUT", "/devices/scoped", `{"deviceId":"scoped","deviceScope":"ms-azure-iot-edge://nobody-1"}`)},
		{400, 0, "InvalidDigitalTwinJsonPatch", 3, rest("PATCH", "/digitaltwins/e1", `{}`)},
		{400, 0, "InvalidDigitalTwinPatchPath", 3, rest("PATCH", "/digitaltwins/e1", `[{"op":"add","path":"no slash","value":1}]`)},
		{400, 0, "InvalidConfigurationContent", 1, rest("PUT", "/configurations/bad", `{"id":"bad","content":{"deviceContent":{"tags.x":1}}}`)},
		{400, 0, "InvalidConfigurationTargetCondition", 1, rest("PUT", "/configurations/bad", `{"id":"bad","content":{"deviceContent":{"properties.desired.x":1}},"targetCondition":"tags.a ="}`)},
		{400, 0, "InvalidConfigurationCustomMetricsQuery", 1, rest("PUT", "/configurations/bad", `{"id":"bad","content":{"deviceContent":{"properties.desired.x":1}},"targetCondition":"","metrics":{"queries":{"m":"SELECT"}}}`)},
		{404, 0, "ConfigurationNotFound", 1, rest("GET", "/configurations/nothing", "")},
		{413, 0, "TooManyModulesOnDevice", 1, func(n *wireNode) *answer {
			n.device("many")
			for i := range 50 {
				n.device("many/m" + strings.Repeat("i", i+1))
			}
			return n.ask("PUT", "/devices/many/modules/last"+serviceV, "{}")
		}},
	}
}

// errorRowsElsewhere are the rows that no request to this node leads to, and why.
var errorRowsElsewhere = map[string]string{
	"ConnectionForcefullyClosedOnNewConnection":  "is the end of an MQTT connection, which has no body: TestTheNewestConnectionTakesOver",
	"IotHubUnauthorized":                         "a session that loses its right is ended, so that none of its twin requests is refused: TestLiveConnectionsAreCut",
	"IotHubQuotaExceeded":                        "there is no daily quota of messages",
	"DeviceMaximumActiveFileUploadLimitExceeded": "there is no file upload yet",
	"RequestTimedOut":                            "is what clients make of a request that they gave up; the hub says GatewayTimeout or ServiceUnavailable",
	"LinkCreationConflict":                       "needs AMQP",
	"ThrottleBacklogLimitExceeded":               "there is no backlog: what is over a rate is refused at once",
	"ServerError":                                "no request leads there; api: TestErrorsOfTheHub",
	"ServiceUnavailable":                         "TestAPartitionThatDoesNotAnswerIsUnavailable",
}

// wire12 is the table by name.
const wire12 = `InvalidProtocolVersion InvalidOperation ArgumentInvalid ArgumentNull IotHubFormatError DeviceDefinedMultipleTimes
	BulkRegistryOperationFailure ConnectionForcefullyClosedOnNewConnection IotHubUnauthorizedAccess IotHubUnauthorized IotHubQuotaExceeded
	DeviceMaximumQueueDepthExceeded DeviceMaximumActiveFileUploadLimitExceeded DeviceNotFound JobNotFound ModuleNotFound DeviceNotOnline
	DeviceConnectionClosedRemotely RequestTimedOut DeviceAlreadyExists LinkCreationConflict ModuleAlreadyExistsOnDevice JobAlreadyExists
	ConfigurationAlreadyExists PreconditionFailed DeviceMessageLockLost MessageTooLarge TooManyDevices ThrottlingException
	ThrottleBacklogLimitExceeded ServerError InvalidResponseWhileProxying ServiceUnavailable GatewayTimeout`

func TestEachErrorHasItsStatusNumberNameAndShape(t *testing.T) {
	node := newWireNode(t, "--throttle.queries", "1/h")
	node.device("e1")
	node.device("e1/m")
	covered := map[string]bool{}
	t.Run("rows", func(t *testing.T) {
		for _, row := range errorRows() {
			covered[row.name] = true
			t.Run(row.name, func(t *testing.T) {
				t.Parallel() // some wait for a device that says nothing
				a := row.provoke(node.as(t))
				if a.status != row.status {
					t.Fatalf("%d %s, want %d", a.status, a.body, row.status)
				}
				switch row.shape {
				case 1:
					wantShape1(t, a, row.name)
				case 2:
					wantErrorHeaders(t, a, row.name)
					if row.number != 0 {
						wantShape2(t, a, row.number)
					}
				case 3:
					wantErrorHeaders(t, a, row.name)
					if row.number != 0 {
						wantShape3(t, a, row.number)
					}
				}
			})
		}
	})
	for _, name := range strings.Fields(wire12) {
		if why := errorRowsElsewhere[name]; covered[name] == (why != "") {
			t.Errorf("%s: provoked %v, elsewhere %q", name, covered[name], why)
		}
	}
}

// wantBulk checks the result of a bulk request of which an item failed.
func wantBulk(t *testing.T, a *answer, code string) {
	t.Helper()
	var b struct {
		IsSuccessful bool
		Errors       []struct{ DeviceID, ErrorCode, ErrorStatus string }
		Warnings     []any
	}
	if a.into(t, &b); b.IsSuccessful || len(b.Errors) != 1 || b.Errors[0].ErrorCode != code || b.Errors[0].DeviceID == "" || b.Errors[0].ErrorStatus == "" || b.Warnings == nil {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// wide is a JSON object of n members with texts of a length.
func wide(n, size int) string {
	members := make([]string, n)
	for i := range members {
		members[i] = `"k` + strings.Repeat("i", i) + `":"` + strings.Repeat("v", size) + `"`
	}
	return "{" + strings.Join(members, ",") + "}"
}

// A read that can't reflect what it must within its time is told to come again.
func TestAPartitionThatDoesNotAnswerIsUnavailable(t *testing.T) {
	r := newHubRig(t)
	r.makeDevice("d1")
	service, err := api.NewService(api.ServiceOptions{
		Hub: hubAdapter{r.node}, Queries: queriesAdapter{r.node}, Policies: r.policies, Sealer: r.sealer,
		Hostnames: []string{"hub.example.org"}, Timeout: 50 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	p, _ := r.policies.Policy("iothubowner")
	q := httptest.NewRequest("GET", "/devices/d1"+serviceV, nil)
	q.Header.Set("Authorization", credential.Sign("hub.example.org", time.Now().Add(time.Hour), p.Keys.Primary, p.Name))
	q.Header.Set("x-gemello-after", "0:999999")
	w := httptest.NewRecorder()
	service.ServeHTTP(w, q)
	a := &answer{w.Code, w.Header(), w.Body.String()}
	if a.status != http.StatusServiceUnavailable {
		t.Fatalf("%d %s", a.status, a.body)
	}
	wantShape1(t, a, "ServiceUnavailable")
}

func TestTheNewestConnectionTakesOver(t *testing.T) {
	n := newWireNode(t)
	n.device("d1")
	old := n.connect(hello{id: "d1", persist: true})
	newer := n.connect(hello{id: "d1", persist: true})
	old.ended()
	newer.ping()
	if n.metric("gemello_mqtt_disconnects_total", `"taken_over"`) != 1 {
		t.Error("it is not counted")
	}
}
