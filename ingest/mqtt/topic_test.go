package mqtt

import (
	"testing"
)

func TestParseTopic(t *testing.T) {
	device, module, escaped := identity{"d", ""}, identity{"d", "m"}, identity{"%41", ""}
	tests := []struct {
		rule  string
		id    identity
		topic string
		kind  topicKind
		arg   string
	}{
		{"telemetry", device, "devices/d/messages/events/", topicTelemetry, ""},
		{"telemetry without /", device, "devices/d/messages/events", topicTelemetry, ""},
		{"telemetry with bag", device, "devices/d/messages/events/%24.ct=a%2Fb&x=1", topicTelemetry, "%24.ct=a%2Fb&x=1"},
		{"telemetry with / in a value", device, "devices/d/messages/events/a=b/c", topicTelemetry, "a=b/c"},
		{"telemetry with ?", device, "devices/d/messages/events/?a=b", topicTelemetry, "?a=b"},
		{"telemetry with ? and no /", device, "devices/d/messages/events?a=b", topicTelemetry, "?a=b"},
		{"encoded id", identity{"d 1", ""}, "devices/d%201/messages/events/", topicTelemetry, ""},
		{"id that looks encoded", escaped, "devices/%41/messages/events/", topicTelemetry, ""},
		{"decoded only if that fails", identity{"A", ""}, "devices/%41/messages/events/", topicTelemetry, ""},
		{"but once", escaped, "devices/A/messages/events/", topicForeign, ""},
		{"module's", module, "devices/d/modules/m/messages/events/x=1/", topicTelemetry, "x=1/"},
		{"other device's", device, "devices/e/messages/events/", topicForeign, ""},
		{"other device's, any", device, "devices/e/x", topicForeign, ""},
		{"case counts", device, "devices/D/messages/events/", topicForeign, ""},
		{"device on its module's", device, "devices/d/modules/m/messages/events/", topicForeign, ""},
		{"module on its device's", module, "devices/d/messages/events/", topicForeign, ""},
		{"other module's", module, "devices/d/modules/n/messages/events/", topicForeign, ""},
		{"other device's module", module, "devices/e/modules/m/messages/events/", topicForeign, ""},
		{"devicebound is not for publishing", device, "devices/d/messages/devicebound/", topicUnknown, ""},
		{"longer name", device, "devices/d/messages/eventsx", topicUnknown, ""},
		{"no id", device, "devices//messages/events/", topicUnknown, ""},
		{"no module id", module, "devices/d/modules//messages/events/", topicUnknown, ""},
		{"prefix alone", device, "devices/", topicUnknown, ""},
		{"twin get", device, "$iothub/twin/GET/?$rid=a%20b", topicTwinGet, "a%20b"},
		{"twin get, empty id", device, "$iothub/twin/GET/?$rid=", topicTwinGet, ""},
		{"twin get, id not first", device, "$iothub/twin/GET/?x=1&$rid=7", topicTwinGet, "7"},
		{"twin get without id", device, "$iothub/twin/GET/", topicUnknown, ""},
		{"twin get without ?", device, "$iothub/twin/GET/$rid=1", topicUnknown, ""},
		{"reported patch", device, "$iothub/twin/PATCH/properties/reported/?$rid=5&$version=3", topicTwinPatch, "5"},
		{"desired patch is not the device's", device, "$iothub/twin/PATCH/properties/desired/?$rid=5", topicUnknown, ""},
		{"method response", device, "$iothub/methods/res/200/?$rid=1", topicMethod, "1"},
		{"method response, negative", device, "$iothub/methods/res/-1/?$rid=1", topicMethod, "1"},
		{"method response without status", device, "$iothub/methods/res//?$rid=1", topicMethod, "1"},
		{"method response, no number", device, "$iothub/methods/res/ok/?$rid=1", topicMethod, "1"},
		{"method response without id", device, "$iothub/methods/res/200/", topicUnknown, ""},
		{"anything else", device, "a/b", topicUnknown, ""},
		{"system topics", device, "$SYS/broker", topicUnknown, ""},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			got := tt.id.parseTopic([]byte(tt.topic))
			if got.kind != tt.kind || string(got.arg) != tt.arg {
				t.Errorf("parseTopic(%q) = %d %q, want %d %q", tt.topic, got.kind, got.arg, tt.kind, tt.arg)
			}
		})
	}
}

func TestParseFilter(t *testing.T) {
	device, module := identity{"d", ""}, identity{"d", "m"}
	tests := []struct {
		id     identity
		filter string
		kind   filterKind
	}{
		{device, "$iothub/twin/res/#", filterTwinRes},
		{device, "$iothub/twin/PATCH/properties/desired/#", filterDesired},
		{device, "$iothub/methods/POST/#", filterMethods},
		{device, "devices/d/messages/devicebound/#", filterDevicebound},
		{identity{"d 1", ""}, "devices/d%201/messages/devicebound/#", filterDevicebound},
		{module, "devices/d/modules/m/#", filterModule},
		{module, "devices/d/modules/m/inputs/#", filterInputs},
		{module, "devices/d/modules/m/messages/devicebound/#", filterModuleDevicebound},
		{module, "devices/d/messages/devicebound/#", filterUnknown},
		{module, "devices/d/modules/n/#", filterForeign},
		{module, "devices/e/modules/m/#", filterForeign},
		{device, "devices/d/modules/m/#", filterForeign},
		{device, "devices/e/messages/devicebound/#", filterForeign},
		{device, "devices/+/messages/devicebound/#", filterForeign},
		{device, "devices/#", filterUnknown},
		{device, "#", filterUnknown},
		{device, "+/+", filterUnknown},
		{device, "$iothub/#", filterUnknown},
		{device, "$SYS/#", filterUnknown},
		{device, "devices/d/messages/events/#", filterUnknown},
		{device, "devices/d/messages/devicebound/", filterUnknown},
	}
	for _, tt := range tests {
		if got, _ := tt.id.parseFilter(tt.filter); got != tt.kind {
			t.Errorf("%+v: parseFilter(%q) = %d, want %d", tt.id, tt.filter, got, tt.kind)
		}
	}
}

func TestParseTopicDoesNotAllocate(t *testing.T) {
	id, topic := identity{"device-1", ""}, []byte("devices/device-1/messages/events/%24.ct=application%2Fjson")
	if n := testing.AllocsPerRun(100, func() { id.parseTopic(topic) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A topic is either the identity's own in the literal sense or not telemetry.
func FuzzParseTopic(f *testing.F) {
	for _, s := range []string{"devices/d/messages/events/a=b", "$iothub/twin/GET/?$rid=1", "devices/%64/modules/m/messages/events", "$iothub/methods/res/2/?$rid="} {
		f.Add(s, "d", "")
		f.Add(s, "d", "m")
	}
	f.Fuzz(func(t *testing.T, topic, device, module string) {
		id := identity{device, module}
		got := id.parseTopic([]byte(topic))
		id.parseFilter(topic)
		if got.kind == topicTelemetry && device == "" {
			t.Fatal("telemetry of nobody")
		}
		if !validID(device) || module != "" && !validID(module) {
			return
		}
		own := "devices/" + device + "/"
		if module != "" {
			own += "modules/" + module + "/"
		}
		if got := id.parseTopic([]byte(own + "messages/events/" + topic)); got.kind != topicTelemetry || string(got.arg) != topic {
			t.Fatalf("own topic: %+v", got)
		}
	})
}
