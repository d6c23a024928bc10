package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/credential"
)

// twinLimit is a rule of azure-iot-wire 6 on the document of one section.
type twinLimit struct {
	rule   string
	doc    string
	status int // 200: the greatest that is allowed
	number int
}

func twinLimits(size int) []twinLimit {
	good := func(rule, doc string) twinLimit { return twinLimit{rule, doc, 200, 0} }
	argument := func(rule, doc string) twinLimit { return twinLimit{rule, doc, 400, 400004} }
	format := func(rule, doc string) twinLimit { return twinLimit{rule, doc, 400, 400006} }
	large := func(rule, doc string) twinLimit { return twinLimit{rule, doc, 413, 413001} }
	return []twinLimit{
		good("as large as allowed", sized(size)),
		large("a byte too large", sized(size+1)),
		large("more text than is parsed", `{"a":`+strings.Repeat(" ", device.MaxPatchBytes)+`1}`),
		good("a text of 4 KiB", `{"a":"`+strings.Repeat("x", 4<<10)+`"}`),
		argument("a text of more than 4 KiB", `{"good":1,"a":"`+strings.Repeat("x", 4<<10+1)+`"}`),
		good("10 levels", strings.Repeat(`{"a":`, 10)+"1"+strings.Repeat("}", 10)),
		argument("11 levels", `{"good":1,"a":`+strings.Repeat(`{"a":`, 11)+"1"+strings.Repeat("}", 12)),
		argument("11 levels of arrays", `{"good":1,"a":`+strings.Repeat("[", 11)+strings.Repeat("]", 11)+"}"),
		good("a key of 1 KiB", `{"`+strings.Repeat("k", 1<<10)+`":1}`),
		argument("a key of more than 1 KiB", `{"good":1,"`+strings.Repeat("k", 1<<10+1)+`":1}`),
		argument("an empty key", `{"good":1,"":1}`),
		argument("a key with .", `{"good":1,"a.b":1}`),
		argument("a key with $", `{"good":1,"a$b":1}`),
		argument("a key with a blank", `{"good":1,"a b":1}`),
		argument("a key with a C0 character", `{"good":1,"a\u0001":1}`),
		argument("a key with a C1 character", `{"good":1,"a\u0080":1}`),
		argument("a bad key deep inside", `{"good":1,"a":{"b":{"c d":1}}}`),
		good("the greatest integers", `{"a":4503599627370495,"b":-4503599627370496}`),
		argument("an integer above", `{"good":1,"a":4503599627370496}`),
		argument("an integer below", `{"good":1,"a":-4503599627370497}`),
		argument("an integer above in an array", `{"good":1,"a":[4503599627370496]}`),
		argument("a text", `"text"`), argument("an array", `[1]`), argument("a number", `1`),
		format("half an object", `{"good":1,"a":`), format("more behind it", `{"good":1} x`), format("a key without quotes", `{good:1}`),
		format("a number with a zero in front", `{"good":1,"a":01}`), format("a text with a line feed", "{\"good\":1,\"a\":\"\n\"}"),
	}
}

// sized is a document that counts for n bytes.
func sized(n int) string {
	var members []string
	for i := 0; n > 0; i++ {
		key := fmt.Sprintf("k%02d", i)
		value := min(n-len(key), 4<<10)
		if rest := n - len(key) - value; rest > 0 && rest < 4 {
			value -= 4
		}
		members = append(members, `"`+key+`":"`+strings.Repeat("v", value)+`"`)
		n -= len(key) + value
	}
	return "{" + strings.Join(members, ",") + "}"
}

