package partition

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/gemello/gemello/device"
)

// routedFleet is a fleet whose core routes by r.
func routedFleet(t testing.TB, r Routing) *fleet {
	t.Helper()
	f := newFleet(t)
	f.route(r)
	return f
}

func (f *fleet) route(r Routing) {
	f.t.Helper()
	r = r.Canonical()
	if err := r.Validate(RoutingLimits{}, "hub."); err != nil {
		f.t.Fatal(err)
	}
	f.commit()
	if _, err := f.core.SwitchRoutes(&RoutingPlan{Routing: r, Version: 7}); err != nil {
		f.t.Fatal(err)
	}
	f.core.Effects().Reset()
}

// tell appends a message and returns its copies, one line each.
func (f *fleet) tell(id, bag, body string, headers ...string) []string {
	f.t.Helper()
	from := f.core.Effects().Len()
	if bag != "" {
		headers = append(headers, device.HeaderBag, bag)
	}
	f.apply(device.KindTelemetry, id, body, headers...)
	return lines(f.core.Effects())[from:]
}

func topics(copies []string) string {
	var names []string
	for _, c := range copies {
		name, _, _ := strings.Cut(c, " ")
		names = append(names, name)
	}
	return strings.Join(names, " ")
}

// What no route takes goes to the built-in endpoint unless the fallback is off;
// with it off nothing is copied.
func TestFallback(t *testing.T) {
	hot := Route{Name: "hot", Source: SourceTelemetry, Condition: "level = 'hot'", Endpoints: []string{"topic:hot"}}
	for _, c := range []struct {
		name    string
		routing Routing
		bag     string
		want    string
	}{
		{"no routes", Routing{}, "", "events"},
		{"no routes, fallback off", Routing{NoFallback: true}, "", ""},
		{"matched", Routing{Routes: []Route{hot}}, "level=hot", "hot"},
		{"unmatched", Routing{Routes: []Route{hot}}, "level=cold", "events"},
		{"undefined", Routing{Routes: []Route{hot}}, "", "events"},
		{"unmatched, fallback off", Routing{Routes: []Route{hot}, NoFallback: true}, "level=cold", ""},
		{"disabled", Routing{Routes: []Route{{Name: "a", Source: SourceTelemetry, Endpoints: []string{"topic:a"}, Disabled: true}}}, "", "events"},
		{"another source", Routing{Routes: []Route{{Name: "a", Source: SourceTwin, Endpoints: []string{"topic:a"}}}}, "", "events"},
		{"each matching route", Routing{Routes: []Route{hot, {Name: "all", Source: SourceTelemetry, Endpoints: []string{"topic:all"}}}}, "level=hot", "all hot"},
		{"one copy an endpoint", Routing{Routes: []Route{hot, {Name: "all", Source: SourceTelemetry, Endpoints: []string{"topic:hot"}}}}, "level=hot", "hot"},
		{"matched and built in", Routing{Routes: []Route{{Name: "all", Source: SourceTelemetry, Endpoints: []string{"topic:hot", "events"}}}}, "", "events hot"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := routedFleet(t, c.routing)
			if got := topics(f.tell("d1", c.bag, `{"x":1}`)); got != c.want {
				t.Errorf("copies to %q, want %q", got, c.want)
			}
		})
	}
}

// Copies carry the annotations and properties of azure-iot-wire 9.4, and the
// body as it was sent.
func TestHeadersOfACopy(t *testing.T) {
	f := routedFleet(t, Routing{})
	got := f.tell("d1", "%24.ct=application%2Fjson&%24.ce=utf-8&%24.mid=m%201&%24.sub=thermostat&%24.cdid=other&a%20b=c%26d%3De%2F&plus=a+b", "{ \"x\" :1}",
		device.HeaderAuth, "device;sas", device.HeaderGeneration, "g1", device.HeaderModel, "dtmi:x;1", device.HeaderModule, "m1")
	want := `events "d1" iothub-connection-device-id=d1 iothub-connection-module-id=m1` +
		` iothub-connection-auth-method={"scope":"device","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}` +
		` iothub-connection-auth-generation-id=g1 iothub-enqueuedtime=1700000000000 iothub-message-source=Telemetry dt-dataschema=dtmi:x;1` +
		` content-type=application/json content-encoding=utf-8 message-id=m 1 dt-subject=thermostat a b=c&d=e/ plus=a+b { "x" :1}`
	if len(got) != 1 || got[0] != want {
		t.Errorf("copy %q\nwant %q", got, want)
	}
}

