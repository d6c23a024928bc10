package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

const javaAgent = "com.microsoft.azure.sdk.iot.iot-device-client/2.5.0 (1.8.0_292; Linux; amd64)"

// javaHello is the CONNECT of Azure's SDK for Java.
func javaHello(id string) hello {
	return hello{
		id: id, persist: true, keepAlive: 230,
		user: wireHost + "/" + id + "/?api-version=2020-09-30&DeviceClientType=" + strings.NewReplacer(" ", "%20", "/", "%2F", ";", "%3B", "(", "%28", ")", "%29").Replace(javaAgent),
	}
}

func TestJavaDevices(t *testing.T) {
	on := newWireNode(t).lines("java", func(_ *wireNode, id string) hello { return javaHello(id) })
	on("a HostName with a dot: 127.0.0.1 is in the certificate", func(n *wireNode, _ string, c *frames) {
		leaf := c.state.PeerCertificates[0]
		if err := leaf.VerifyHostname(wireHost); err != nil {
			n.t.Error(err)
		}
		named := false
		for _, ip := range leaf.IPAddresses {
			named = named || ip.Equal(net.ParseIP(wireHost))
		}
		if !named {
			n.t.Errorf("addresses %v", leaf.IPAddresses)
		}
	})
	on("keep-alive 230, CleanSession 0, api-version 2020-09-30 on MQTT and HTTPS", func(n *wireNode, id string, c *frames) {
		c.publish(eventsOf(id), "{}")
		n.want(204, "POST", "/devices/"+id+"/messages/events?api-version=2020-09-30", "{}", "Authorization", n.deviceToken(id), "User-Agent", javaAgent)
	})
	on("?iothub-no-client-cert=true on WSS with SAS", func(n *wireNode, id string, _ *frames) {
		h := javaHello(id)
		h.socket = socketTarget + "?iothub-no-client-cert=true"
		n.connect(h).publish(eventsOf(id), "{}")
	})
	on("an empty list of authorities", func(n *wireNode, id string, _ *frames) {
		for _, socket := range []string{"", socketTarget} {
			asked := false
			h := javaHello(id)
			h.socket, h.tls = socket, n.tls()
			h.tls.GetClientCertificate = func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
				if asked = true; len(r.AcceptableCAs) > 0 {
					n.t.Errorf("%d authorities", len(r.AcceptableCAs))
				}
				return new(tls.Certificate), nil
			}
			n.connect(h).ping()
			if !asked {
				n.t.Errorf("%q: no certificate was asked for", socket)
			}
		}
	})
	on("system keys are plain $.mid=, $.cdid always", func(n *wireNode, id string, c *frames) {
		c.publish(eventsOf(id)+"$.mid=m-1&$.cid=c-1&$.ct=application%2Fjson&$.ce=utf-8&$.cdid="+id+"&k=v", `{"t":1}`)
		got := n.eventsFrom(id)
		if len(got) != 1 {
			n.t.Fatalf("%d messages", len(got))
		}
		h := got[0].Headers
		if h["message-id"] != "m-1" || h["correlation-id"] != "c-1" || h["content-type"] != "application/json" || h["content-encoding"] != "utf-8" ||
			h["k"] != "v" || h["iothub-connection-device-id"] != id {
			n.t.Errorf("headers %v", h)
		}
	})
	on("every module telemetry topic ends in /", func(n *wireNode, id string, _ *frames) {
		m := id + "/m"
		n.device(m)
		n.connect(javaHello(m)).publish(eventsOf(m)+"$.cdid="+id+"&$.cmid=m&k=v/", "{}")
		if got := n.eventsFrom(m); len(got) != 1 || got[0].Headers["k"] != "v" || got[0].Headers["iothub-connection-module-id"] != "m" {
			n.t.Errorf("%+v", got)
		}
	})
	on("twin messages and method answers with QoS 1", func(n *wireNode, id string, c *frames) {
		c.subscribe(1, twinAnswers, methodCalls, twinDesired)
		c.publish(getTwinTopic+"1", "")
		c.publish(reportedPatch+"2", `{"a":1}`)
		if get, patch := c.received(), c.received(); !strings.Contains(get.topic, "/200/") || !strings.Contains(patch.topic, "/204/") {
			n.t.Errorf("%+v %+v", get, patch)
		}
		called := n.invoke(id, `{"methodName":"m","payload":{"a":1}}`)
		c.publish(methodAnswers+"7/?$rid="+ridOf(c.received().topic), `"done"`)
		if a := <-called; a.body != `{"status":7,"payload":"done"}` {
			n.t.Errorf("%d %s", a.status, a.body)
		}
	})
	on("modules subscribe devicebound of their own", func(n *wireNode, id string, _ *frames) {
		m := id + "/m"
		n.device(m)
		if codes := n.connect(javaHello(m)).subscribe(1, "devices/"+id+"/modules/m/messages/devicebound/#"); codes[0] > 1 {
			n.t.Errorf("code %x", codes)
		}
	})
	on("C2D: the bag is read from the first %24 on", func(n *wireNode, id string, c *frames) {
		c.subscribe(1, commandsOf(id)+"#")
		n.must(n.t, "command", "send", id, "--body", "x", "--property", "app=1", "--message-id", "m1", "--ack", "full")
		bag := strings.TrimPrefix(c.received().topic, commandsOf(id))
		app, last := strings.Index(bag, "app=1"), strings.LastIndex(bag, "%24.")
		if !strings.HasPrefix(bag, "%24.") || app < last || !strings.Contains(bag, "%24.mid=m1") {
			n.t.Error(bag)
		}
	})
	on("C2D: empty values are left out", func(n *wireNode, id string, c *frames) {
		c.subscribe(1, commandsOf(id)+"#")
		n.must(n.t, "command", "send", id, "--body", "x", "--property", "empty=", "--property", "full=1")
		bag := strings.TrimPrefix(c.received().topic, commandsOf(id))
		if strings.Contains(bag, "empty") || !strings.Contains(bag, "full=1") {
			n.t.Error(bag)
		}
		c.leave()
		other := n.connect(hello{id: id, persist: true}) // by another SDK
		n.must(n.t, "command", "send", id, "--body", "x", "--property", "empty=")
		if bag := other.received().topic; !strings.Contains(bag, "empty=") {
			n.t.Error(bag)
		}
	})
	on("twin results are judged by the topic's status", func(n *wireNode, _ string, c *frames) {
		c.publish(reportedPatch+"1", `{"a`)
		if m := c.received(); !strings.HasPrefix(m.topic, "$iothub/twin/res/400/?$rid=1") || !strings.Contains(m.body, `"errorCode":400006`) {
			n.t.Errorf("%s %s", m.topic, m.body)
		}
	})
	on("a stale $version of a reported patch is 412", func(n *wireNode, id string, c *frames) {
		c.publish(reportedPatch+"1&$version=1", `{"a":1}`)
		if m := c.received(); m.topic != "$iothub/twin/res/204/?$rid=1&$version=2" {
			n.t.Fatal(m.topic)
		}
		c.publish(reportedPatch+"2&$version=1", `{"a":2}`)
		if m := c.received(); m.topic != "$iothub/twin/res/412/?$rid=2" || !strings.Contains(m.body, `"errorCode":412001`) {
			n.t.Errorf("%s %s", m.topic, m.body)
		}
		twin := n.twin(id)
		if twin.member(t, "properties", "reported", "a") != 1.0 || twin.member(t, "properties", "reported", "$version") != 2.0 {
			n.t.Error(twin.body)
		}
	})
	on("method names reach the application undecoded", func(n *wireNode, id string, c *frames) {
		c.subscribe(0, methodCalls)
		called := n.invoke(id, `{"methodName":"comp*reboot","payload":null}`)
		m := c.received()
		if !strings.HasPrefix(m.topic, "$iothub/methods/POST/comp*reboot/?$rid=") {
			n.t.Error(m.topic)
		}
		c.publish(methodAnswers+"200/?$rid="+ridOf(m.topic), "")
		<-called
	})
	on("an empty method payload becomes {}: null is sent", func(n *wireNode, id string, c *frames) {
		c.subscribe(0, methodCalls)
		called := n.invoke(id, `{"methodName":"m"}`)
		m := c.received()
		if m.body != "null" {
			n.t.Errorf("payload %q", m.body)
		}
		c.publish(methodAnswers+"200/?$rid="+ridOf(m.topic), "{}")
		if a := <-called; a.body != `{"status":200,"payload":{}}` {
			n.t.Error(a.body)
		}
	})
	on("sendEventAsync reorders messages: they stay as they came", func(n *wireNode, id string, c *frames) {
		var burst []byte
		order := []uint16{3, 1, 4, 2}
		for _, i := range order {
			burst = append(burst, publishPacket(qos1, eventsOf(id), i, fmt.Sprint(i))...)
		}
		c.send(burst)
		for _, i := range order {
			c.acked(i)
		}
		for i, r := range n.eventsFrom(id) {
			if want := fmt.Sprint(order[i]); string(r.Value) != want {
				n.t.Errorf("message %d is %s, want %s", i, r.Value, want)
			}
		}
	})
}