// A document or patch that breaks a rule is refused whole: the twin is byte for
// byte what it was, and no version has grown.
func TestATwinThatBreaksALimitIsRefusedWhole(t *testing.T) {
	node := newWireNode(t)
	for _, section := range []struct {
		name   string
		size   int
		change func(n *wireNode, c *frames, doc string) *answer
	}{
		{"tags, PATCH", device.MaxTagsSize, func(n *wireNode, _ *frames, doc string) *answer {
			return n.ask("PATCH", "/twins/d1"+serviceV, `{"properties":{"desired":{"beside":1}},"tags":`+doc+`}`)
		}},
		{"tags, PUT", device.MaxTagsSize, func(n *wireNode, _ *frames, doc string) *answer {
			return n.ask("PUT", "/twins/d1"+serviceV, `{"properties":{"desired":{"beside":1}},"tags":`+doc+`}`)
		}},
		{"desired, PATCH", device.MaxDesiredSize, func(n *wireNode, _ *frames, doc string) *answer {
			return n.ask("PATCH", "/twins/d1"+serviceV, `{"tags":{"beside":1},"properties":{"desired":`+doc+`}}`)
		}},
		{"desired, PUT", device.MaxDesiredSize, func(n *wireNode, _ *frames, doc string) *answer {
			return n.ask("PUT", "/twins/d1"+serviceV, `{"tags":{"beside":1},"properties":{"desired":`+doc+`}}`)
		}},
		{"reported, MQTT", device.MaxReportedSize, func(n *wireNode, c *frames, doc string) *answer {
			c.publish(reportedPatch+"1", doc)
			m := c.received()
			a := &answer{body: m.body}
			if fmt.Sscanf(m.topic, "$iothub/twin/res/%d/", &a.status); a.status == 204 {
				a.status = 200
			}
			return a
		}},
	} {
		t.Run(section.name, func(t *testing.T) {
			n := node.as(t)
			c := n.connected("d1")
			overMQTT := strings.HasPrefix(section.name, "reported")
			for _, limit := range twinLimits(section.size) {
				// An empty twin, so that sizes are those of the document alone.
				n.want(200, "PUT", "/twins/d1"+serviceV, `{"tags":{},"properties":{"desired":{}}}`)
				if overMQTT {
					c.publish(reportedPatch+"0", cleared(n.twin("d1").member(t, "properties", "reported")))
					if m := c.received(); !strings.Contains(m.topic, "/204/") {
						t.Fatalf("%s: clear: %s %s", limit.rule, m.topic, m.body)
					}
				}
				before := n.twin("d1")
				a := section.change(n, c, limit.doc)
				if a.status != limit.status {
					t.Errorf("%s: %d %.200s, want %d", limit.rule, a.status, a.body, limit.status)
					continue
				}
				after := n.twin("d1")
				switch {
				case limit.status == 200:
					if after.body == before.body {
						t.Errorf("%s: nothing changed", limit.rule)
					}
					continue
				case after.body != before.body:
					t.Errorf("%s: the twin became\n%.400s\nfrom\n%.400s", limit.rule, after.body, before.body)
				}
				if overMQTT {
					wantShape3(t, a, limit.number)
				} else {
					wantShape1(t, a, map[int]string{400004: "ArgumentInvalid", 400006: "IotHubFormatError", 413001: "MessageTooLarge"}[limit.number])
				}
			}
		})
	}
	t.Run("patches that are too large together", func(t *testing.T) {
		n := node.as(t)
		n.want(200, "PUT", "/twins/d1"+serviceV, `{"tags":`+sized(device.MaxTagsSize)+`}`)
		before := n.twin("d1")
		wantShape1(t, n.want(413, "PATCH", "/twins/d1"+serviceV, `{"tags":{"z":true}}`), "MessageTooLarge")
		if after := n.twin("d1"); after.body != before.body {
			t.Error(after.body)
		}
		n.want(200, "PATCH", "/twins/d1"+serviceV, `{"tags":{"k00":null,"z":true}}`)
	})
}

// connected makes a device, unless it is there, and connects it; the twin says so.
func (n *wireNode) connected(id string) *frames {
	n.t.Helper()
	if n.ask("GET", "/devices/"+id+serviceV, "").status == 404 {
		n.device(id)
	}
	c := n.connect(hello{id: id})
	c.subscribe(0, twinAnswers)
	eventually(n.t, "connection of "+id, func() bool { return n.twin(id).member(n.t, "connectionState") == "Connected" })
	return c
}

// cleared is a patch that removes all members.
func cleared(section any) string {
	var members []string
	for name := range section.(map[string]any) {
		if !strings.HasPrefix(name, "$") {
			members = append(members, fmt.Sprintf("%q:null", name))
		}
	}
	return "{" + strings.Join(members, ",") + "}"
}

// Who may not change a part of the twin changes nothing.
func TestPartsOfATwinHaveTheirWriters(t *testing.T) {
	n := newWireNode(t)
	c := n.connected("d1")
	n.want(200, "PATCH", "/twins/d1"+serviceV, `{"tags":{"a":1},"properties":{"desired":{"d":1}}}`)
	c.publish(reportedPatch+"1", `{"r":1}`)
	c.received()
	before := n.twin("d1")
	unchanged := func(what string) {
		t.Helper()
		if after := n.twin("d1"); after.body != before.body {
			t.Errorf("%s:\n%s\nfrom\n%s", what, after.body, before.body)
		}
	}
	for _, body := range []string{`{"properties":{"reported":{"r":2,"x":1}}}`, `{"version":9,"etag":"x","status":"disabled","deviceId":"d1"}`} {
		n.want(200, "PATCH", "/twins/d1"+serviceV, body)
		unchanged("a service's " + body)
	}
	read, _ := credential.ParseConnectionString(strings.TrimSpace(n.must(t, "connection-string", "--policy", "registryRead")))
	for _, token := range []string{n.token("", read.KeyName, read.Key), n.deviceToken("d1"), none} {
		n.want(401, "PATCH", "/twins/d1"+serviceV, `{"tags":{"a":2}}`, "Authorization", token)
		unchanged("a patch without the right")
	}
	// A device has no topic for tags or desired properties.
	c.send(publishPacket(qos1, "$iothub/twin/PATCH/properties/desired/?$rid=1", 3, `{"d":2}`))
	c.ended()
	c = n.connected("d1")
	after := n.twin("d1")
	if after.member(t, "properties", "desired", "$version") != before.member(t, "properties", "desired", "$version") || after.member(t, "properties", "desired", "d") != 1.0 {
		t.Error(after.body)
	}
	// Members that begin with $ are nobody's.
	version := n.twin("d1").member(t, "properties", "reported", "$version")
	c.publish(reportedPatch+"2", `{"$version":99,"$metadata":{"r":1},"r":3}`)
	c.received()
	after = n.twin("d1")
	if v := after.member(t, "properties", "reported", "$version"); v != version.(float64)+1 || after.member(t, "properties", "reported", "r") != 3.0 {
		t.Error(after.body)
	}
}

