package mqtt

import (
	"testing"

	"github.com/gemello/gemello/ingest"
)

func TestCommandTopicsAreSpelledForEveryClient(t *testing.T) {
	bag := []ingest.Property{{Key: "k", Value: "a=b/c"}, {Key: "$.mid", Value: "m 1"}, {Key: "none", Value: ""}, {Key: "iothub-ack", Value: "full"}}
	const to = "p/%24.to=%2Fdevices%2Fd1%2Fmessages%2FdeviceBound&%24.mid=m%201&k=a%3Db%2Fc"
	for java, want := range map[bool]string{false: to + "&none=&iothub-ack=full", true: to + "&iothub-ack=full"} {
		if got := string(appendCommandBag([]byte("p/"), identity{device: "d1"}, bag, java)); got != want {
			t.Errorf("java %v: %s\nwant %s", java, got, want)
		}
	}
	for agent, want := range map[string]bool{"com.microsoft.azure.sdk.iot.iot-device-client/2.5": true, "azure-iot-device/1.18": false, "": false} {
		if isJava(agent) != want {
			t.Errorf("agent %q: %v", agent, !want)
		}
	}
}

func TestACommandSentWithQoS0IsCompleteAtOnce(t *testing.T) {
	f := start(t, Limits{})
	c, _ := f.connect(hello{})
	l := f.link()
	if l.session.Command(ingest.Command{Lock: "l0", Body: []byte("x")}) {
		t.Error("sent without a subscription")
	}
	c.subscribeQoS(0, "devices/"+l.cred.DeviceID+"/messages/devicebound/#")
	if !l.session.Command(ingest.Command{Lock: "l1", Bag: "a=b", Body: []byte("x")}) {
		t.Fatal("not sent")
	}
	if got := <-l.settled; got != "complete l1" {
		t.Errorf("settled %q", got)
	}
	if _, body := c.received(); body != "x" {
		t.Errorf("received %q", body)
	}
}

// Java modules subscribe to their own address, C#'s to all below the module
// (azure-iot-wire 2.2, 14).
func TestCommandsOfAModuleComeByItsSubscription(t *testing.T) {
	for filter, prefix := range map[string]string{
		"devices/d/modules/m/messages/devicebound/#": "devices/d/modules/m/messages/devicebound/",
		"devices/%64/modules/m/#":                    "devices/%64/modules/m/messages/devicebound/",
	} {
		t.Run(filter, func(t *testing.T) {
			f := start(t, Limits{})
			c, _ := f.connect(hello{id: "d/m"})
			l := f.link()
			c.subscribe("devices/d/modules/m/inputs/#")
			if l.session.Command(ingest.Command{Lock: "l0", Body: []byte("x")}) {
				t.Error("sent without a subscription")
			}
			c.subscribeQoS(0, filter)
			if !l.session.Command(ingest.Command{Lock: "l1", Bag: "a=b", Body: []byte("x")}) {
				t.Fatal("not sent")
			}
			topic, body := c.received()
			if want := prefix + "%24.to=%2Fdevices%2Fd%2Fmodules%2Fm%2Fmessages%2FdeviceBound&a=b"; topic != want || body != "x" {
				t.Errorf("received %q on %s\nwant %s", body, topic, want)
			}
		})
	}
}