// A device's properties can't pass for annotations.
func TestPropertiesCannotSpoofAnnotations(t *testing.T) {
	f := routedFleet(t, Routing{})
	got := f.tell("d1", "iothub-connection-device-id=d2&IOTHUB-Message-Source=x&content-type=y&x-opt-offset=1&app:a=1&ok=2", "")
	if len(got) != 1 {
		t.Fatalf("copies %q", got)
	}
	for _, want := range []string{" app:iothub-connection-device-id=d2 ", " app:IOTHUB-Message-Source=x ", " app:content-type=y ", " app:x-opt-offset=1 ", " app:app:a=1 ", " ok=2 "} {
		if !strings.Contains(got[0], want) {
			t.Errorf("copy %q lacks %q", got[0], want)
		}
	}
	if strings.Count(got[0], "iothub-connection-device-id=d2") != 1 {
		t.Errorf("copy %q", got[0])
	}
}

// Enrichments are application properties of the copies for their endpoints. They
// and conditions see the twin as it is in the log before the message.
func TestEnrichmentsSeeTheTwinInLogOrder(t *testing.T) {
	f := routedFleet(t, Routing{
		Routes: []Route{
			{Name: "all", Source: SourceTelemetry, Endpoints: []string{"topic:all", "events"}},
			{Name: "b1", Source: SourceTelemetry, Condition: "$twin.tags.building = 'B1'", Endpoints: []string{"topic:b1"}},
		},
		Enrichments: []Enrichment{
			{Key: "building", Value: "$twin.tags.building", Endpoints: []string{"topic:all"}},
			{Key: "floor", Value: "$twin.tags.place.floor", Endpoints: []string{"topic:all"}},
			{Key: "place", Value: "$twin.tags.place", Endpoints: []string{"topic:all"}},
			{Key: "mode", Value: "$twin.properties.desired.mode", Endpoints: []string{"topic:all"}},
			{Key: "fw", Value: "$twin.properties.reported.fw", Endpoints: []string{"topic:all"}},
			{Key: "hub", Value: "$iothubname", Endpoints: []string{"topic:all"}},
			{Key: "text", Value: "plain", Endpoints: []string{"topic:all"}},
		},
	})
	f.apply(device.KindIdentity, "d1", change(t, "d1", "", 0))
	copyOf := func(copies []string, topic string) string {
		for _, c := range copies {
			if strings.HasPrefix(c, topic+" ") {
				return c
			}
		}
		return ""
	}
	before := f.tell("d1", "", "x")
	if got := topics(before); got != "events all" {
		t.Errorf("copies to %s before the tag is set", got)
	}
	for _, want := range []string{" building=$twin.tags.building ", " floor=$twin.tags.place.floor ", " hub=myhub ", " text=plain "} {
		if !strings.Contains(copyOf(before, "all"), want) {
			t.Errorf("copy %q lacks %q", copyOf(before, "all"), want)
		}
	}
	if strings.Contains(copyOf(before, "events"), "building") {
		t.Errorf("an endpoint that is not named was enriched: %q", copyOf(before, "events"))
	}
	f.apply(device.KindTwin, "d1", `{"tags":{"building":"B1","place":{"floor":3}},"properties":{"desired":{"mode":true}}}`)
	f.apply(device.KindReported, "d1", `{"fw":"1.\"2"}`)
	after := f.tell("d1", "building=fake", "x")
	if got := topics(after); got != "events all b1" {
		t.Errorf("copies to %s one message after the tag was set", got)
	}
	for _, want := range []string{" building=B1 ", " floor=3 ", " place=$twin.tags.place ", " mode=true ", ` fw=1."2 `} {
		if !strings.Contains(copyOf(after, "all"), want) {
			t.Errorf("copy %q lacks %q", copyOf(after, "all"), want)
		}
	}
	if strings.Contains(copyOf(after, "all"), "fake") {
		t.Errorf("a device's property beside the enrichment of the same key: %q", copyOf(after, "all"))
	}
	if !strings.Contains(copyOf(after, "events"), " building=fake ") {
		t.Errorf("copy without enrichments %q", copyOf(after, "events"))
	}
}

