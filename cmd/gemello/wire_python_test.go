package main

import (
	"crypto/tls"
	"fmt"
	"strings"
	"testing"
	"time"
)

// What devices publish to and subscribe.
const (
	getTwinTopic  = "$iothub/twin/GET/?$rid="
	reportedPatch = "$iothub/twin/PATCH/properties/reported/?$rid="
	twinAnswers   = "$iothub/twin/res/#"
	twinDesired   = "$iothub/twin/PATCH/properties/desired/#"
	methodCalls   = "$iothub/methods/POST/#"
	methodAnswers = "$iothub/methods/res/"
)

func eventsOf(id string) string {
	return "devices/" + strings.Replace(id, "/", "/modules/", 1) + "/messages/events/"
}

func commandsOf(id string) string { return "devices/" + id + "/messages/devicebound/" }

// pythonHello is the CONNECT of Python's azure-iot-device: TLS 1.2, no ALPN.
func (n *wireNode) pythonHello(id string) hello {
	config := n.tls()
	config.MaxVersion = tls.VersionTLS12
	return hello{
		id: id, persist: true, keepAlive: 60, tls: config,
		user: wireHost + "/" + id + "/?api-version=2019-10-01&DeviceClientType=azure-iot-device%2F2.14.0%20%28python%203.12%29",
	}
}

