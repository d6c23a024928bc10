package partition

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/gemello/gemello/device"
)

// edgeChange makes or updates an edge device, or with edge false makes it a
// plain one.
func edgeChange(t testing.TB, id, ifMatch string, edge bool) string {
	t.Helper()
	c := device.Change{IfMatch: ifMatch, Wanted: device.Identity{DeviceID: id, IoTEdge: edge, Auth: device.Auth{Primary: []byte("k"), Secondary: []byte("k")}}}
	b, err := c.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// configuration puts a configuration in force and has all entities evaluated.
func (f *fleet) configuration(id string, revision, priority int, condition, content string) {
	f.t.Helper()
	c, err := device.ParseConfiguration(id, fmt.Appendf(nil, `{"targetCondition":%q,"priority":%d,"content":%s}`, condition, priority, content))
	if err != nil {
		f.t.Fatal(err)
	}
	c.Revision = int64(revision)
	body, err := json.Marshal(&c)
	if err != nil {
		f.t.Fatal(err)
	}
	f.apply(device.KindConfig, "/configurations/0", string(body), device.HeaderConfig, id, device.HeaderAction, ConfigPut)
	f.sweep()
}

func (f *fleet) withdraw(id string) {
	f.t.Helper()
	f.apply(device.KindConfig, "/configurations/0", "", device.HeaderConfig, id, device.HeaderAction, ConfigDelete)
	f.sweep()
}

func (f *fleet) sweep() {
	f.t.Helper()
	for {
		s, err := f.core.Configurations()
		if err != nil {
			f.t.Fatal(err)
		}
		if s.Swept {
			return
		}
		f.apply(device.KindConfig, "/configurations/0", "", device.HeaderAction, ConfigSweep)
	}
}

// wantDesired compares desired properties and configurations of a device or
// module; want "" says that there is none.
func (f *fleet) wantDesired(when, id, module, want, configurations string) {
	f.t.Helper()
	doc, err := f.core.Get(device.Ref{Device: id, Module: module})
	if err != nil {
		f.t.Fatal(err)
	}
	if doc == nil {
		if want != "" {
			f.t.Errorf("%s: there is no %s/%s", when, id, module)
		}
		return
	}
	var shown []string
	var all map[string]struct{ Status string }
	if doc.Configurations != "" {
		if err := json.Unmarshal([]byte(doc.Configurations), &all); err != nil {
			f.t.Fatal(err)
		}
	}
	for _, c := range []string{"base", "layer", "other", "mods", "net", "two"} {
		if s := all[c].Status; s != "" {
			shown = append(shown, c+" "+s)
		}
	}
	if got := string(doc.Twin.Desired.AppendDocument(nil)); got != want || strings.Join(shown, ", ") != configurations {
		f.t.Errorf("%s: %s/%s has %s, %s; want %s, %s", when, id, module, got, strings.Join(shown, ", "), want, configurations)
	}
}

func TestDeploymentReachesModulesOfTheDevicesThatItPicks(t *testing.T) {
	f := newFleet(t)
	wantErr(t, f.apply(device.KindIdentity, "e1", edgeChange(t, "e1", "", true)), nil)
	wantErr(t, f.apply(device.KindIdentity, "plain", edgeChange(t, "plain", "", false)), nil)
	wantErr(t, f.module(device.KindIdentity, "e1", "a", moduleChange(t, "e1", "a", "")), nil)
	f.configuration("base", 1, 1, "tags.site = 'x'", `{"modulesContent":{"a":{"properties.desired":{"v":1,"w":1}},"$edgeAgent":{"properties.desired":{"runtime":1}}}}`)
	f.wantDesired("before the device is picked", "e1", "a", `{}`, "")
	for _, d := range []string{"e1", "plain"} {
		wantErr(t, f.apply(device.KindTwin, d, `{"tags":{"site":"x"}}`), nil)
	}
	f.wantDesired("after its twin has changed", "e1", "a", `{"v":1,"w":1}`, "base Applied")
	f.wantDesired("after its twin has changed", "e1", "$edgeAgent", `{"runtime":1}`, "base Applied")
	f.wantDesired("after its twin has changed", "e1", "", `{}`, "base Applied")
	f.wantDesired("a device that is no edge device", "plain", "", `{}`, "")
	f.wantDesired("a device that is no edge device", "plain", "a", "", "")

	f.configuration("layer", 2, 5, "*", `{"modulesContent":{"a":{"properties.desired.w":2},"b":{"properties.desired.x":1}}}`)
	f.wantDesired("with a layer above", "e1", "a", `{"v":1,"w":2}`, "base Applied, layer Applied")
	f.wantDesired("with a layer above", "e1", "b", `{"x":1}`, "layer Applied")
	f.configuration("mods", 3, 9, "FROM devices.modules WHERE moduleId = 'a'", `{"moduleContent":{"properties.desired.m":1}}`)
	f.wantDesired("with one that picks modules", "e1", "a", `{"m":1,"v":1,"w":2}`, "base Applied, layer Applied, mods Applied")
	f.configuration("other", 4, 7, "*", `{"modulesContent":{"a":{"properties.desired":{"z":1}}}}`)
	f.wantDesired("under another whole", "e1", "a", `{"m":1,"z":1}`, "base Targeted, layer Targeted, other Applied, mods Applied")
	f.wantDesired("under another whole", "e1", "", `{}`, "base Applied, layer Applied, other Applied")
	f.withdraw("other")
	f.wantDesired("without the other", "e1", "a", `{"m":1,"v":1,"w":2}`, "base Applied, layer Applied, mods Applied")

	s, err := f.core.Configurations()
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]ConfigurationCounts{"base": {1, 1}, "layer": {1, 1}, "mods": {1, 1}} {
		if s.Counts[id] != want {
			t.Errorf("%s counts %+v, want %+v", id, s.Counts[id], want)
		}
	}
	// A module that comes later has its part at once.
	wantErr(t, f.module(device.KindDelete, "e1", "b", ""), nil)
	wantErr(t, f.module(device.KindIdentity, "e1", "b", moduleChange(t, "e1", "b", "")), nil)
	f.wantDesired("a module that comes later", "e1", "b", `{"x":1}`, "layer Applied")
	// The device leaves the target of base, and then is no edge device any more.
	wantErr(t, f.apply(device.KindTwin, "e1", `{"tags":{"site":null}}`), nil)
	f.wantDesired("after the device has left", "e1", "a", `{"m":1,"w":2}`, "layer Applied, mods Applied")
	f.wantDesired("after the device has left", "e1", "$edgeAgent", `{}`, "")
	wantErr(t, f.apply(device.KindIdentity, "e1", edgeChange(t, "e1", "*", false)), nil)
	f.wantDesired("no edge device any more", "e1", "a", `{"m":1}`, "mods Applied")
	f.wantDesired("no edge device any more", "e1", "b", `{}`, "")
	f.withdraw("mods")
	f.withdraw("layer")
	f.withdraw("base")
	if got := f.shelved(); strings.Contains(got, shelfTally) && strings.Contains(got, "Count") {
		t.Errorf("counts of configurations that are gone: %s", got)
	}
	f.wantDesired("without any", "e1", "a", `{}`, "")
}

