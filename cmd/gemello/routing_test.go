package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// foreign reads telemetry from a topic of the node with a Kafka client that knows
// nothing of it and has no credentials.
func (n *wireNode) foreign(topic string, want int) (list []*kgo.Record) {
	n.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(n.info.Kafka...), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		n.t.Fatal(err)
	}
	defer cl.Close()
	deadline := time.Now().Add(patience)
	for len(list) < want {
		if time.Now().After(deadline) {
			n.t.Fatalf("%d of %d records of %s", len(list), want, topic)
		}
		fetched := cl.PollFetches(n.t.Context())
		if err := fetched.Err(); err != nil {
			n.t.Fatal(err)
		}
		for _, r := range fetched.Records() {
			if valueOf(r, "iothub-message-source") == "Telemetry" {
				list = append(list, r)
			}
		}
	}
	return list
}

// headersOf renders headers as "name=value" in their order, without those whose
// values the test can't know.
func headersOf(r *kgo.Record) (list []string) {
	for _, h := range r.Headers {
		if h.Key != "iothub-enqueuedtime" && h.Key != "iothub-connection-auth-generation-id" {
			list = append(list, h.Key+"="+string(h.Value))
		}
	}
	return list
}

func valueOf(r *kgo.Record, name string) string {
	for _, h := range r.Headers {
		if h.Key == name {
			return string(h.Value)
		}
	}
	return ""
}

// Any Kafka client reads what devices sent, byte for byte, with the annotations
// and properties of azure-iot-wire 9.4 as headers; enrichments are on the copies
// for their endpoints alone, and no property of a device passes for an annotation.
func TestAForeignKafkaClientReadsRoutedMessages(t *testing.T) {
	n := newWireNode(t)
	n.device("d1")
	n.device("d1/m1")
	n.must(t, "twin", "patch", "d1", `{"tags":{"building":"B1","rooms":{"n":2}}}`)
	routes := writeTemp(t, "routes.yaml", `
routes:
  - {name: hot, condition: "$body.t > 20 AND room = 'b/2'", endpoints: ["topic:hot"]}
  - {name: modules, condition: "IS_DEFINED($connectionModuleId)", endpoints: ["topic:hot", events]}
enrichments:
  - {key: building, value: $twin.tags.building, endpoints: ["topic:hot"]}
  - {key: rooms, value: $twin.tags.rooms, endpoints: ["topic:hot"]}
`)
	if got := n.must(t, "route", "apply", "-f", routes); got != "applied routes/hot, routes/modules, enrichments/building, enrichments/rooms\n" {
		t.Errorf("route apply printed %q", got)
	}
	d := n.connect(hello{id: "d1"})
	const bag = "%24.ct=application%2Fjson&%24.ce=utf-8&%24.mid=m%201&room=b%2F2&iothub-connection-device-id=d2&x-opt-offset=1"
	d.publish("devices/d1/messages/events/"+bag, `{"t":21.5}`)
	d.publish("devices/d1/messages/events/"+bag, `{"t":19}`)
	d.publish("devices/d1/messages/events/", "\x00\xff no text")
	n.connect(hello{id: "d1/m1"}).publish("devices/d1/modules/m1/messages/events/%24.on=out/", "from the module")

	properties := []string{"room=b/2", "app:iothub-connection-device-id=d2", "app:x-opt-offset=1"}
	annotations := []string{
		"iothub-connection-device-id=d1",
		`iothub-connection-auth-method={"scope":"device","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}`,
		"iothub-message-source=Telemetry",
	}
	message := slices.Concat(annotations, []string{"content-type=application/json", "content-encoding=utf-8", "message-id=m 1"}, properties)
	module := []string{
		"iothub-connection-device-id=d1", "iothub-connection-module-id=m1",
		`iothub-connection-auth-method={"scope":"module","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}`,
		"iothub-message-source=Telemetry", "output-name=out",
	}
	check := func(topic string, got []*kgo.Record, want map[string][]string) {
		t.Helper()
		for _, r := range got {
			body := string(r.Value)
			if h := headersOf(r); !slices.Equal(h, want[body]) {
				t.Errorf("%s: %q has the headers\n%q\nwant\n%q", topic, body, h, want[body])
			}
			at := valueOf(r, "iothub-enqueuedtime")
			if string(r.Key) != "d1" || len(at) != 13 || valueOf(r, "iothub-connection-auth-generation-id") == "" {
				t.Errorf("%s: %q has the key %q and came at %q", topic, body, r.Key, at)
			}
			delete(want, body)
		}
		if len(want) > 0 {
			t.Errorf("%s lacks %v", topic, want)
		}
	}
	check("hot", n.foreign("hot", 2), map[string][]string{
		`{"t":21.5}`:      slices.Concat(message, []string{"building=B1", "rooms=$twin.tags.rooms"}),
		"from the module": slices.Concat(module, []string{"building=$twin.tags.building", "rooms=$twin.tags.rooms"}),
	})
	check("events", n.foreign("gemello.events", 3), map[string][]string{`{"t":19}`: message, "\x00\xff no text": annotations, "from the module": module})

	list := n.must(t, "route", "list")
	for _, line := range []string{"hot true DeviceMessages topic:hot 1 $body.t > 20 AND room = 'b/2'", "$fallback true DeviceMessages events 2", "topic:hot 2"} {
		if !strings.Contains(strings.Join(strings.Fields(list), " "), line) {
			t.Errorf("route list lacks %q:\n%s", line, list)
		}
	}
	var trial struct {
		Routes []struct {
			Name    string
			Matched bool
		}
		Copies []struct{ Topic string }
	}
	if err := json.Unmarshal([]byte(n.must(t, "route", "test", "--device", "d1", "--body", `{"t":30}`, "--property", "room=b/2", "--json")), &trial); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(trial); got != "{[{hot true} {modules false}] [{hot}]}" {
		t.Errorf("route test says %s", got)
	}
	for _, args := range [][]string{{"hot"}, {"modules"}, {"--enrichment", "rooms"}} {
		n.must(t, append([]string{"route", "delete"}, args...)...)
	}
	if code, _, stderr := n.run(t, "", "route", "delete", "hot"); code != exitFailed || !strings.Contains(stderr, "hot") {
		t.Errorf("a route that is gone: %d %s", code, stderr)
	}
	n.must(t, "route", "fallback", "off")
	d.publish("devices/d1/messages/events/", "to nowhere")
	eventually(t, "the drop of what no route takes", func() bool { return n.metric("gemello_routing_messages_total", `result="unmatched"`) == 1 })
}

