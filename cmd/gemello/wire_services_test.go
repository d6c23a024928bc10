package main

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gemello/gemello/device/credential"
)

func TestPythonServices(t *testing.T) {
	node := newWireNode(t)
	on := func(line string, test func(n *wireNode)) {
		t.Run(line, func(t *testing.T) { test(node.as(t)) })
	}
	on(`If-Match is "*" or quoted for identities and twins`, func(n *wireNode) {
		n.device("p1")
		etag := n.want(200, "GET", "/devices/p1"+serviceV, "").header.Get("ETag")
		n.want(200, "PUT", "/devices/p1"+serviceV, `{"deviceId":"p1","status":"enabled","authentication":{"type":"sas"}}`, "If-Match", etag)
		n.want(412, "PUT", "/devices/p1"+serviceV, `{"deviceId":"p1","authentication":{"type":"sas"}}`, "If-Match", etag)
		n.want(200, "PUT", "/devices/p1"+serviceV, `{"deviceId":"p1","authentication":{"type":"sas"}}`, "If-Match", anyETag)
		twin := n.twin("p1").header.Get("ETag")
		n.want(200, "PATCH", "/twins/p1"+serviceV, `{"tags":{"a":1}}`, "If-Match", twin)
		n.want(412, "PATCH", "/twins/p1"+serviceV, `{"tags":{"a":2}}`, "If-Match", twin)
		n.want(200, "PUT", "/twins/p1"+serviceV, `{"tags":{"a":3}}`, "If-Match", anyETag)
		n.want(204, "DELETE", "/devices/p1"+serviceV, "", "If-Match", anyETag)
	})
	on("If-Match is unquoted for configurations and digital twins", func(n *wireNode) {
		const cfg = `{"id":"cfg-p","content":{"deviceContent":{"properties.desired.x":1}},"targetCondition":"","priority":1}`
		n.want(201, "PUT", "/configurations/cfg-p"+serviceV, cfg)
		etag, _ := n.want(200, "GET", "/configurations/cfg-p"+serviceV, "").member(n.t, "etag").(string)
		n.want(412, "PUT", "/configurations/cfg-p"+serviceV, cfg, "If-Match", "MTIz")
		n.want(200, "PUT", "/configurations/cfg-p"+serviceV, cfg, "If-Match", etag)
		n.want(200, "PUT", "/configurations/cfg-p"+serviceV, cfg, "If-Match", "*")
		n.want(204, "DELETE", "/configurations/cfg-p"+serviceV, "", "If-Match", "*")
		n.device("p2")
		tag := strings.Trim(n.want(200, "GET", "/digitaltwins/p2"+serviceV, "").header.Get("ETag"), `"`)
		const patch = `[{"op":"add","path":"/rate","value":1}]`
		n.want(202, "PATCH", "/digitaltwins/p2"+serviceV, patch, "If-Match", tag)
		n.want(412, "PATCH", "/digitaltwins/p2"+serviceV, patch, "If-Match", tag)
		n.want(202, "PATCH", "/digitaltwins/p2"+serviceV, patch, "If-Match", "*")
	})
	on(`a null method payload is sent as "", time-outs are left out`, func(n *wireNode) {
		n.device("p3")
		c := n.connect(hello{id: "p3"})
		c.subscribe(0, methodCalls)
		called := n.invoke("p3", `{"methodName":"m","payload":""}`)
		m := c.received()
		if m.body != `""` {
			n.t.Errorf("payload %s", m.body)
		}
		c.publish(methodAnswers+"200/?$rid="+ridOf(m.topic), "null")
		if a := <-called; a.status != 200 || a.body != `{"status":200,"payload":null}` {
			n.t.Errorf("%d %s", a.status, a.body)
		}
	})
	on("empty-string dates break its models", func(n *wireNode) {
		n.device("p4")
		n.device("p4/m")
		n.want(201, "PUT", "/configurations/cfg-d"+serviceV, `{"id":"cfg-d","content":{"deviceContent":{"properties.desired.x":1}},"targetCondition":""}`)
		n.want(200, "PUT", "/jobs/v2/job-d"+serviceV, `{"jobId":"job-d","type":"scheduleUpdateTwin","updateTwin":{"tags":{"x":1}},"queryCondition":"deviceId='p4'","startTime":null,"maxExecutionTimeInSeconds":60}`)
		for _, target := range []string{"/devices/p4", "/devices/p4/modules/m", "/twins/p4", "/twins/p4/modules/m", "/configurations/cfg-d", "/jobs/v2/job-d"} {
			a := n.want(200, "GET", target+serviceV, "")
			var members map[string]any
			a.into(n.t, &members)
			for name, v := range members {
				if strings.Contains(name, "Time") && v == "" {
					n.t.Errorf("%s: %s is empty", target, name)
				}
			}
		}
	})
	on("a request that is repeated while the first is open is one", func(n *wireNode) {
		n.device("p5")
		c := n.connect(hello{id: "p5"})
		c.subscribe(0, methodCalls)
		const body = `{"methodName":"once","payload":null}`
		answerWith := func(m publication, status int) {
			c.publish(fmt.Sprintf("%s%d/?$rid=%s", methodAnswers, status, ridOf(m.topic)), "null")
		}
		// The repeated request may come too late to find the first one open, and is
		// then a call of its own.
		for attempt := range 50 {
			id := fmt.Sprintf("r-%d", attempt)
			first := n.invoke("p5", body, "Request-Id", id)
			m := c.received()
			again, other := n.invoke("p5", body, "Request-Id", id), n.invoke("p5", body, "Request-Id", id+"-other")
			second := c.received()
			c.ping()
			answerWith(m, 201)
			answerWith(second, 202)
			if a, b := <-first, <-other; a.body != `{"status":201,"payload":null}` || b.body != `{"status":202,"payload":null}` {
				n.t.Fatalf("%d %s, %d %s", a.status, a.body, b.status, b.body)
			}
			var joined *answer
			eventually(n.t, "the repeated call", func() bool {
				if c.ping(); len(c.parked) > 0 {
					answerWith(c.received(), 203)
				}
				select {
				case joined = <-again:
				default:
				}
				return joined != nil
			})
			if joined.body == `{"status":201,"payload":null}` {
				return
			}
		}
		n.t.Error("no repeated request joined the first one")
	})
	on("query_scheduled_jobs: the bare array stays", func(n *wireNode) {
		a := n.want(200, "GET", "/jobs/v2/query"+serviceV, "")
		var list []map[string]any
		if a.into(n.t, &list); a.header.Get("x-ms-item-type") != "JobResponse" {
			n.t.Error(a.header)
		}
	})
}