func TestDeploymentOfWhichNothingCountsIsTargeted(t *testing.T) {
	f := newFleet(t)
	wantErr(t, f.apply(device.KindIdentity, "e1", edgeChange(t, "e1", "", true)), nil)
	f.configuration("base", 1, 1, "*", `{"modulesContent":{"a":{"properties.desired":{"v":1}}}}`)
	f.configuration("other", 2, 2, "*", `{"modulesContent":{"a":{"properties.desired":{"v":2}}}}`)
	f.wantDesired("two that say the whole", "e1", "", `{}`, "base Targeted, other Applied")
	f.wantDesired("two that say the whole", "e1", "a", `{"v":2}`, "base Targeted, other Applied")
	many := []string{}
	for i := range device.MaxModules {
		many = append(many, fmt.Sprintf(`"m%02d":{"properties.desired.v":1}`, i))
	}
	f.configuration("layer", 3, 3, "*", `{"modulesContent":{`+strings.Join(many, ",")+`}}`)
	f.wantDesired("more modules than there is room for", "e1", "", `{}`, "base Targeted, layer Targeted, other Applied")
	doc, err := f.core.Get(device.Ref{Device: "e1"})
	if err != nil || len(doc.Modules) != 1 {
		t.Errorf("%d modules, %v", len(doc.Modules), err)
	}
}

func TestContentOfModulesIsReadOrRefused(t *testing.T) {
	for _, c := range []struct {
		content string
		ok      bool
	}{
		{`{"modulesContent":{"a":{"properties.desired":{"v":1}}}}`, true},
		{`{"modulesContent":{"a":{"properties.desired.b.c":null}}}`, true},
		{`{"modulesContent":{}}`, true},
		{`{"modulesContent":[]}`, false},
		{`{"modulesContent":{"a":5}}`, false},
		{`{"modulesContent":{"a":{"properties.reported.b":1}}}`, false},
		{`{"modulesContent":{"a/b":{"properties.desired.b":1}}}`, false},
	} {
		_, err := device.ParseConfiguration("c", []byte(`{"content":`+c.content+`}`))
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.content, err)
		}
	}
}