// A copy that has more than 256 KiB with its enrichments is dropped and counted.
func TestCopiesAreBounded(t *testing.T) {
	f := routedFleet(t, Routing{
		Routes:      []Route{{Name: "a", Source: SourceTelemetry, Endpoints: []string{"topic:a", "topic:b"}}},
		Enrichments: []Enrichment{{Key: "k", Value: "12345", Endpoints: []string{"topic:a"}}},
	})
	for _, c := range []struct {
		size int
		want string
	}{{MaxMessage - 6, "a b"}, {MaxMessage - 5, "b"}, {MaxMessage, "b"}} {
		if got := topics(f.tell("d1", "", strings.Repeat("x", c.size))); got != c.want {
			t.Errorf("%d bytes went to %q, want %q", c.size, got, c.want)
		}
	}
	var g Figures
	f.core.Report(&g)
	if g.Routing.TooLarge != 2 || g.Routing.Routed != 3 {
		t.Errorf("figures %+v", g.Routing)
	}
}

// Conditions read the body only where the message says that it is JSON.
func TestBodyConditions(t *testing.T) {
	utf16 := func(s string) string {
		var b strings.Builder
		for _, c := range []byte(s) {
			b.WriteByte(c)
			b.WriteByte(0)
		}
		return b.String()
	}
	const body = `{"Weather":{"Temp":[10,{"c":50}]}}`
	for _, c := range []struct {
		name, bag, body string
		want            string
	}{
		{"utf-8", "$.ct=application/json&$.ce=utf-8", body, "hot"},
		{"charset", "$.ct=application/json%3Bcharset%3Dutf-8&$.ce=UTF-8", body, "hot"},
		{"utf-16", "$.ct=APPLICATION/JSON&$.ce=utf-16", utf16(body), "hot"},
		{"no encoding", "$.ct=application/json", body, "events"},
		{"no type", "$.ce=utf-8", body, "events"},
		{"another type", "$.ct=text/plain&$.ce=utf-8", body, "events"},
		{"no JSON", "$.ct=application/json&$.ce=utf-8", "hello", "events"},
		{"false", "$.ct=application/json&$.ce=utf-8", `{"weather":{"temp":[1,{"c":5}]}}`, "events"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := routedFleet(t, Routing{Routes: []Route{{Name: "hot", Source: SourceTelemetry, Condition: "$body.weather.temp[1].C > 40", Endpoints: []string{"topic:hot"}}}})
			if got := topics(f.tell("d1", c.bag, c.body)); got != c.want {
				t.Errorf("copies to %q, want %q", got, c.want)
			}
		})
	}
}

// System and application properties of azure-iot-wire 9.2.
func TestConditionsOnProperties(t *testing.T) {
	bag := "$.mid=m1&$.cid=c1&$.uid=u1&$.to=x&$.ct=text%2Fplain&$.ce=utf-8&level=High&severity=2&$own=1"
	for condition, want := range map[string]bool{
		"$messageId = 'M1'": true, "$correlationId = 'c1'": true, "$userId='u1'": true, "$to = 'x'": true,
		"$contentType = 'text/plain'": true, "$contentEncoding = 'utf-8'": true,
		"$connectionDeviceId = 'D1'": true, "is_defined($connectionModuleId)": false,
		"$enqueuedTime < '2030-01-01T00:00:00Z'": true, "level = 'high' AND LEVEL = 'HIGH'": true,
		"severity <= 2": false, "as_number(severity) <= 2": true, "$own = '1'": true, "missing = '1'": false, "NOT is_defined(missing)": true, "": true, "true": true,
	} {
		f := routedFleet(t, Routing{NoFallback: true, Routes: []Route{{Name: "r", Source: SourceTelemetry, Condition: condition, Endpoints: []string{"topic:r"}}}})
		if got := len(f.tell("d1", bag, "x")) == 1; got != want {
			t.Errorf("%s: %v, want %v", condition, got, want)
		}
	}
}

// A message is copied once more only where it was not committed: a replay makes
// no copies.
func TestReplayMakesNoCopies(t *testing.T) {
	f := newFleet(t)
	f.core.Suppress(true)
	if got := f.tell("d1", "", "x"); len(got) > 0 {
		t.Errorf("copies %q", got)
	}
	f.core.Suppress(false)
	if got := topics(f.tell("d1", "", "x")); got != "events" {
		t.Errorf("copies to %q after the replay", got)
	}
}

