package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // a thumbprint
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gemello/gemello/device"
)

// signer is a certificate with its key, and what must be shown beside it.
type signer struct {
	cert  *x509.Certificate
	key   *ecdsa.PrivateKey
	above [][]byte // of intermediates
}

// sign makes a certificate; without a signer it signs itself.
func (s *signer) sign(t *testing.T, name string, ca bool) *signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, BasicConstraintsValid: true, IsCA: ca,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if ca {
		template.KeyUsage |= x509.KeyUsageCertSign
	}
	parent, by, above := template, key, [][]byte(nil)
	if s != nil {
		parent, by, above = s.cert, s.key, s.above
		if s.above != nil || s.cert.Issuer.CommonName != s.cert.Subject.CommonName {
			above = append([][]byte{s.cert.Raw}, s.above...)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{cert, key, above}
}

// shown is what a client shows in TLS.
func (s *signer) shown() *tls.Certificate {
	return &tls.Certificate{Certificate: append([][]byte{s.cert.Raw}, s.above...), PrivateKey: s.key}
}

func (s *signer) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.cert.Raw}))
}

// writeCAs replaces the file as a tool would: at once.
func writeCAs(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

func TestDevicesShowCertificatesOfTheHubsCAs(t *testing.T) {
	r := newHubRig(t)
	var self *signer
	one, two := self.sign(t, "one", true), self.sign(t, "two", true)
	middle := one.sign(t, "middle", true)
	file := filepath.Join(t.TempDir(), "cas.pem")
	writeCAs(t, file, one.pem())
	cas, err := openDeviceCAs(file, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r.gateway.trustDeviceCAs(cas)
	m := r.serveMQTT()
	for _, ref := range []device.Ref{{Device: "d1"}, {Device: "d2"}, {Device: "d1", Module: "m1"}} {
		r.make(device.Identity{DeviceID: ref.Device, ModuleID: ref.Module, Auth: device.Auth{Type: device.AuthCA}})
	}
	r.make(device.Identity{DeviceID: "none", Auth: device.Auth{Type: device.AuthNone}})
	r.makeDevice("sas")
	m.refused("d2", "", two.sign(t, "d2", false).shown())
	m.refused("d2", "", one.sign(t, "d1", false).shown())
	m.refused("d2", "", self.sign(t, "d2", false).shown())
	m.refused("none", "", one.sign(t, "none", false).shown())
	m.refused("sas", "", one.sign(t, "sas", false).shown())
	m.refused("unknown", "", one.sign(t, "unknown", false).shown())
	m.refused("d1/m1", "", one.sign(t, "d1", false).shown())
	m.refused("d2", "", nil)
	direct := m.admitted("d1", "", one.sign(t, "d1", false).shown())
	module := m.admitted("d1/m1", "", middle.sign(t, "d1/m1", false).shown())
	// A file that is broken changes nothing; one without the CA cuts its sessions.
	writeCAs(t, file, one.pem()+"-----BEGIN CERTIFICATE-----\nAAAA")
	if _, err := cas.refresh(); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a broken file: %v", err)
	}
	deep := m.admitted("d2", "", middle.sign(t, "d2", false).shown())
	writeCAs(t, file, two.pem()+one.pem())
	if changed, err := cas.refresh(); !changed || err != nil {
		t.Errorf("refresh: %v, %v", changed, err)
	}
	direct.open()
	writeCAs(t, file, two.pem())
	if _, err := cas.refresh(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*mqttClient{direct, module, deep} {
		c.cut()
	}
	m.refused("d1", "", one.sign(t, "d1", false).shown())
	m.admitted("d1", "", two.sign(t, "d1", false).shown())
}

func TestDevicesShowCertificatesOfTheirOwn(t *testing.T) {
	r := newHubRig(t)
	m := r.serveMQTT()
	var self *signer
	first, second, third := self.sign(t, "any", false), self.sign(t, "name", false), self.sign(t, "any", false)
	r.make(device.Identity{DeviceID: "d1", Auth: device.Auth{
		Type:              device.AuthSelfSigned,
		PrimaryThumbprint: fmt.Sprintf("%x", sha1.Sum(first.cert.Raw)), SecondaryThumbprint: fmt.Sprintf("%X", sha256.Sum256(second.cert.Raw)), //nolint:gosec // a thumbprint
	}})
	m.refused("d1", "", third.shown())
	m.refused("d1", "", nil)
	m.admitted("d1", "", first.shown())
	c := m.admitted("d1", "", second.shown())
	// Another thumbprint in place of the second cuts the session that showed it.
	r.put(device.Change{IfMatch: "*", Wanted: device.Identity{DeviceID: "d1", Auth: device.Auth{
		Type: device.AuthSelfSigned, PrimaryThumbprint: fmt.Sprintf("%x", sha256.Sum256(first.cert.Raw)),
	}}})
	c.cut()
	m.refused("d1", "", second.shown())
	m.admitted("d1", "", first.shown())
}

func TestFilesOfCAs(t *testing.T) {
	var self *signer
	ca := self.sign(t, "ca", true)
	many := strings.Repeat(ca.pem(), maxDeviceCAs)
	for _, tt := range []struct {
		rule, text, err string
	}{
		{"one CA", ca.pem(), ""},
		{"text before a certificate", "subject=ca\n" + ca.pem(), ""},
		{"nothing trusts nobody", "", ""},
		{"25 CAs", many, ""},
		{"26 CAs", many + ca.pem(), "more than 25"},
		{"a leaf", self.sign(t, "leaf", false).pem(), `"leaf" is not that of a CA`},
		{"a key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "only certificates"},
		{"half a certificate", ca.pem()[:100], "no PEM certificate"},
		{"bytes that are no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "x509"},
	} {
		_, err := parseCAs([]byte(tt.text))
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %v", tt.rule, err)
		}
	}
}
