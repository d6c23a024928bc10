package partition

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gemello/gemello/device"
)

func moduleChange(t testing.TB, id, module, ifMatch string) string {
	c := device.Change{IfMatch: ifMatch, Wanted: device.Identity{
		DeviceID: id, ModuleID: module, Auth: device.Auth{Primary: []byte("m-1"), Secondary: []byte("m-2")},
	}}
	b, err := c.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// module applies a control record of a module.
func (f *fleet) module(kind, id, module, body string, headers ...string) Reply {
	f.t.Helper()
	return f.apply(kind, id, body, append([]string{device.HeaderModule, module}, headers...)...)
}

func (f *fleet) modules(id string) string {
	f.t.Helper()
	list, known, err := f.core.Modules(id)
	if err != nil || !known {
		return fmt.Sprint("none ", err)
	}
	var ids []string
	for i := range list {
		ids = append(ids, list[i].Identity.ModuleID)
	}
	return strings.Join(ids, " ")
}

func TestModulesLiveAndDieWithTheirDevice(t *testing.T) {
	f := newFleet(t)
	wantErr(t, f.module(device.KindIdentity, "d1", "m1", moduleChange(t, "d1", "m1", "")), device.ErrNotFound)
	f.apply(device.KindIdentity, "d1", change(t, "d1", "", 0))
	f.apply(device.KindIdentity, "d10", change(t, "d10", "", 0))
	wantErr(t, f.module(device.KindIdentity, "d1", "m2", moduleChange(t, "d1", "m2", "")), nil)
	wantErr(t, f.module(device.KindIdentity, "d1", "m1", moduleChange(t, "d1", "m1", "")), nil)
	wantErr(t, f.module(device.KindIdentity, "d10", "m1", moduleChange(t, "d10", "m1", "")), nil)
	wantErr(t, f.module(device.KindIdentity, "d1", "m1", moduleChange(t, "d1", "m1", "")), device.ErrModuleExists)
	wantErr(t, f.module(device.KindIdentity, "d1", "m1", moduleChange(t, "d1", "m9", "")), device.ErrArgument)
	if got := f.modules("d1"); got != "m1 m2" {
		t.Errorf("modules %s", got)
	}
	r := f.module(device.KindReported, "d1", "m1", `{"x":1}`)
	if r.Version != 2 || r.Document.Identity.ModuleID != "m1" {
		t.Errorf("reported %+v", r)
	}
	if d, err := f.core.Get(device.Ref{Device: "d1"}); err != nil || d.Twin.Version != 2 {
		t.Errorf("the device's twin changed with its module's: %v", err)
	}
	if got, want := f.core.Statistics(), (device.Statistics{Total: 2, Enabled: 2}); got != want {
		t.Errorf("counts %+v, want %+v", got, want)
	}
	if list, err := f.core.List("", 10); err != nil || len(list) != 2 {
		t.Errorf("%d devices listed, %v", len(list), err)
	}
	f.flush()
	wantErr(t, f.module(device.KindDelete, "d1", "m2", ""), nil)
	if got := f.modules("d1"); got != "m1" {
		t.Errorf("modules after a deletion: %s", got)
	}
	before := len(f.core.Effects().Notices)
	wantErr(t, f.apply(device.KindDelete, "d1", ""), nil)
	told := map[string]bool{}
	for _, n := range f.core.Effects().Notices[before:] {
		told[n.Ref.String()] = n.Kind == NoticeIdentity
	}
	if len(told) != 2 || !told["d1"] || !told["d1/m1"] {
		t.Errorf("told %v", told)
	}
	wantErr(t, f.module(device.KindReported, "d1", "m1", `{"x":1}`), device.ErrModuleNotFound)
	f.apply(device.KindIdentity, "d1", change(t, "d1", "", 0))
	if got := f.modules("d1"); got != "" {
		t.Errorf("a device made again has modules %q", got)
	}
	if got := f.modules("d10"); got != "m1" {
		t.Errorf("modules of the other device: %s", got)
	}
	f.flush()
	list, err := f.core.ListModules(device.Ref{}, 10)
	if err != nil || len(list) != 1 || list[0].Identity.Ref() != (device.Ref{Device: "d10", Module: "m1"}) {
		t.Errorf("modules of all devices: %v, %v", list, err)
	}
}

func TestADeviceHasAtMostFiftyModules(t *testing.T) {
	f := newFleet(t)
	f.apply(device.KindIdentity, "d1", change(t, "d1", "", 0))
	for i := range device.MaxModules {
		m := fmt.Sprintf("m%02d", i)
		wantErr(t, f.module(device.KindIdentity, "d1", m, moduleChange(t, "d1", m, "")), nil)
	}
	wantErr(t, f.module(device.KindIdentity, "d1", "more", moduleChange(t, "d1", "more", "")), device.ErrTooManyModules)
	wantErr(t, f.module(device.KindIdentity, "d1", "m00", moduleChange(t, "d1", "m00", "*")), nil)
	wantErr(t, f.module(device.KindDelete, "d1", "m07", ""), nil)
	wantErr(t, f.module(device.KindIdentity, "d1", "more", moduleChange(t, "d1", "more", "")), nil)
}

// Modules are in the changelog under keys of their own, beside their device, and
// come back from the store and from the changelog alone.
func TestModulesSurviveStoreAndChangelog(t *testing.T) {
	f := newFleet(t)
	f.apply(device.KindIdentity, "d1", change(t, "d1", "", 0))
	f.module(device.KindIdentity, "d1", "m1", moduleChange(t, "d1", "m1", ""))
	f.module(device.KindIdentity, "d1", "m2", moduleChange(t, "d1", "m2", ""))
	f.module(device.KindTwin, "d1", "m1", `{"tags":{"a":1}}`)
	f.module(device.KindConnected, "d1", "m1", "", device.HeaderSession, "s1", device.HeaderModel, "dtmi:x:y;1")
	f.module(device.KindDelete, "d1", "m2", "")
	e := f.core.Take(&Effects{})
	for i := range e.Len() {
		o := e.Output(i)
		if hub := o.Topic == "state" || o.Topic == "twins"; o.Alongside != hub {
			t.Errorf("output to %s: alongside is %v", o.Topic, o.Alongside)
		}
		if o.Topic == "state" && o.Value != nil {
			f.state[string(o.Key)] = o.Value
		}
		if o.Topic == "twins" {
			f.twins[string(o.Key)] = o.Value
		}
	}
	if f.state["d1\x00m1"] == nil || f.state["d1\x00m2"] != nil || !strings.Contains(string(f.twins["d1/m1"]), `"moduleId":"m1"`) || f.twins["d1/m2"] != nil {
		t.Errorf("changelog %q, twins %q", f.state, f.twins)
	}
	if err := f.core.Save(memoryBatch{f.store}); err != nil {
		t.Fatal(err)
	}
	want := f.all()
	stored := newFleet(t)
	stored.store = f.store
	stored.open(int64(len(f.log)))
	rebuilt := newFleet(t)
	for k, v := range f.state {
		if err := rebuilt.core.Restore(k, v); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []*fleet{stored, rebuilt} {
		if got := c.all(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		d, err := c.core.Get(device.Ref{Device: "d1", Module: "m1"})
		if err != nil || d == nil || !d.Presence.Connected || d.Twin.ModelID != "dtmi:x:y;1" || c.modules("d1") != "m1" {
			t.Errorf("module %+v, %v", d, err)
		}
	}
}

func TestModelIsKeptFromTheSession(t *testing.T) {
	f := newFleet(t)
	f.apply(device.KindIdentity, "d1", change(t, "d1", "", 0))
	for _, tt := range []struct{ model, want string }{{"dtmi:a;1", "dtmi:a;1"}, {"", "dtmi:a;1"}, {"dtmi:b;2", "dtmi:b;2"}, {strings.Repeat("x", device.MaxModelID+1), "dtmi:b;2"}} {
		f.apply(device.KindConnected, "d1", "", device.HeaderSession, "s", device.HeaderModel, tt.model)
		if d, err := f.core.Get(device.Ref{Device: "d1"}); err != nil || d.Twin.ModelID != tt.want {
			t.Errorf("after %.20q: model %q, %v", tt.model, d.Twin.ModelID, err)
		}
	}
}
