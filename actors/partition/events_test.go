package partition

import (
	"strings"
	"testing"

	"github.com/gemello/gemello/device"
)

// events takes the events since the last commit: "schema opType entity body".
func (f *fleet) events() (list []string) {
	f.t.Helper()
	e := f.core.Take(&Effects{})
	for i := range e.Len() {
		o := e.Output(i)
		if o.Topic != "events" {
			continue
		}
		h := map[string]string{}
		for x := range e.Headers(i) {
			h[x.Key] = string(x.Value)
		}
		if h[EventDevice] != string(o.Key) || h[EventHub] != "myhub" || h[EventUser] != "myhub" || h[EventContentType] != "application/json" ||
			h[EventEncoding] != "utf-8" || h[EventCorrelation] == "" || h[EventTime] == "" || h[EventEnqueued] == "" || h[EventConnDevice] != h[EventDevice] {
			f.t.Errorf("headers %v of an event of %s", h, o.Key)
		}
		who := device.Ref{Device: h[EventDevice], Module: h[EventModule]}
		list = append(list, strings.Join([]string{h[EventSource], h[EventSchema], h[EventOperation], who.String(), string(o.Value)}, " "))
	}
	return list
}

func (f *fleet) wantEvents(want ...string) {
	f.t.Helper()
	got := f.events()
	if len(got) != len(want) {
		f.t.Errorf("events %q, want %q", got, want)
		return
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			f.t.Errorf("event %q, want %q", got[i], want[i])
		}
	}
}

func TestEventsTellOfLifeCycleAndTwins(t *testing.T) {
	f := newFleet(t)
	f.apply(device.KindIdentity, "d1", change(t, "d1", "", 0))
	f.wantEvents(`deviceLifecycleEvents deviceLifecycleNotification createDeviceIdentity d1 {"deviceId":"d1","etag":"AAAAAAAAAAE=","version":2,`)
	f.apply(device.KindIdentity, "d1", change(t, "d1", "*", device.Disabled))
	f.apply(device.KindTwin, "d1", `{"tags":{}}`)
	f.apply(device.KindTwin, "d1", `{"tags":1}`)
	f.apply(device.KindReported, "d1", `{`)
	f.wantEvents()
	f.apply(device.KindTwin, "d1", `{"tags":{"a":1}}`)
	f.apply(device.KindTwin, "d1", `{"properties":{"desired":{"p":1}}}`, device.HeaderReplace, "true")
	f.apply(device.KindReported, "d1", `{"r":1}`)
	f.wantEvents(`twinChangeEvents twinChangeNotification updateTwin d1 {"version":3,"tags":{"a":1}}`,
		`twinChangeEvents twinChangeNotification replaceTwin d1 {"deviceId":"d1","etag":"AAAAAAAAAAM=","version":4,"tags":{},"properties":{"desired":{"p":1,`,
		`twinChangeEvents twinChangeNotification updateTwin d1 {"version":5,"properties":{"reported":{"r":1,"$metadata":`)
	f.module(device.KindIdentity, "d1", "m1", moduleChange(t, "d1", "m1", ""))
	f.module(device.KindTwin, "d1", "m1", `{"tags":{"a":1}}`)
	f.wantEvents(`deviceLifecycleEvents moduleLifecycleNotification createModuleIdentity d1/m1 {"deviceId":"d1","moduleId":"m1",`,
		`twinChangeEvents twinChangeNotification updateTwin d1/m1 {"version":3,`)
	f.apply(device.KindDelete, "d1", "")
	f.wantEvents(`deviceLifecycleEvents moduleLifecycleNotification deleteModuleIdentity d1/m1 `,
		`deviceLifecycleEvents deviceLifecycleNotification deleteDeviceIdentity d1 {"deviceId":"d1",`)
}

func TestConnectionEventsHaveGrowingSequenceNumbers(t *testing.T) {
	f := newFleet(t)
	f.apply(device.KindIdentity, "d1", change(t, "d1", "", 0))
	f.module(device.KindIdentity, "d1", "m1", moduleChange(t, "d1", "m1", ""))
	f.events()
	f.apply(device.KindConnected, "d1", "", device.HeaderSession, "s1")
	f.apply(device.KindConnected, "d1", "", device.HeaderSession, "s2")    // takes over
	f.apply(device.KindDisconnected, "d1", "", device.HeaderSession, "s1") // no longer the current one
	f.apply(device.KindDisconnected, "d1", "", device.HeaderSession, "s2")
	f.module(device.KindConnected, "d1", "m1", "", device.HeaderSession, "s3")
	f.apply(device.KindConnected, "none", "", device.HeaderSession, "s4")
	got := f.events()
	if len(got) != 3 {
		t.Fatalf("events %q", got)
	}
	last := ""
	for i, want := range []string{"deviceConnected d1 ", "deviceDisconnected d1 ", "moduleConnected d1/m1 "} {
		_, seq, ok := strings.Cut(got[i], `{"sequenceNumber":"`)
		seq = strings.TrimSuffix(seq, `"}`)
		if !ok || !strings.Contains(got[i], "deviceConnectionStateEvents deviceConnectionStateNotification "+want) || len(seq) != sequenceDigits || seq <= last {
			t.Errorf("event %q after %q", got[i], last)
		}
		last = seq
	}
}

// What a replay suppresses is in the log of events already.
func TestSuppressedRecordsTellNoEvents(t *testing.T) {
	f := newFleet(t)
	f.core.Suppress(true)
	f.apply(device.KindIdentity, "d1", change(t, "d1", "", 0))
	f.core.Suppress(false)
	f.wantEvents()
}
