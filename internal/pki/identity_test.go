package pki

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is set by hand.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func newClock() *clock { return &clock{time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func mustOpen(t *testing.T, o Options) *Identity {
	t.Helper()
	id, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func leafOf(id *Identity) *x509.Certificate { return id.current.Load().Leaf }

func verify(t *testing.T, id *Identity, leaf *x509.Certificate, name string, at time.Time) error {
	t.Helper()
	pool, err := id.Pool()
	if err != nil {
		t.Fatal(err)
	}
	_, err = leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: name, CurrentTime: at})
	return err
}

func TestChainVerifiesForEveryName(t *testing.T) {
	c := newClock()
	names := []string{"hub.example.com", "localhost", "127.0.0.21", "10.1.2.3", "2001:db8::5", "::1"}
	id := mustOpen(t, Options{Dir: t.TempDir(), Names: names, Now: c.now})
	for _, n := range names {
		host := n
		if strings.Contains(n, ":") {
			host = "[" + n + "]"
		}
		if err := verify(t, id, leafOf(id), host, c.t); err != nil {
			t.Errorf("%s: %v", n, err)
		}
	}
	if err := verify(t, id, leafOf(id), "other.example.com", c.t); err == nil {
		t.Error("the certificate passes for a name that is not the hub's")
	}
}

// TestCommonNameIsNoAddress: OpenSSL (Node, Python) refuses an address there.
func TestCommonNameIsNoAddress(t *testing.T) {
	for want, names := range map[string][]string{
		"gemello hub":     {"127.0.0.21", "::1"},
		"localhost":       {"127.0.0.1", "localhost"},
		"hub.example.com": {"hub.example.com", "localhost"},
	} {
		id := mustOpen(t, Options{Dir: t.TempDir(), Names: names, Now: newClock().now})
		if got := leafOf(id).Subject.CommonName; got != want {
			t.Errorf("%v: common name %q, want %q", names, got, want)
		}
	}
}

func TestLeafLastsAtMost397DaysAndIsBackdated(t *testing.T) {
	c := newClock()
	id := mustOpen(t, Options{Dir: t.TempDir(), Names: []string{"localhost"}, Now: c.now})
	leaf := leafOf(id)
	// Both ends count (RFC 5280 4.1.2.5).
	if d := leaf.NotAfter.Sub(leaf.NotBefore) + time.Second; d > 397*24*time.Hour {
		t.Errorf("the leaf lasts %s", d)
	}
	if !leaf.NotBefore.Before(c.t) {
		t.Errorf("not before %s, issued at %s", leaf.NotBefore, c.t)
	}
}

func TestConstraintsForbidOtherNames(t *testing.T) {
	c := newClock()
	dir := t.TempDir()
	id := mustOpen(t, Options{Dir: dir, Names: []string{"hub.example.com", "10.1.2.3"}, Now: c.now})
	for _, tc := range []struct {
		name string
		ok   bool
	}{
		{"hub.example.com", true},
		{"a.hub.example.com", true},
		{"127.9.9.9", true},
		{"localhost", true},
		{"example.com", false},
		{"bank.example", false},
		{"10.1.2.4", false},
		{"8.8.8.8", false},
	} {
		leaf, _, err := id.ca.issue([]string{tc.name}, c.t)
		if err != nil {
			t.Fatal(err)
		}
		err = verify(t, id, leaf, tc.name, c.t)
		if tc.ok != (err == nil) {
			t.Errorf("%s: %v", tc.name, err)
		}
		if got := id.ca.permits([]string{tc.name}); got != tc.ok {
			t.Errorf("permits(%s) = %t", tc.name, got)
		}
	}
	ca := id.ca.cert
	if !ca.IsCA || !ca.MaxPathLenZero || !ca.PermittedDNSDomainsCritical || len(ca.PermittedIPRanges) == 0 {
		t.Errorf("CA is not limited: %+v", ca)
	}
	if leaf := leafOf(id); leaf.IsCA || leaf.KeyUsage&x509.KeyUsageCertSign != 0 {
		t.Error("the leaf can sign")
	}
}

func TestFilesAreKeptAndPrivate(t *testing.T) {
	c := newClock()
	dir := filepath.Join(t.TempDir(), "pki")
	o := Options{Dir: dir, Names: []string{"localhost"}, Now: c.now}
	first := mustOpen(t, o)
	c.t = c.t.Add(24 * time.Hour)
	second := mustOpen(t, o)
	if !leafOf(first).Equal(leafOf(second)) {
		t.Error("a restart made a new certificate")
	}
	if runtime.GOOS == "windows" {
		return
	}
	for name, mode := range map[string]fs.FileMode{".": 0o700, caKeyFile: 0o600, serverKeyFile: 0o600, caFile: 0o644} {
		st, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode().Perm() != mode {
			t.Errorf("%s has mode %o, want %o", name, st.Mode().Perm(), mode)
		}
	}
}

func TestNamesFollowHostnamesUnderTheSameCA(t *testing.T) {
	c := newClock()
	dir := t.TempDir()
	first := mustOpen(t, Options{Dir: dir, Names: []string{"localhost", "127.0.0.1"}, Now: c.now})
	second := mustOpen(t, Options{Dir: dir, Names: []string{"127.0.0.21"}, Now: c.now})
	if leafOf(first).Equal(leafOf(second)) {
		t.Fatal("the certificate did not change with the names")
	}
	if err := verify(t, first, leafOf(second), "127.0.0.21", c.t); err != nil {
		t.Errorf("clients that trust the CA lost the hub: %v", err)
	}
	if err := leafOf(second).VerifyHostname("localhost"); err == nil {
		t.Error("the old name stayed")
	}
}

func TestNewNameOutsideTheConstraintsMakesANewCA(t *testing.T) {
	c := newClock()
	dir := t.TempDir()
	first := mustOpen(t, Options{Dir: dir, Names: []string{"localhost"}, Now: c.now})
	oldCA := first.ca.cert
	var log bytes.Buffer
	second := mustOpen(t, Options{Dir: dir, Names: []string{"hub.example.com"}, Now: c.now, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err := verify(t, second, leafOf(second), "hub.example.com", c.t); err != nil {
		t.Fatal(err)
	}
	if second.ca.cert.Equal(oldCA) {
		t.Fatal("the CA stayed")
	}
	if !strings.Contains(log.String(), "clients must trust it") {
		t.Errorf("nobody was told: %s", log.String())
	}
	kept, err := filepath.Glob(filepath.Join(dir, "ca-*.pem"))
	if err != nil || len(kept) != 1 {
		t.Errorf("the old CA's certificate is gone: %v %v", kept, err)
	}
}

func TestRenewsAtTwoThirdsWithoutRestart(t *testing.T) {
	c := newClock()
	id := mustOpen(t, Options{Dir: t.TempDir(), Names: []string{"localhost"}, Now: c.now})
	config := id.TLSConfig()
	before := leafOf(id)
	c.t = c.t.Add(260 * 24 * time.Hour)
	if changed, err := id.Refresh(); changed || err != nil {
		t.Fatalf("too early: %t %v", changed, err)
	}
	c.t = c.t.Add(10 * 24 * time.Hour)
	if changed, err := id.Refresh(); !changed || err != nil {
		t.Fatalf("not renewed: %t %v", changed, err)
	}
	shown, err := config.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	if shown.Leaf.Equal(before) {
		t.Error("listeners still show the old certificate")
	}
	if err := verify(t, id, shown.Leaf, "localhost", c.t.Add(390*24*time.Hour)); err != nil {
		t.Error(err)
	}
}

func TestExpiredOrDamagedFilesAreReplacedOrNamed(t *testing.T) {
	t.Run("expired leaf", func(t *testing.T) {
		c := newClock()
		dir := t.TempDir()
		mustOpen(t, Options{Dir: dir, Names: []string{"localhost"}, Now: c.now})
		c.t = c.t.Add(500 * 24 * time.Hour)
		id := mustOpen(t, Options{Dir: dir, Names: []string{"localhost"}, Now: c.now})
		if err := verify(t, id, leafOf(id), "localhost", c.t); err != nil {
			t.Error(err)
		}
	})
	t.Run("damaged leaf", func(t *testing.T) {
		c := newClock()
		dir := t.TempDir()
		mustOpen(t, Options{Dir: dir, Names: []string{"localhost"}, Now: c.now})
		os.WriteFile(filepath.Join(dir, serverFile), []byte("torn"), 0o644)
		id := mustOpen(t, Options{Dir: dir, Names: []string{"localhost"}, Now: c.now})
		if err := verify(t, id, leafOf(id), "localhost", c.t); err != nil {
			t.Error(err)
		}
	})
	t.Run("old CA", func(t *testing.T) {
		c := newClock()
		dir := t.TempDir()
		mustOpen(t, Options{Dir: dir, Names: []string{"localhost"}, Now: c.now})
		c.t = c.t.Add(caLifetime - 20*24*time.Hour)
		id := mustOpen(t, Options{Dir: dir, Names: []string{"localhost"}, Now: c.now})
		if err := verify(t, id, leafOf(id), "localhost", c.t.Add(100*24*time.Hour)); err != nil {
			t.Error(err)
		}
	})
	for name, damage := range map[string]func(dir string) error{
		"CA key missing": func(dir string) error { return os.Remove(filepath.Join(dir, caKeyFile)) },
		"CA key torn":    func(dir string) error { return os.WriteFile(filepath.Join(dir, caKeyFile), []byte("x"), 0o600) },
		"CA torn":        func(dir string) error { return os.WriteFile(filepath.Join(dir, caFile), []byte("x"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			mustOpen(t, Options{Dir: dir, Names: []string{"localhost"}})
			if err := damage(dir); err != nil {
				t.Fatal(err)
			}
			_, err := Open(Options{Dir: dir, Names: []string{"localhost"}})
			if err == nil || !strings.Contains(err.Error(), "ca.") || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v: want one line that names the file", err)
			}
		})
	}
}

func TestCAKeyWithoutCertificateIsAFreshStart(t *testing.T) {
	dir := t.TempDir()
	mustOpen(t, Options{Dir: dir, Names: []string{"localhost"}})
	if err := os.Remove(filepath.Join(dir, caFile)); err != nil {
		t.Fatal(err)
	}
	id := mustOpen(t, Options{Dir: dir, Names: []string{"localhost"}})
	if err := verify(t, id, leafOf(id), "localhost", time.Now()); err != nil {
		t.Error(err)
	}
}

// usersFiles writes a certificate like a user's and returns its files.
func usersFiles(t *testing.T, c *clock, dir, name string) (cert, key, ca string) {
	t.Helper()
	src := t.TempDir()
	mustOpen(t, Options{Dir: src, Names: []string{name}, Now: c.now})
	cert, key, ca = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"), filepath.Join(dir, "ca.crt")
	for from, to := range map[string]string{serverFile: cert, serverKeyFile: key, caFile: ca} {
		b, err := os.ReadFile(filepath.Join(src, from))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key, ca
}

func touch(t *testing.T, file string, at time.Time) {
	t.Helper()
	if err := os.Chtimes(file, at, at); err != nil {
		t.Fatal(err)
	}
}

func TestUsersCertificateIsReloadedWhenItsFilesChange(t *testing.T) {
	c := newClock()
	dir := t.TempDir()
	cert, key, ca := usersFiles(t, c, dir, "hub.example.com")
	id := mustOpen(t, Options{Names: []string{"hub.example.com"}, Cert: cert, Key: key, CA: ca, Now: c.now})
	if id.CAFile() != ca {
		t.Errorf("CA file %q", id.CAFile())
	}
	first := leafOf(id)
	if changed, err := id.Refresh(); changed || err != nil {
		t.Fatalf("nothing changed: %t %v", changed, err)
	}

	// Half of a renewal: the new certificate with the old key.
	usersFiles(t, c, dir, "hub.example.com")
	touch(t, cert, time.Now().Add(time.Minute))
	touch(t, key, time.Now().Add(time.Minute))
	newKey, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(key, []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	touch(t, key, time.Now().Add(2*time.Minute))
	if _, err := id.Refresh(); err == nil {
		t.Fatal("a torn key was taken")
	}
	if !leafOf(id).Equal(first) {
		t.Fatal("the working certificate was given up")
	}
	if err := os.WriteFile(key, newKey, 0o600); err != nil {
		t.Fatal(err)
	}
	touch(t, key, time.Now().Add(3*time.Minute))
	if changed, err := id.Refresh(); !changed || err != nil {
		t.Fatalf("not reloaded: %t %v", changed, err)
	}
	if leafOf(id).Equal(first) {
		t.Error("the old certificate is still shown")
	}
}

func TestUsersCertificateProblemsAreNamed(t *testing.T) {
	c := newClock()
	dir := t.TempDir()
	cert, key, _ := usersFiles(t, c, dir, "hub.example.com")
	t.Run("expired", func(t *testing.T) {
		late := &clock{c.t.Add(400 * 24 * time.Hour)}
		if _, err := Open(Options{Names: []string{"hub.example.com"}, Cert: cert, Key: key, Now: late.now}); err == nil || !strings.Contains(err.Error(), "expired on") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("missing", func(t *testing.T) {
		if _, err := Open(Options{Names: []string{"h"}, Cert: cert + "x", Key: key, Now: c.now}); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("other name", func(t *testing.T) {
		var log bytes.Buffer
		mustOpen(t, Options{Names: []string{"other.example.com"}, Cert: cert, Key: key, Now: c.now, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if !strings.Contains(log.String(), "other.example.com") {
			t.Errorf("nobody was told: %s", log.String())
		}
	})
}

func TestWatchRefreshesAtTicksUntilTheEnd(t *testing.T) {
	c := newClock()
	id := mustOpen(t, Options{Dir: t.TempDir(), Names: []string{"localhost"}, Now: c.now})
	before := leafOf(id)
	c.t = c.t.Add(300 * 24 * time.Hour)
	ctx, cancel := context.WithCancel(context.Background())
	ticks := make(chan time.Time)
	done := make(chan struct{})
	go func() { id.Watch(ctx, ticks); close(done) }()
	ticks <- c.t
	ticks <- c.t // taken only after the first was dealt with
	if leafOf(id).Equal(before) {
		t.Error("not renewed at a tick")
	}
	cancel()
	<-done
}

func TestServesModernTLSAndAsksForAnyClientCertificate(t *testing.T) {
	id := mustOpen(t, Options{Dir: t.TempDir(), Names: []string{"localhost"}})
	pool, err := id.Pool()
	if err != nil {
		t.Fatal(err)
	}
	handshake := func(client *tls.Config) (tls.ConnectionState, error) {
		t.Helper()
		a, b := net.Pipe()
		defer a.Close()
		defer b.Close()
		server := make(chan error, 1)
		go func() { server <- tls.Server(a, id.TLSConfig()).Handshake() }()
		conn := tls.Client(b, client)
		if err := conn.Handshake(); err != nil {
			a.Close()
			<-server
			return tls.ConnectionState{}, err
		}
		// The server's last message may wait for a reader.
		go conn.Read(make([]byte, 1))
		return conn.ConnectionState(), <-server
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		var asked *tls.CertificateRequestInfo
		state, err := handshake(&tls.Config{RootCAs: pool, ServerName: "localhost", MinVersion: version, MaxVersion: version,
			GetClientCertificate: func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
				asked = r
				return &tls.Certificate{}, nil
			}})
		if err != nil {
			t.Fatalf("%x: %v", version, err)
		}
		if asked == nil || len(asked.AcceptableCAs) != 0 {
			t.Errorf("%x: client certificate request %+v, want one without authorities", version, asked)
		}
		if len(state.PeerCertificates) != 2 {
			t.Errorf("%x: %d certificates, want the full chain", version, len(state.PeerCertificates))
		}
	}
	if _, err := handshake(&tls.Config{RootCAs: pool, ServerName: "localhost", MinVersion: tls.VersionTLS11, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 is accepted")
	}
	for _, weak := range []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA} {
		if _, err := handshake(&tls.Config{RootCAs: pool, ServerName: "localhost", MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{weak}}); err == nil {
			t.Errorf("suite %s is accepted", tls.CipherSuiteName(weak))
		}
	}
}
