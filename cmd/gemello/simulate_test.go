package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/gemello/gemello/bench/devices"
)

const testCS = "HostName=localhost;SharedAccessKeyName=iothubowner;SharedAccessKey=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

// TestSimulateTarget: a node on this machine lends ports and CA to a connection
// string of one of its host names, and to no other.
func TestSimulateTarget(t *testing.T) {
	dir := t.TempDir()
	ca := writeTemp(t, "ca.pem", "not a certificate")
	if err := (&dataDir{path: dir}).writeRunInfo(&runInfo{
		Hostnames: []string{"localhost"}, CA: ca,
		Listen: map[string][]string{"mqtts": {"[::]:18883", "x"}, "https": {"127.0.0.21:1443"}},
	}); err != nil {
		t.Fatal(err)
	}
	target := func(hub string, o devices.Options) (devices.Options, error) {
		f := &adminFlags{app: &app{}, data: dir}
		err := f.simulateTarget(t.Context(), hub, &o)
		return o, err
	}
	o, err := target(testCS, devices.Options{})
	if o.MQTT != "127.0.0.1:18883" || o.HTTPS != "127.0.0.21:1443" {
		t.Errorf("addresses %s %s", o.MQTT, o.HTTPS)
	}
	wantUsage(t, err, "--ca", ca, "no PEM certificate")

	o, err = target(testCS, devices.Options{MQTT: "h:1", HTTPS: "h:2"})
	if err == nil || o.MQTT != "h:1" || o.HTTPS != "h:2" {
		t.Errorf("given addresses became %s %s (%v)", o.MQTT, o.HTTPS, err)
	}

	elsewhere := "HostName=hub.example.com" + testCS[len("HostName=localhost"):]
	o, err = target(elsewhere, devices.Options{})
	if err != nil || o.MQTT != "" || o.HTTPS != "" || o.TLS.RootCAs != nil || o.Connection.HostName != "hub.example.com" {
		t.Errorf("options %+v, %v", o, err)
	}
}

func TestSimulatePrintsFigures(t *testing.T) {
	s := devices.Stats{Elapsed: 2 * time.Second, Connected: 3, Acked: 20, Behind: 1}
	var text, asJSON bytes.Buffer
	printStats(&text, false, 4, s)
	if want := "   2.0s  3/4 connected  20 acknowledged (10.0/s)  1 behind\n"; text.String() != want {
		t.Errorf("%q, want %q", text.String(), want)
	}
	printStats(&asJSON, true, 4, s)
	if want := `{"seconds":2.0,"devices":4,"connected":3,"acked":20,"rate":10.0,"failed":0,"behind":1,"reconnects":0,"methods":0}` + "\n"; asJSON.String() != want {
		t.Errorf("%q, want %q", asJSON.String(), want)
	}
}
