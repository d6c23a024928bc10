package device

import (
	"encoding/json"
	"testing"
)

func TestServiceView(t *testing.T) {
	d := Document{Twin: reported(t, `{"x":1}`), Entry: Entry{
		Identity: Identity{DeviceID: "d1", ETag: "NDE=", GenerationID: "g", Status: Disabled, StatusReason: "a\"b\x01", StatusUpdated: noon, ParentScopes: []string{"p", "q"}},
		Presence: Presence{Connected: true, LastActivity: noon, Queued: 2},
	}}
	d.Twin.ModelID = "dtmi:x:y;1"
	if _, err := d.Twin.Apply(&TwinChange{Body: []byte(`{"tags":{"site":"a"}}`)}, noon); err != nil {
		t.Fatal(err)
	}
	want := `{"deviceId":"d1","etag":"AAAAAAAAAAI=","deviceEtag":"NDE=","status":"disabled","statusReason":"a\"b\u0001","statusUpdateTime":"2026-01-02T12:00:00Z",` +
		`"connectionState":"Connected","lastActivityTime":"2026-01-02T12:00:00Z","cloudToDeviceMessageCount":2,"authenticationType":"sas",` +
		`"x509Thumbprint":{"primaryThumbprint":null,"secondaryThumbprint":null},"modelId":"dtmi:x:y;1","version":4,"tags":{"site":"a"},` +
		`"properties":{"desired":{"$metadata":{"$lastUpdated":"0001-01-01T00:00:00Z"},"$version":1},` +
		`"reported":{"x":1,"$metadata":{"$lastUpdated":"2026-01-02T12:00:00Z","x":{"$lastUpdated":"2026-01-02T12:00:00Z"}},"$version":2}},` +
		`"capabilities":{"iotEdge":false},"deviceScope":"","parentScopes":["p","q"]}`
	if got := string(d.AppendServiceView(nil)); got != want || !json.Valid([]byte(got)) {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}