func TestRoutesThatAreRefusedChangeNothing(t *testing.T) {
	n := newWireNode(t)
	before := n.must(t, "route", "list", "--json")
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"bad condition":      {[]string{"apply", "r", "--endpoint", "events", "--condition", "$body.t >"}, exitFailed, "condition"},
		"the hub's topic":    {[]string{"apply", "r", "--endpoint", "topic:gemello.twins"}, exitFailed, "gemello."},
		"unknown webhook":    {[]string{"apply", "r", "--endpoint", "webhook:none"}, exitFailed, "none"},
		"unknown source":     {[]string{"apply", "r", "--endpoint", "events", "--source", "Weather"}, exitFailed, "Weather"},
		"no endpoint":        {[]string{"apply", "r"}, exitUsage, "--endpoint is needed"},
		"name and file":      {[]string{"apply", "r", "-f", "x"}, exitUsage, "give NAME"},
		"nothing":            {[]string{"apply"}, exitUsage, "give NAME"},
		"no such file":       {[]string{"apply", "-f", "/nonexistent.yaml"}, exitUsage, "-f"},
		"empty file":         {[]string{"apply", "-f", writeTemp(t, "e.yaml", "")}, exitUsage, "no routes, enrichments or webhooks"},
		"private webhook":    {[]string{"apply", "-f", writeTemp(t, "w.yaml", "webhooks: [{name: w, url: \"https://127.0.0.1/x\"}]")}, exitFailed, "private"},
		"plain webhook":      {[]string{"apply", "-f", writeTemp(t, "p.yaml", "webhooks: [{name: w, url: \"http://example.org/x\"}]")}, exitFailed, "https"},
		"two kinds":          {[]string{"delete", "x", "--webhook", "--enrichment"}, exitUsage, "exclude"},
		"unknown enrichment": {[]string{"delete", "x", "--enrichment"}, exitFailed, "x"},
		"fallback maybe":     {[]string{"fallback", "maybe"}, exitUsage, "maybe"},
		"test of nobody":     {[]string{"test"}, exitUsage, "--device is needed"},
		"half a route":       {[]string{"test", "--device", "d1", "--condition", "true"}, exitUsage, "--endpoint"},
	} {
		code, stdout, stderr := n.run(t, "", append([]string{"route"}, c.args...)...)
		if code != c.code || !strings.Contains(stderr, c.says) || stdout != "" {
			t.Errorf("%s: code %d, want %d; stderr %q lacks %q; stdout %q", name, code, c.code, stderr, c.says, stdout)
		}
	}
	if after := n.must(t, "route", "list", "--json"); after != before {
		t.Errorf("the routing became %s, was %s", after, before)
	}
}