func TestJavaServices(t *testing.T) {
	node := newWireNode(t)
	on := func(line string, test func(n *wireNode)) {
		t.Run(line, func(t *testing.T) { test(node.as(t)) })
	}
	on("twin PATCH is POST with X-HTTP-Method-Override, full of nulls", func(n *wireNode) {
		n.device("j1")
		n.want(200, "PATCH", "/twins/j1"+serviceV, `{"tags":{"a":1},"properties":{"desired":{"d":1}}}`)
		before := n.twin("j1")
		const nulls = `"deviceId":null,"generationId":null,"version":null,"etag":null,"configurations":null,"capabilities":null,"connectionState":null`
		override := []string{"X-HTTP-Method-Override", "PATCH"}
		a := n.want(200, "POST", "/twins/j1"+serviceV, `{`+nulls+`,"tags":{},"properties":{"desired":{},"reported":{"$version":4}}}`, override...)
		if a.body != before.body {
			n.t.Errorf("empty sections changed\n%s\nto\n%s", before.body, a.body)
		}
		a = n.want(200, "POST", "/twins/j1"+serviceV, `{`+nulls+`,"tags":{"b":2},"properties":{"desired":{}}}`, override...)
		if a.member(n.t, "tags", "b") != 2.0 || a.member(n.t, "tags", "a") != 1.0 || a.member(n.t, "properties", "desired", "$version") != 2.0 {
			n.t.Error(a.body)
		}
	})
	on("creates with what it may not set", func(n *wireNode) {
		a := n.want(200, "PUT", "/devices/j2"+serviceV, `{"deviceId":"j2","generationId":"","etag":"","status":"Enabled","statusReason":"","statusUpdatedTime":"0001-12-30T00:00:00",`+
			`"connectionState":"Disconnected","connectionStateUpdatedTime":"0001-12-30T00:00:00","lastActivityTime":"0001-12-30T00:00:00","cloudToDeviceMessageCount":0,"forceUpdate":false,`+
			`"authentication":{"type":"sas","symmetricKey":{"primaryKey":"","secondaryKey":""}}}`)
		if a.member(n.t, "status") != "enabled" || a.member(n.t, "etag") == "" || a.member(n.t, "generationId") == "" || a.member(n.t, "lastActivityTime") != "0001-01-01T00:00:00" {
			n.t.Error(a.body)
		}
		if key, _ := a.member(n.t, "authentication", "symmetricKey", "primaryKey").(string); len(key) < 40 {
			n.t.Errorf("key %q", key)
		}
	})
	on("ids in URLs are not encoded", func(n *wireNode) {
		for _, id := range []string{"a%41b", "j:3@x", "j#$'()*+,;=!"} {
			path := strings.NewReplacer("#", "%23", "?", "%3F").Replace(id) // what no client can leave as it is
			n.want(200, "PUT", "/devices/"+path+serviceV, fmt.Sprintf(`{"deviceId":%q,"authentication":{"type":"sas"}}`, id))
			if got := n.want(200, "GET", "/devices/"+path+serviceV, "").member(n.t, "deviceId"); got != id {
				n.t.Errorf("%s became %v", id, got)
			}
			n.want(200, "GET", "/twins/"+path+serviceV, "")
		}
	})
	on("ids in URLs may not even look encoded", func(n *wireNode) {
		a := n.raw("PUT /devices/a%b"+serviceV, `{"deviceId":"a%b","authentication":{"type":"sas"}}`)
		if a.status != 200 || a.member(n.t, "deviceId") != "a%b" {
			n.t.Fatalf("%d %s", a.status, a.body)
		}
		if a := n.raw("GET /devices/a%b"+serviceV, ""); a.status != 200 || a.member(n.t, "deviceId") != "a%b" {
			n.t.Errorf("%d %s", a.status, a.body)
		}
	})
	on("Request-Id is a counter and not on every call", func(n *wireNode) {
		n.device("j4")
		c := n.connect(hello{id: "j4"})
		c.subscribe(0, methodCalls)
		// The same number means another call when its body or target is another.
		one, two := n.invoke("j4", `{"methodName":"m","payload":1}`, "Request-Id", "1"), n.invoke("j4", `{"methodName":"m","payload":2}`, "Request-Id", "1")
		for range 2 {
			m := c.received()
			c.publish(methodAnswers+"200/?$rid="+ridOf(m.topic), m.body)
		}
		if a, b := <-one, <-two; a.body != `{"status":200,"payload":1}` || b.body != `{"status":200,"payload":2}` {
			n.t.Errorf("%s, %s", a.body, b.body)
		}
		if a := n.twin("j4"); a.header.Get("x-ms-request-id") == "" {
			n.t.Error("no request id")
		}
	})
	on("job cancel posts {}", func(n *wireNode) {
		n.want(200, "PUT", "/jobs/v2/job-c"+serviceV, `{"jobId":"job-c","type":"scheduleUpdateTwin","updateTwin":{"etag":"*","tags":{"k":"v"},"properties":{"desired":{},"reported":{"ignored":1}}},"queryCondition":"*","startTime":"2999-01-02T03:04:05Z","maxExecutionTimeInSeconds":60}`)
		if a := n.want(200, "POST", "/jobs/v2/job-c/cancel"+serviceV, "{}"); a.member(n.t, "status") != "cancelled" {
			n.t.Error(a.body)
		}
	})
	on("job documents leave out what is null, and pending, canceled, type", func(n *wireNode) {
		n.device("j5")
		n.want(200, "PUT", "/jobs/v2/job-t"+serviceV, `{"jobId":"job-t","type":"scheduleUpdateTwin","updateTwin":{"etag":"*","tags":{"k":"v"}},"queryCondition":"deviceId='j5'","startTime":null,"maxExecutionTimeInSeconds":60}`)
		n.want(200, "PUT", "/jobs/v2/job-m"+serviceV, `{"jobId":"job-m","type":"scheduleDeviceMethod","cloudToDeviceMethod":{"methodName":"m","payload":null,"responseTimeoutInSeconds":5},"queryCondition":"deviceId='j5'","startTime":null,"maxExecutionTimeInSeconds":1}`)
		for id, missing := range map[string]string{"job-t": "cloudToDeviceMethod", "job-m": "updateTwin"} {
			var a *answer
			eventually(n.t, id, func() bool {
				a = n.want(200, "GET", "/jobs/v2/"+id+serviceV, "")
				return a.member(n.t, "status") == "completed"
			})
			var members map[string]json.RawMessage
			a.into(n.t, &members)
			if _, there := members[missing]; there || strings.Contains(a.body, ":null") && nullMember(members) {
				n.t.Errorf("%s: %s", id, a.body)
			}
			rows := n.want(200, "POST", "/devices/query"+serviceV, `{"query":"SELECT * FROM devices.jobs WHERE devices.jobs.jobId = '`+id+`'"}`)
			var list []map[string]json.RawMessage
			if rows.into(n.t, &list); len(list) != 1 {
				n.t.Fatalf("%s: %s", id, rows.body)
			}
			row := list[0]
			_, kind := row["type"]
			_, method := row["cloudToDeviceMethod"]
			_, outcome := row["outcome"]
			status := string(row["status"])
			if kind || nullMember(row) || method != (id == "job-m") || outcome && string(row["outcome"]) == "null" || status == `"pending"` || status == `"canceled"` || row["jobType"] == nil {
				n.t.Errorf("%s: row %s", id, rows.body)
			}
		}
	})
	on("error numbers in shape 3, or in shape 2 with an empty ExceptionMessage", func(n *wireNode) {
		n.device("j6")
		wantShape2(n.t, n.want(404, "POST", "/twins/j6/methods"+serviceV, `{"methodName":"m"}`), 404103)
		wantShape3(n.t, n.want(404, "GET", "/digitaltwins/nobody"+serviceV, ""), 404001)
		wantShape1(n.t, n.want(404, "GET", "/devices/nobody"+serviceV, ""), "DeviceNotFound")
	})
	on("a digital twin's ETag is spelled ETag, over HTTP/1.1", func(n *wireNode) {
		n.device("j7")
		text := n.rawText("GET /digitaltwins/j7"+serviceV, "")
		if !strings.HasPrefix(text, "HTTP/1.1 200") || !strings.Contains(text, "\r\nETag: \"") {
			n.t.Error(text)
		}
		config := n.tls()
		config.NextProtos = []string{"h2", "http/1.1"}
		nc, err := tls.Dial("tcp", n.address("https"), config)
		if err != nil {
			n.t.Fatal(err)
		}
		defer nc.Close()
		if got := nc.ConnectionState().NegotiatedProtocol; got != "http/1.1" {
			n.t.Errorf("ALPN %q", got)
		}
	})
	on("getStatistics reads enableDeviceCount", func(n *wireNode) {
		a := n.want(200, "GET", "/statistics/devices"+serviceV, "")
		if v := a.member(n.t, "enableDeviceCount"); v == nil || v != a.member(n.t, "enabledDeviceCount") {
			n.t.Error(a.body)
		}
	})
	on("method defaults are 200 s and 200 s", func(n *wireNode) {
		n.device("j8")
		called := n.invoke("j8", `{"methodName":"m","responseTimeoutInSeconds":200,"connectTimeoutInSeconds":200,"payload":null}`)
		c := n.connect(hello{id: "j8"})
		c.subscribe(0, methodCalls)
		m := c.received()
		c.publish(methodAnswers+"200/?$rid="+ridOf(m.topic), "1")
		if a := <-called; a.body != `{"status":200,"payload":1}` {
			n.t.Errorf("%d %s", a.status, a.body)
		}
	})
}

