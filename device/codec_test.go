package device

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
	"time"
)

func TestTwinSurvivesItsStoredForm(t *testing.T) {
	tw := reported(t, `{"a":{"b":[1, 2],"c":{"d":"x\u00e9"}},"e":{}}`, `{"a":{"c":{"d":5}}}`)
	tw.ModelID = "dtmi:a;1"
	if _, err := tw.Apply(&TwinChange{Body: []byte(`{"tags":{"t":1},"properties":{"desired":{"z":{"y":true}}}}`)}, noon.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	b, err := tw.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	var got Twin
	if err := got.UnmarshalBinary(b); err != nil {
		t.Fatal(err)
	}
	show := func(tw *Twin) string {
		d := Document{Twin: *tw}
		return string(d.AppendServiceView(nil))
	}
	if show(&got) != show(&tw) || got.Reported.root.size != tw.Reported.root.size || got.Desired.root.text != tw.Desired.root.text {
		t.Errorf("\n got %s\nwant %s", show(&got), show(&tw))
	}
	again, _ := got.AppendBinary(nil)
	if !bytes.Equal(again, b) {
		t.Error("the stored form is not stable")
	}
	for n := range b {
		if err := got.UnmarshalBinary(b[:n]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
}

func FuzzTwinStoredForm(f *testing.F) {
	tw := NewTwin()
	if _, err := tw.ApplyReported([]byte(`{"a":{"b":1},"c":[2]}`), noon); err != nil {
		f.Fatal(err)
	}
	b, _ := tw.AppendBinary(nil)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var tw Twin
		if err := tw.UnmarshalBinary(b); err != nil {
			return
		}
		again, err := tw.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		var same Twin
		if err := same.UnmarshalBinary(again); err != nil {
			t.Errorf("written again it can't be read: %v", err)
		}
		tw.AppendDeviceView(nil)
	})
}

func TestIdentitySurvivesItsStoredForm(t *testing.T) {
	full := Identity{
		DeviceID: "d1", GenerationID: "g", ETag: "e", Status: Disabled, StatusReason: "why",
		StatusUpdated: noon.Add(1234567 * 100), IoTEdge: true, DeviceScope: "s", ParentScopes: []string{"a", "b"},
		Auth: Auth{Type: AuthCA, Primary: []byte{1}, Secondary: []byte{2, 3}, PrimaryThumbprint: "p", SecondaryThumbprint: "q"},
	}
	for _, id := range []Identity{full, {DeviceID: "x"}} {
		b, err := id.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		var got Identity
		if err := got.UnmarshalBinary(b); err != nil || !reflect.DeepEqual(got, id) {
			t.Errorf("%v\n got %+v\nwant %+v", err, got, id)
		}
		for n := range b {
			if err := got.UnmarshalBinary(b[:n]); !errors.Is(err, ErrCorrupt) {
				t.Errorf("cut at %d: %v", n, err)
			}
		}
		c := Change{Wanted: id, KeepSecondary: true, IfMatch: "*"}
		b, err = c.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		var back Change
		if err := back.UnmarshalBinary(b); err != nil || !reflect.DeepEqual(back, c) {
			t.Errorf("change: %v %+v", err, back)
		}
		b[0]++
		if err := back.UnmarshalBinary(b); !errors.Is(err, ErrCorrupt) {
			t.Errorf("unknown version: %v", err)
		}
	}
}

func FuzzIdentity(f *testing.F) {
	id := sas("d1")
	b, _ := id.AppendBinary(nil)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var id Identity
		if err := id.UnmarshalBinary(b); err != nil {
			return
		}
		again, err := id.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		var same Identity
		if err := same.UnmarshalBinary(again); err != nil || !reflect.DeepEqual(id, same) {
			t.Errorf("%v: %+v and %+v", err, id, same)
		}
	})
}
