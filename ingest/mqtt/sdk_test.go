package mqtt

import (
	"crypto/tls"
	"encoding/pem"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/gemello/gemello/ingest"
)

// The unmodified device SDKs run against a hub that answers by a script. They
// insist on TLS on port 8883.
const sdkHost = "127.0.0.22"

// TestNodeDevice needs node and, in GEMELLO_NODE_SDK, a folder node_modules with
// azure-iot-device and azure-iot-device-mqtt.
func TestNodeDevice(t *testing.T) {
	modules := os.Getenv("GEMELLO_NODE_SDK")
	if modules == "" || !exists(filepath.Join(modules, "azure-iot-device-mqtt")) {
		t.Skip("GEMELLO_NODE_SDK is not set to a node_modules folder with azure-iot-device-mqtt")
	}
	f := start(t, Limits{})
	ca := sdkListener(f)
	done := runSDK(f, []string{"NODE_PATH=" + modules, "NODE_EXTRA_CA_CERTS=" + ca}, "node", "testdata/device.js", sdkDevice)
	l := sdkScript(f)
	// The client renews its token on a new connection and does not subscribe
	// again.
	renewed := f.link()
	if e := take(f, l.ended, "end of the first connection"); e.reason != ingest.ReasonClient {
		t.Errorf("ended %v", e.reason)
	}
	f.eventually("renewed connection", func() bool {
		for len(f.hub.links) > 0 {
			renewed = f.link()
		}
		renewed.session.DesiredChanged(3, []byte(`{"z":3,"$version":3}`))
		return f.metric("desired_notifications_total", "sent") > 1
	})
	if err := take(f, done, "end of the client"); err != nil {
		t.Error(err)
	}
}

// TestPythonDevice needs, in GEMELLO_PYTHON_SDK, a python with azure-iot-device.
func TestPythonDevice(t *testing.T) {
	python := os.Getenv("GEMELLO_PYTHON_SDK")
	if python == "" || exec.Command(python, "-c", "import azure.iot.device").Run() != nil {
		t.Skip("GEMELLO_PYTHON_SDK is not set to a python with azure-iot-device")
	}
	f := start(t, Limits{})
	ca := sdkListener(f)
	done := runSDK(f, nil, python, "testdata/device.py", sdkDevice, ca)
	l := sdkScript(f)
	take(f, l.published, "last message")
	if err := take(f, done, "end of the client"); err != nil {
		t.Error(err)
	}
}

const sdkDevice = "HostName=" + sdkHost + ";DeviceId=d;SharedAccessKey=c2VjcmV0IHNlY3JldCBzZWNyZXQh"

// sdkScript plays the hub's part of both clients' first connection.
func sdkScript(f *fixture) *fakeLink {
	f.Helper()
	l := f.link()
	m := take(f, l.published, "message")
	props, err := ingest.ParseBag(m.Bag)
	if err != nil {
		f.Fatal(err)
	}
	for _, want := range []ingest.Property{{Key: "$.mid", Value: "m 1"}, {Key: "$.ct", Value: "application/json"},
		{Key: "$.ce", Value: "utf-8"}, {Key: "a b", Value: "c&d=e/f"}} {
		if !slices.Contains(props, want) {
			f.Errorf("bag %s has no %+v", m.Bag, want)
		}
	}
	var p patchCall
	for p.done == nil { // Python also reads its twin on connecting
		select {
		case answer := <-l.twins:
			answer([]byte(`{"desired":{"x":1,"$version":1},"reported":{"$version":1}}`), nil)
		case p = <-l.patches:
		case <-time.After(patience):
			f.Fatal("patch did not come")
		}
	}
	p.done(2, nil)
	if string(p.patch) != `{"y":2}` && string(p.patch) != `{"y": 2}` {
		f.Errorf("patch %s", p.patch)
	}
	f.eventually("subscription to desired properties", func() (ok bool) {
		l.session.DesiredChanged(2, []byte(`{"x":2,"$version":2}`))
		return f.metric("desired_notifications_total", "sent") > 0
	})
	return l
}

func sdkListener(f *fixture) (ca string) {
	f.Helper()
	l, err := net.Listen("tcp", sdkHost+":8883")
	if err != nil {
		f.Fatal(err)
	}
	cert := certificate(f, sdkHost)
	done := make(chan error, 1)
	go func() {
		done <- f.s.ServeTLS(l, &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequestClientCert})
	}()
	f.Cleanup(func() {
		l.Close()
		<-done
	})
	ca = filepath.Join(f.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}), 0o600); err != nil {
		f.Fatal(err)
	}
	return ca
}

func runSDK(f *fixture, env []string, name string, args ...string) <-chan error {
	cmd := exec.CommandContext(f.Context(), name, args...)
	cmd.Env = append(os.Environ(), env...)
	done, logged := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(logged)
		out, err := cmd.CombinedOutput()
		f.Logf("%s", out)
		done <- err
	}()
	f.Cleanup(func() { <-logged })
	return done
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}
