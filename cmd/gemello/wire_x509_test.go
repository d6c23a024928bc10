package main

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/gemello/gemello/device"
)

// A certificate is a device's credential on every port: by its thumbprint, or by
// the CA that signed it.
func TestCertificatesOverMQTTWebSocketAndHTTPS(t *testing.T) {
	var self *signer
	ca, stranger := self.sign(t, "devices", true), self.sign(t, "strangers", true)
	middle := ca.sign(t, "middle", true)
	file := filepath.Join(t.TempDir(), "cas.pem")
	writeCAs(t, file, ca.pem())
	node := newWireNode(t, "--tls.device_ca", file)
	own, second, other := self.sign(t, "any", false), self.sign(t, "any", false), self.sign(t, "any", false)
	thumbprints := fmt.Sprintf(`{"type":"selfSigned","x509Thumbprint":{"primaryThumbprint":"%x","secondaryThumbprint":"%X"}}`,
		sha256.Sum256(own.cert.Raw), sha256.Sum256(second.cert.Raw))
	node.create(device.Ref{Device: "self"}, thumbprints)
	node.create(device.Ref{Device: "signed"}, `{"type":"certificateAuthority"}`)
	node.create(device.Ref{Device: "signed", Module: "m"}, `{"type":"certificateAuthority"}`)
	node.device("sas")
	for _, tt := range []struct {
		rule, id string
		shown    *tls.Certificate
		admitted bool
	}{
		{"thumbprint", "self", own.shown(), true},
		{"secondary thumbprint", "self", second.shown(), true},
		{"another's certificate", "self", other.shown(), false},
		{"no certificate", "self", nil, false},
		{"signed by a CA of the hub", "signed", ca.sign(t, "signed", false).shown(), true},
		{"signed by an intermediate", "signed", middle.sign(t, "signed", false).shown(), true},
		{"signed for another device", "signed", ca.sign(t, "self", false).shown(), false},
		{"signed by a stranger", "signed", stranger.sign(t, "signed", false).shown(), false},
		{"no certificate of a CA", "signed", nil, false},
		{"a module", "signed/m", ca.sign(t, "signed/m", false).shown(), true},
		{"a module with its device's", "signed/m", ca.sign(t, "signed", false).shown(), false},
		{"a device with keys", "sas", ca.sign(t, "sas", false).shown(), false},
		{"a device with keys, as thumbprint", "sas", own.shown(), false},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			n := node.as(t)
			config := n.tls()
			if tt.shown != nil {
				config.Certificates = []tls.Certificate{*tt.shown}
			}
			for _, socket := range []string{"", socketTarget} {
				h := hello{id: tt.id, password: none, socket: socket, tls: config}
				if c := n.answered(h); c.code != map[bool]byte{true: 0, false: 5}[tt.admitted] {
					t.Errorf("%q: CONNACK %d", socket, c.code)
				} else if tt.admitted {
					c.publish(eventsOf(tt.id), `{"over":"mqtt"}`)
				}
			}
			transport := &http.Transport{TLSClientConfig: config}
			defer transport.CloseIdleConnections()
			want := map[bool]int{true: 204, false: 401}[tt.admitted]
			a, err := n.send(&http.Client{Transport: transport, Timeout: patience}, "POST", "/"+eventsOf(tt.id)+serviceV, `{"over":"https"}`, "Authorization", none)
			if err != nil || a.status != want {
				t.Errorf("HTTPS: %v, %v, want %d", a, err, want)
			}
			if !tt.admitted {
				wantShape1(t, a, "IotHubUnauthorizedAccess")
			}
		})
	}
	t.Run("events name the certificate", func(t *testing.T) {
		n := node.as(t)
		auths := map[string]int{}
		defer func() {
			if t.Failed() {
				t.Logf("%v", auths)
			}
		}()
		eventually(t, "the events", func() bool {
			clear(auths)
			for _, r := range n.records(n.info.Hub + ".events") {
				auths[r.Key+" "+r.Headers["iothub-connection-module-id"]+" "+r.Headers["iothub-connection-auth-method"]]++
			}
			return auths["self  "+x509Auth("device")] == 6 && auths["signed  "+x509Auth("device")] == 6 && auths["signed m "+x509Auth("module")] == 3
		})
	})
	// A CA that is gone ends what it let in, over a WebSocket, too.
	t.Run("a CA that is taken away", func(t *testing.T) {
		n := node.as(t)
		config := n.tls()
		config.Certificates = []tls.Certificate{*ca.sign(t, "signed", false).shown()}
		c := n.connect(hello{id: "signed", password: none, socket: socketTarget, tls: config})
		c.ping()
		n.want(204, "DELETE", "/devices/signed"+serviceV, "", "If-Match", anyETag)
		c.ended()
	})
}

func x509Auth(scope string) string {
	return `{"scope":"` + scope + `","type":"x509","issuer":"external","acceptingIpFilterRule":null}`
}
