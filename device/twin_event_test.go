package device

import "testing"

func TestUpdateEventHoldsTheChangedPartsAlone(t *testing.T) {
	tw := NewTwin()
	at := noon
	if _, err := tw.Apply(&TwinChange{Body: []byte(`{"tags":{"site":"a"},"properties":{"desired":{"p":1,"q":{"r":2}}}}`)}, at); err != nil {
		t.Fatal(err)
	}
	c, err := tw.Apply(&TwinChange{Body: []byte(`{"properties":{"desired":{"q":{"r":null},"p":2}}}`)}, at)
	if err != nil {
		t.Fatal(err)
	}
	const stamp = `"$lastUpdated":"2026-01-02T12:00:00Z","$lastUpdatedVersion":3`
	want := `{"version":4,"properties":{"desired":{"p":2,"q":{"r":null},"$metadata":{` + stamp + `,"p":{` + stamp + `},"q":{` + stamp + `,"r":{` + stamp + `}}},"$version":3}}}`
	if got := string(tw.AppendDelta(nil, &c.Delta)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	c, err = tw.Apply(&TwinChange{Body: []byte(`{"tags":{"site":null}}`)}, at)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(tw.AppendDelta(nil, &c.Delta)); got != `{"version":5,"tags":{"site":null}}` {
		t.Error(got)
	}
	_, delta, err := tw.PatchReported([]byte(`{"x":1}`), at)
	if err != nil {
		t.Fatal(err)
	}
	want = `{"version":6,"properties":{"reported":{"x":1,"$metadata":{"$lastUpdated":"2026-01-02T12:00:00Z","x":{"$lastUpdated":"2026-01-02T12:00:00Z"}},"$version":2}}}`
	if got := string(tw.AppendDelta(nil, &delta)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestEventOfANewTwin(t *testing.T) {
	d := Document{Entry: Entry{Identity: Identity{DeviceID: "d", ModuleID: "m"}}, Twin: NewTwin()}
	want := `{"deviceId":"d","moduleId":"m","etag":"AAAAAAAAAAE=","version":2,"tags":{},"properties":{"desired":{"$metadata":{"$lastUpdated":"0001-01-01T00:00:00Z"},"$version":1},"reported":{"$metadata":{"$lastUpdated":"0001-01-01T00:00:00Z"},"$version":1}}}`
	if got := string(d.AppendEventView(nil)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
