package pki

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// Options say where the server certificate comes from.
type Options struct {
	// Dir is where the hub's own CA lives; made with mode 0700. It is not used
	// when Cert is set.
	Dir string
	// Names are host names and IP addresses, at least one.
	Names []string
	// Cert and Key are PEM files of the user's; both empty: the hub's own CA.
	// CA is the PEM file of what signed them; empty: publicly trusted.
	Cert, Key, CA string
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Logger receives renewals and replacements; nil: discarded.
	Logger *slog.Logger
}

// Identity is a server certificate in use. Its methods may be called from any
// goroutine.
type Identity struct {
	o       Options
	current atomic.Pointer[tls.Certificate]

	mu    sync.Mutex // one Refresh at a time; guards what follows; held during file reads
	ca    *authority // nil: the user's certificate
	stamp [2]fileStamp
}

// fileStamp tells a changed file from the one that was read.
type fileStamp struct {
	modified time.Time
	size     int64
}

// Open loads the certificate, or makes it. Errors are one line and name the
// file.
func Open(o Options) (*Identity, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if len(o.Names) == 0 {
		return nil, errors.New("server certificate: no names")
	}
	id := &Identity{o: o}
	if o.Cert != "" {
		if err := id.loadUsers(); err != nil {
			return nil, err
		}
		return id, nil
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("server certificate: %w", err)
	}
	ca, replaced, err := openAuthority(o.Dir, o.Names, o.Now())
	if err != nil {
		return nil, err
	}
	id.ca = ca
	if replaced != "" {
		o.Logger.Warn("a new CA was made; clients must trust it in place of the old one",
			"ca", id.CAFile(), "old", replaced, "names", o.Names)
	}
	return id, id.loadOwn()
}

// loadOwn takes the leaf on disk if it will do, else has a new one issued.
func (id *Identity) loadOwn() error {
	pair, err := tls.LoadX509KeyPair(id.file(serverFile), id.file(serverKeyFile))
	if err == nil && id.ca.issued(pair.Leaf, id.o.Names, id.o.Now()) {
		id.current.Store(&pair)
		return nil
	}
	return id.renew()
}

// renew issues, stores and shows a new leaf.
func (id *Identity) renew() error {
	leaf, key, err := id.ca.issue(id.o.Names, id.o.Now())
	if err != nil {
		return err
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return err
	}
	// A crash between the two leaves a pair that doesn't match: loadOwn then
	// has a new one issued.
	if err := writeFile(id.file(serverKeyFile), keyPEM, 0o600); err != nil {
		return err
	}
	if err := writeFile(id.file(serverFile), encodeCertificates(leaf, id.ca.cert), 0o644); err != nil {
		return err
	}
	id.current.Store(&tls.Certificate{Certificate: [][]byte{leaf.Raw, id.ca.cert.Raw}, PrivateKey: key, Leaf: leaf})
	id.o.Logger.Info("server certificate issued", "names", id.o.Names, "until", leaf.NotAfter.UTC())
	return nil
}

// loadUsers reads the user's certificate; the one in use stays on an error.
func (id *Identity) loadUsers() error {
	stamp, err := id.stampFiles()
	if err != nil {
		return err
	}
	id.stamp = stamp // also when it turns out bad: the same error isn't told twice
	pair, err := tls.LoadX509KeyPair(id.o.Cert, id.o.Key)
	if err != nil {
		return fmt.Errorf("server certificate %s with key %s: %w", id.o.Cert, id.o.Key, err)
	}
	if now := id.o.Now(); now.After(pair.Leaf.NotAfter) {
		return fmt.Errorf("server certificate %s: expired on %s", id.o.Cert, pair.Leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	for _, n := range id.o.Names {
		if pair.Leaf.VerifyHostname(n) != nil {
			id.o.Logger.Warn("the server certificate does not carry a host name of the hub", "cert", id.o.Cert, "name", n)
		}
	}
	id.current.Store(&pair)
	return nil
}

func (id *Identity) stampFiles() (stamp [2]fileStamp, err error) {
	for i, name := range []string{id.o.Cert, id.o.Key} {
		st, err := os.Stat(name)
		if err != nil {
			return stamp, fmt.Errorf("server certificate: %w", err)
		}
		stamp[i] = fileStamp{st.ModTime(), st.Size()}
	}
	return stamp, nil
}

// Refresh renews the hub's own leaf when two thirds of its life are over, or
// reloads the user's files when they have changed. Connections that are open
// stay; new ones see the new certificate.
func (id *Identity) Refresh() (changed bool, err error) {
	id.mu.Lock()
	defer id.mu.Unlock()
	if id.ca != nil {
		if id.o.Now().Before(renewAt(id.current.Load().Leaf)) {
			return false, nil
		}
		return true, id.renew()
	}
	stamp, err := id.stampFiles()
	if err != nil || stamp == id.stamp {
		return false, err
	}
	if err := id.loadUsers(); err != nil {
		return false, err
	}
	id.o.Logger.Info("server certificate reloaded", "cert", id.o.Cert, "until", id.NotAfter().UTC())
	return true, nil
}

// Watch calls Refresh at each tick until ctx ends. Errors are logged: the
// certificate in use stays.
func (id *Identity) Watch(ctx context.Context, ticks <-chan time.Time) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks:
			if _, err := id.Refresh(); err != nil {
				id.o.Logger.Error("server certificate not renewed; the one in use stays", "error", err, "until", id.NotAfter().UTC())
			}
		}
	}
}

// NotAfter is when the certificate in use expires.
func (id *Identity) NotAfter() time.Time { return id.current.Load().Leaf.NotAfter }

// CAFile is the PEM file that clients must trust; "" when the certificate is
// publicly trusted.
func (id *Identity) CAFile() string {
	if id.o.Cert != "" {
		return id.o.CA
	}
	return id.file(caFile)
}

func (id *Identity) file(name string) string { return filepath.Join(id.o.Dir, name) }

// TLSConfig is what listeners serve with: TLS 1.2 or 1.3, forward secrecy and
// authenticated encryption only. A client certificate is asked for, not
// required, and the request names no authorities: Java devices show one only
// then (azure-iot-wire 14). Session ticket keys rotate as Go rotates them.
func (id *Identity) TLSConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
			tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		ClientAuth: tls.RequestClientCert,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return id.current.Load(), nil
		},
	}
}

// Pool returns what a client of the certificate in use must trust; nil means
// the system's roots.
func (id *Identity) Pool() (*x509.CertPool, error) {
	name := id.CAFile()
	if name == "" {
		return nil, nil
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("read CA %s: no PEM certificate", name)
	}
	return pool, nil
}