func TestOtherServices(t *testing.T) {
	node := newWireNode(t)
	on := func(line string, test func(n *wireNode)) {
		t.Run(line, func(t *testing.T) { test(node.as(t)) })
	}
	node.device("o1")
	on("C#: x-ms-item-type is there and right", func(n *wireNode) {
		for query, want := range map[string]string{
			"SELECT * FROM devices": "Twin", "SELECT deviceId FROM devices": "Raw", "SELECT * FROM devices.modules": "Twin",
			"SELECT COUNT() AS n FROM devices": "Raw", "SELECT * FROM devices.jobs": "DeviceJob",
		} {
			if a := n.want(200, "POST", "/devices/query"+serviceV, fmt.Sprintf(`{"query":%q}`, query)); a.header.Get("x-ms-item-type") != want {
				n.t.Errorf("%s: %q", query, a.header.Get("x-ms-item-type"))
			}
		}
	})
	on("C#, Java: feedback via /messages/servicebound/feedback", func(n *wireNode) {
		c := n.connect(hello{id: "o1"})
		c.subscribe(1, commandsOf("o1")+"#")
		n.must(n.t, "command", "send", "o1", "--body", "x", "--message-id", "m-1", "--ack", "full")
		c.received()
		var a *answer
		eventually(n.t, "feedback", func() bool {
			a = n.ask("GET", "/messages/servicebound/feedback"+serviceV, "")
			return a.status == 200
		})
		var list []struct{ OriginalMessageID, StatusCode, DeviceID, EnqueuedTimeUTC, DeviceGenerationID string }
		if a.into(n.t, &list); len(list) != 1 || list[0].OriginalMessageID != "m-1" || list[0].StatusCode != "Success" || list[0].DeviceID != "o1" || list[0].DeviceGenerationID == "" {
			n.t.Errorf("%s", a.body)
		}
		lock := strings.Trim(a.header.Get("ETag"), `"`)
		n.want(204, "POST", "/messages/servicebound/feedback/"+lock+"/abandon"+serviceV, "")
		lock = strings.Trim(n.want(200, "GET", "/messages/ServiceBound/Feedback/"+serviceV, "").header.Get("ETag"), `"`)
		n.want(204, "DELETE", "/messages/servicebound/feedback/"+lock+serviceV, "")
		n.want(412, "DELETE", "/messages/servicebound/feedback/"+lock+serviceV, "")
	})
	on("IoT Explorer: projection query and STARTSWITH", func(n *wireNode) {
		const projection = "SELECT deviceId as DeviceId, status as Status, lastActivityTime as LastActivityTime, statusUpdatedTime as StatusUpdatedTime, authenticationType as AuthenticationType, " +
			"cloudToDeviceMessageCount as CloudToDeviceMessageCount, connectionState as ConnectionState, capabilities.iotEdge as IotEdge, modelId as ModelId FROM devices WHERE STARTSWITH(devices.deviceId,'o1')"
		var rows []map[string]any
		a := n.want(200, "POST", "/devices/query"+serviceV, fmt.Sprintf(`{"query":%q}`, projection))
		if a.into(n.t, &rows); len(rows) != 1 || rows[0]["DeviceId"] != "o1" || rows[0]["Status"] != "enabled" || rows[0]["IotEdge"] != false || rows[0]["StatusUpdatedTime"] == nil || rows[0]["AuthenticationType"] != "sas" {
			n.t.Error(a.body)
		}
	})
	on("IoT Explorer: a service SAS scoped to the path", func(n *wireNode) {
		narrow := credential.Sign(wireHost+"/devices/query", time.Now().Add(time.Hour), n.owner.Key, n.owner.KeyName)
		n.want(200, "POST", "/devices/query"+serviceV, `{"query":"SELECT * FROM devices"}`, "Authorization", narrow)
		n.want(401, "GET", "/devices/o1"+serviceV, "", "Authorization", narrow)
	})
	on("paths without case and with one trailing slash", func(n *wireNode) {
		n.want(200, "GET", "/Devices/o1/"+serviceV, "")
		n.want(200, "GET", "/devices/"+serviceV, "")
		n.want(200, "GET", "/TWINS/o1"+serviceV, "")
	})
	on("a body on GET", func(n *wireNode) { n.want(200, "GET", "/devices/o1"+serviceV, "{}") })
}

func nullMember(m map[string]json.RawMessage) bool {
	for name, v := range m {
		if string(v) == "null" && (name == "cloudToDeviceMethod" || name == "updateTwin" || name == "outcome") {
			return true
		}
	}
	return false
}

// rawText sends a request line and body as they are and returns the answer's text.
func (n *wireNode) rawText(line, body string) string {
	n.t.Helper()
	nc, err := tls.Dial("tcp", n.address("https"), n.tls())
	if err != nil {
		n.t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(nc, "%s HTTP/1.1\r\nHost: %s\r\nAuthorization: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		line, wireHost, n.token("", n.owner.KeyName, n.owner.Key), len(body), body)
	b, err := io.ReadAll(bufio.NewReader(nc))
	if err != nil {
		n.t.Fatal(err)
	}
	return string(b)
}

var statusLine = regexp.MustCompile(`^HTTP/1.1 (\d+)`)

func (n *wireNode) raw(line, body string) *answer {
	n.t.Helper()
	text := n.rawText(line, body)
	a := new(answer)
	_, a.body, _ = strings.Cut(text, "\r\n\r\n")
	if m := statusLine.FindStringSubmatch(text); m != nil {
		fmt.Sscan(m[1], &a.status)
	}
	return a
}