// What 13.4 says of clients that have no section of their own.
func TestOtherDevices(t *testing.T) {
	node := newWireNode(t)
	devices := 0
	on := func(line string, test func(n *wireNode, id string)) {
		t.Run(line, func(t *testing.T) {
			devices++
			id := fmt.Sprintf("other-%d", devices)
			n := node.as(t)
			n.device(id)
			test(n, id)
		})
	}
	on("C#: answers have /? before the request id", func(n *wireNode, id string) {
		c := n.connect(hello{id: id})
		c.subscribe(1, twinAnswers)
		c.publish(getTwinTopic+"1", "")
		if m := c.received(); !strings.Contains(m.topic, "/200/?$rid=") {
			n.t.Error(m.topic)
		}
	})
	on("C#: module filter modules/{mid}/#", func(n *wireNode, id string) {
		n.device(id + "/m")
		if codes := n.connect(hello{id: id + "/m"}).subscribe(1, "devices/"+id+"/modules/m/#"); codes[0] > 1 {
			n.t.Errorf("code %x", codes)
		}
	})
	on("C#: will message", func(n *wireNode, id string) {
		c := n.connect(hello{id: id, will: eventsOf(id) + "k=v", willBody: "gone"})
		c.nc.Close()
		eventually(n.t, "the will", func() bool {
			got := n.eventsFrom(id)
			return len(got) == 1 && got[0].Headers["iothub-MessageType"] == "Will" && got[0].Headers["k"] == "v"
		})
	})
	on("C: percent-encoding in lower case", func(n *wireNode, id string) {
		h := hello{id: id, user: wireHost + "/" + id + "/?api-version=2020-09-30&DeviceClientType=iothubclient%2f1.9.0%20(native%3b%20Linux%3b%20x86_64)", keepAlive: 240}
		h.password = n.lowerCaseToken(id)
		c := n.connect(h)
		c.publish(eventsOf(id)+"%24.mid=a%2fb&p=c%3dd", "{}")
		if got := n.eventsFrom(id); len(got) != 1 || got[0].Headers["message-id"] != "a/b" || got[0].Headers["p"] != "c=d" {
			n.t.Errorf("%+v", got)
		}
	})
	on("direct MQTT: user name without /?, QoS 0", func(n *wireNode, id string) {
		for _, user := range [...]string{"/api-version=2016-11-14", "", "/"} {
			h := hello{id: id, user: wireHost + "/" + id + user}
			c := n.connect(h)
			c.send(publishPacket(qos0, eventsOf(id), 0, "{}"))
			c.ping()
		}
		if got := n.eventsFrom(id); len(got) != 3 {
			n.t.Errorf("%d messages", len(got))
		}
	})
	on("Node: certificates of the server's whole chain", func(n *wireNode, id string) {
		state := n.connect(hello{id: id}).state
		if _, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: n.roots, DNSName: wireHost}); err != nil {
			n.t.Error(err)
		}
	})
}

// lowerCaseToken is a device's token as the SDK for C writes it.
func (n *wireNode) lowerCaseToken(id string) string {
	lower := strings.NewReplacer("/", "%2f", "=", "%3d", "+", "%2b")
	sr, se := lower.Replace(wireHost+"/devices/"+id), fmt.Sprint(time.Now().Add(time.Hour).Unix())
	key, err := base64.StdEncoding.DecodeString(n.keys.Primary.Reveal())
	if err != nil {
		n.t.Fatal(err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(sr + "\n" + se))
	return "SharedAccessSignature sr=" + sr + "&sig=" + lower.Replace(base64.StdEncoding.EncodeToString(mac.Sum(nil))) + "&se=" + se
}