// A query that breaks a limit, or asks for what the language does not have, is
// refused whole: no row and no continuation comes back.
func TestAQueryThatBreaksALimitIsRefusedWhole(t *testing.T) {
	n := newWireNode(t)
	parentheses := func(depth int) string {
		return "SELECT deviceId FROM devices WHERE " + strings.Repeat("(", depth) + "deviceId = 'ready-1'" + strings.Repeat(")", depth)
	}
	list := func(items int) string {
		return "SELECT deviceId FROM devices WHERE deviceId IN [" + strings.TrimSuffix(strings.Repeat("'ready-1',", items), ",") + "]"
	}
	for _, tt := range []struct {
		rule, query string
		headers     []string
		status      int
	}{
		{"deep", parentheses(60), nil, 200}, {"too deep", parentheses(200), nil, 400},
		{"a long list", list(1000), nil, 200}, {"too long a list", list(1001), nil, 400},
		{"a long text", "SELECT deviceId FROM devices WHERE deviceId = 'ready-1'" + strings.Repeat(" ", 16<<10-55), nil, 200},
		{"too long a text", "SELECT deviceId FROM devices WHERE deviceId = 'ready-1'" + strings.Repeat(" ", 16<<10), nil, 400},
		{"JOIN", "SELECT * FROM devices JOIN devices.modules", nil, 400},
		{"ORDER BY", "SELECT * FROM devices ORDER BY deviceId", nil, 400},
		{"LIKE", "SELECT * FROM devices WHERE deviceId LIKE 'a%'", nil, 400},
		{"DISTINCT", "SELECT DISTINCT deviceId FROM devices", nil, 400},
		{"HAVING", "SELECT COUNT() AS n FROM devices GROUP BY status HAVING n > 1", nil, 400},
		{"a query in a query", "SELECT * FROM devices WHERE deviceId IN (SELECT deviceId FROM devices)", nil, 400},
		{"arithmetic in SELECT", "SELECT version + 1 AS v FROM devices", nil, 400},
		{"GROUP BY of modules", "SELECT COUNT() AS n FROM devices.modules GROUP BY status", nil, 400},
		{"GROUP BY two paths", "SELECT COUNT() AS n FROM devices GROUP BY status, modelId", nil, 400},
		{"aggregate of jobs", "SELECT COUNT() AS n FROM devices.jobs", nil, 400},
		{"columns of jobs", "SELECT jobId FROM devices.jobs", nil, 400},
		{"another collection", "SELECT * FROM telemetry", nil, 400},
		{"nothing", "", nil, 400},
		{"more behind it", "SELECT * FROM devices; DROP", nil, 400},
		{"TOP of nothing", "SELECT TOP -1 * FROM devices", nil, 400},
		{"a page of 1", "SELECT * FROM devices", []string{"x-ms-max-item-count", "1"}, 200},
		{"a page of 0", "SELECT * FROM devices", []string{"x-ms-max-item-count", "0"}, 400},
		{"a page that is too large", "SELECT * FROM devices", []string{"x-ms-max-item-count", "1001"}, 400},
		{"a page of text", "SELECT * FROM devices", []string{"x-ms-max-item-count", "many"}, 400},
		{"a continuation that is none", "SELECT * FROM devices", []string{"x-ms-continuation", "bm9uZQ=="}, 400},
		{"a continuation of garbage", "SELECT * FROM devices", []string{"x-ms-continuation", "***"}, 400},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			a := n.as(t).want(tt.status, "POST", "/devices/query"+serviceV, fmt.Sprintf(`{"query":%q}`, tt.query), tt.headers...)
			if tt.status == 200 {
				return
			}
			if _, there := a.header["X-Ms-Continuation"]; there || a.header.Get("x-ms-item-type") != "" {
				t.Errorf("headers %v", a.header)
			}
			wantShape1(t, a, "ArgumentInvalid")
		})
	}
	t.Run("a body that is too long", func(t *testing.T) {
		a := n.as(t).want(413, "POST", "/devices/query"+serviceV, `{"query":"`+strings.Repeat(" ", 64<<10)+`"}`)
		wantShape1(t, a, "MessageTooLarge")
	})
	t.Run("a body that is no JSON", func(t *testing.T) {
		wantShape1(t, n.as(t).want(400, "POST", "/devices/query"+serviceV, `{"query":`), "IotHubFormatError")
	})
}