// A switch of routes is journaled with its position, once.
func TestSwitchOfRoutesIsJournaled(t *testing.T) {
	f := newFleet(t)
	f.tell("d1", "", "x")
	plan := &RoutingPlan{Routing: Routing{NoFallback: true}, Version: 3}
	for i, want := range []bool{true, false} {
		got, err := f.core.SwitchRoutes(plan)
		if err != nil || got != want {
			t.Fatalf("switch %d: %v, %v", i, got, err)
		}
	}
	j := f.core.Effects().Journal
	if len(j) != 1 || j[0].Kind != EntryRoutes || j[0].Position != 1 || string(j[0].Payload) != fmt.Sprintf(`{"version":3,"hash":"%x"}`, plan.Hash()) {
		t.Fatalf("journal %+v", j)
	}
	if err := f.core.Replay(j[0]); err != nil {
		t.Error(err)
	}
	// A core that starts from that point goes on without a switch.
	f.open(1)
	if err := f.core.RestoreRoutes(plan, plan.Hash()); err != nil || f.core.RoutesHash() != plan.Hash() {
		t.Error("the plan of the checkpoint is not in force", err)
	}
	if got, err := f.core.SwitchRoutes(plan); got || err != nil {
		t.Errorf("switched to the same plan: %v, %v", got, err)
	}
}

// The copy of a message costs no allocation while no route is defined.
func TestFallbackDoesNotAllocate(t *testing.T) {
	f := newFleet(t)
	r := Record{Arrival: base, Key: []byte("device-1"), Value: []byte(`{"temperature":21.5}`), Headers: []Header{
		{device.HeaderKind, []byte(device.KindTelemetry)}, {device.HeaderAuth, []byte("device;sas")}, {device.HeaderGeneration, []byte("g")},
		{device.HeaderBag, []byte("%24.ct=application%2Fjson&%24.ce=utf-8&a=b")},
	}}
	send := func() {
		if err := f.core.Apply(&r); err != nil {
			t.Fatal(err)
		}
	}
	for range 20_000 {
		send()
	}
	f.core.Effects().Reset()
	if n := testing.AllocsPerRun(10_000, send); n > 0 {
		t.Errorf("%v allocations a message", n)
	}
}

func BenchmarkFallback(b *testing.B) {
	f := newFleet(b)
	r := Record{Arrival: base, Key: []byte("device-1"), Value: []byte(`{"temperature":21.5,"humidity":40,"seq":123456}`), Headers: []Header{
		{device.HeaderKind, []byte(device.KindTelemetry)}, {device.HeaderAuth, []byte("device;sas")}, {device.HeaderGeneration, []byte("g")},
		{device.HeaderBag, []byte("%24.ct=application%2Fjson&%24.ce=utf-8")},
	}}
	b.ReportAllocs()
	for i := range b.N {
		if err := f.core.Apply(&r); err != nil {
			b.Fatal(err)
		}
		if i%4096 == 0 {
			f.core.Effects().Reset()
		}
	}
}

// The example of docs/format/messages.md is what the core makes.
func TestMessagesPageExample(t *testing.T) {
	page, err := os.ReadFile("../../docs/format/messages.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(page), "## Example")
	bag := regexp.MustCompile("property bag `([^`]+)`").FindStringSubmatch(example)
	if bag == nil {
		t.Fatal("the example has no property bag")
	}
	var value, want string
	for _, line := range regexp.MustCompile(`(?m)^(key|value|header) +(\S+) *(.*)$`).FindAllStringSubmatch(example, -1) {
		switch line[1] {
		case "key":
			want = "events " + fmt.Sprintf("%q", line[2])
		case "value":
			value = line[2]
		case "header":
			want += " " + line[2] + "=" + line[3]
		}
	}
	f := newFleet(t)
	got := f.tell("d1", bag[1], value, device.HeaderAuth, "device;sas", device.HeaderGeneration, "638900000000000000")
	if len(got) != 1 || got[0] != want+" "+value {
		t.Errorf("copy %q\nthe page has %q", got, want+" "+value)
	}
}