func TestPythonDevices(t *testing.T) {
	node := newWireNode(t)
	on := node.lines("py", (*wireNode).pythonHello)
	on("TLS 1.2 only, no ALPN", func(n *wireNode, id string, c *frames) {
		if c.state.Version != tls.VersionTLS12 || c.state.NegotiatedProtocol != "" {
			t.Errorf("TLS %x, ALPN %q", c.state.Version, c.state.NegotiatedProtocol)
		}
		h := n.pythonHello(id)
		h.socket = socketTarget
		if s := n.connect(h).state; s.Version != tls.VersionTLS12 || s.NegotiatedProtocol != "" {
			t.Errorf("on port 443: TLS %x, ALPN %q", s.Version, s.NegotiatedProtocol)
		}
	})
	on("Host with the port on the upgrade", func(n *wireNode, id string, _ *frames) {
		h := n.pythonHello(id)
		h.socket, h.headers = socketTarget, map[string]string{"Host": wireHost + ":443", "Origin": "https://" + wireHost + ":443"}
		n.connect(h).publish(eventsOf(id), "{}")
	})
	on("model-id is percent-encoded and comes last", func(n *wireNode, id string, _ *frames) {
		h := n.pythonHello(id)
		h.user = strings.Replace(h.user, "2019-10-01", "2020-09-30", 1) + "&model-id=dtmi%3Acom%3Aexample%3AThermostat%3B1"
		n.connect(h).ping()
		eventually(n.t, "model id in the twin", func() bool {
			return n.twin(id).member(n.t, "modelId") == "dtmi:com:example:Thermostat;1"
		})
	})
	on("everything is published with QoS 1", func(n *wireNode, id string, c *frames) {
		c.subscribe(1, twinAnswers, methodCalls)
		for i, m := range []struct{ topic, body string }{{getTwinTopic + "1", " "}, {reportedPatch + "2", `{"a":1}`}, {eventsOf(id), "{}"}} {
			c.send(publishPacket(qos1, m.topic, uint16(i+1), m.body))
			c.acked(uint16(i + 1))
		}
		if got := []publication{c.received(), c.received()}; got[0].topic != "$iothub/twin/res/200/?$rid=1" || got[1].topic != "$iothub/twin/res/204/?$rid=2&$version=2" {
			t.Errorf("%+v", got)
		}
		called := n.invoke(id, `{"methodName":"m","payload":{}}`)
		call := c.received()
		c.publish(methodAnswers+"200/?$rid="+ridOf(call.topic), `{"ok":true}`)
		if a := <-called; a.status != 200 || a.body != `{"status":200,"payload":{"ok":true}}` {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
	on("a SUBACK failure is ignored", func(n *wireNode, id string, c *frames) {
		if codes := c.subscribe(1, "devices/"+id+"/else/#"); codes[0] != 0x80 {
			t.Errorf("code %x", codes)
		}
		c.publish(eventsOf(id), "{}")
	})
	on("a message refused by closing is sent again for ever", func(n *wireNode, id string, c *frames) {
		large := strings.Repeat("x", 262144+1)
		c.send(publishPacket(qos1, eventsOf(id), 5, large))
		c.ended()
		// It comes back, marked as a duplicate, and must not end the next connection, too.
		c = n.connect(n.pythonHello(id))
		c.send(publishPacket(qos1|dup, eventsOf(id), 5, large))
		c.acked(5)
		c.publish(eventsOf(id), "{}")
		if got := n.eventsFrom(id); len(got) != 1 {
			t.Errorf("%d messages, want the small one", len(got))
		}
		if n.metric("gemello_mqtt_refused_total") < 2 {
			t.Error("refusals are not counted")
		}
	})
	on("CONNACK 5 for a credential, 3 for a rate, never none", func(n *wireNode, id string, _ *frames) {
		h := n.pythonHello(id)
		h.password = n.deviceToken("another")
		if c := n.answered(h); c.code != 5 {
			t.Errorf("a foreign token: CONNACK %d", c.code)
		}
		h = n.pythonHello("unknown-" + id)
		if c := n.answered(h); c.code != 5 {
			t.Errorf("an unknown device: CONNACK %d", c.code)
		}
		codes := map[byte]int{}
		for range 130 { // the rate is 120 a minute
			c := n.answered(n.pythonHello(id))
			codes[c.code]++
			c.nc.Close()
		}
		if codes[3] == 0 || codes[0]+codes[3] != 130 {
			t.Errorf("too many connects: CONNACKs %v", codes)
		}
	})
	on("twin results have status and errorCode", func(n *wireNode, _ string, c *frames) {
		c.subscribe(1, twinAnswers)
		c.publish(reportedPatch+"1", `{"$x":1,"a b":2}`)
		m := c.received()
		if m.topic != "$iothub/twin/res/400/?$rid=1" || !strings.Contains(m.body, `"errorCode":400004`) {
			t.Errorf("%s %s", m.topic, m.body)
		}
	})
	on("desired patches carry $version", func(n *wireNode, id string, c *frames) {
		c.subscribe(1, twinDesired)
		n.want(200, "PATCH", "/twins/"+id+serviceV, `{"properties":{"desired":{"rate":5}}}`)
		if m := c.received(); m.topic != "$iothub/twin/PATCH/properties/desired/?$version=2" || m.body != `{"rate":5,"$version":2}` {
			t.Errorf("%s %s", m.topic, m.body)
		}
	})
	on("a twin GET after a reconnect without subscribing", func(n *wireNode, id string, c *frames) {
		c.subscribe(1, twinAnswers)
		c.leave()
		c = n.connect(n.pythonHello(id))
		if !c.present {
			t.Error("the session is not present")
		}
		c.publish(getTwinTopic+"7", " ")
		if m := c.received(); m.topic != "$iothub/twin/res/200/?$rid=7" {
			t.Error(m.topic)
		}
		c.leave()
		h := n.pythonHello(id)
		h.persist = false
		c = n.connect(h)
		c.publish(getTwinTopic+"8", " ")
		if m := c.received(); m.topic != "$iothub/twin/res/200/?$rid=8" {
			t.Errorf("in a clean session: %s", m.topic)
		}
	})
	on("values in C2D topics are encoded", func(n *wireNode, id string, c *frames) {
		c.subscribe(1, commandsOf(id)+"#")
		n.must(n.t, "command", "send", id, "--body", "x", "--property", "p=a=b/c d", "--message-id", "m=/1")
		m := c.received()
		bag, ok := strings.CutPrefix(m.topic, commandsOf(id))
		if !ok || strings.Contains(bag, "/") || !strings.Contains(bag, "p=a%3Db%2Fc%20d") || !strings.Contains(bag, "%24.mid=m%3D%2F1") {
			t.Error(m.topic)
		}
	})
	on("the largest body is 262,111 bytes", func(n *wireNode, id string, c *frames) {
		c.publish(eventsOf(id), strings.Repeat("x", 262111))
		h := n.pythonHello(id)
		h.socket = socketTarget
		n.connect(h).publish(eventsOf(id), strings.Repeat("x", 262111))
		if got := n.eventsFrom(id); len(got) != 2 {
			t.Errorf("%d messages", len(got))
		}
	})
	t.Run("invoke_method sends api-version 2019-10-01", func(t *testing.T) {
		n := node.as(t)
		n.device("py-edge")
		n.device("py-edge/m")
		const target = "/twins/py-edge/methods?api-version=2019-10-01"
		// The hub itself takes no methods of modules, only its services': an edge does.
		a := n.want(401, "POST", target, `{"methodName":"m"}`, "Authorization", n.deviceToken("py-edge/m"), "x-ms-edge-moduleId", "py-edge/m")
		wantShape2(t, a, 401002)
		a = n.want(404, "POST", target, `{"methodName":"m"}`)
		wantShape2(t, a, 404103)
	})
}

// ridOf is the request id of a method's topic.
func ridOf(topic string) string {
	_, rid, _ := strings.Cut(topic, "$rid=")
	return rid
}

// invoke calls a method and hands over the answer when it is there.
func (n *wireNode) invoke(id, body string, headers ...string) <-chan *answer {
	called := make(chan *answer, 1)
	target := "/twins/" + strings.Replace(id, "/", "/modules/", 1) + "/methods" + serviceV
	go func() {
		a, err := n.send(n.pool, "POST", target, body, headers...)
		if err != nil {
			a = &answer{body: err.Error()}
		}
		called <- a
	}()
	return called
}

// eventsFrom returns the telemetry of a device or module that is on the events
// topic, all that was acknowledged before: a last message of the device follows it.
func (n *wireNode) eventsFrom(id string) (list []wireRecord) {
	n.t.Helper()
	did, mid, _ := strings.Cut(id, "/")
	const fence = `"fence `
	last := fmt.Sprintf("%s%d\"", fence, time.Now().UnixNano())
	n.want(204, "POST", "/devices/"+did+"/messages/events"+serviceV, last, "Authorization", n.deviceToken(did), "iothub-contenttype", "application/json")
	eventually(n.t, "the last message of "+did, func() (there bool) {
		list = nil
		for _, r := range n.records(n.info.Hub + ".events") {
			if r.Key != did || r.Headers["iothub-message-source"] != "Telemetry" {
				continue
			}
			if there = there || string(r.Value) == last; !strings.HasPrefix(string(r.Value), fence) && r.Headers["iothub-connection-module-id"] == mid {
				list = append(list, r)
			}
		}
		return there
	})
	return list
}
