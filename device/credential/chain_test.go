package credential

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"testing"
	"time"
)

var chainNow = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

type testCA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// issue makes a certificate that this CA signed, or a self-signed one without a CA.
func (ca *testCA) issue(t *testing.T, name string, change func(*x509.Certificate)) *testCA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, BasicConstraintsValid: true,
		NotBefore: chainNow.Add(-time.Hour), NotAfter: chainNow.Add(time.Hour),
	}
	if change != nil {
		change(template)
	}
	parent, signer := template, key
	if ca != nil {
		parent, signer = ca.cert, ca.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &testCA{cert, key}
}

func asCA(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign }

func TestVerifyChain(t *testing.T) {
	var none *testCA
	root := none.issue(t, "root", asCA)
	middle := root.issue(t, "middle", asCA)
	lower := middle.issue(t, "lower", asCA)
	stranger := none.issue(t, "root", asCA) // the same name, another key
	leaf := root.issue(t, "d1", nil)
	deep := lower.issue(t, "d1/m1", nil)
	plain := root.issue(t, "not a CA", nil)
	roots := x509.NewCertPool()
	roots.AddCert(root.cert)
	chain := func(list ...*testCA) (out []*x509.Certificate) {
		for _, c := range list {
			out = append(out, c.cert)
		}
		return out
	}
	for _, tt := range []struct {
		rule  string
		chain []*x509.Certificate
		roots *x509.CertPool
		name  string
		ok    bool
	}{
		{"a leaf of the root", chain(leaf), roots, "d1", true},
		{"the root may come along", chain(leaf, root), roots, "d1", true},
		{"intermediates lead to the root", chain(deep, lower, middle), roots, "d1/m1", true},
		{"intermediates in another order", chain(deep, middle, lower), roots, "d1/m1", true},
		{"an intermediate is missing", chain(deep, middle), roots, "d1/m1", false},
		{"another common name", chain(leaf), roots, "d2", false},
		{"the name counts with case", chain(leaf), roots, "D1", false},
		{"no CA is trusted", chain(leaf), nil, "d1", false},
		{"no certificate", nil, roots, "d1", false},
		{"a CA of the same name", chain(stranger.issue(t, "d1", nil), stranger), roots, "d1", false},
		{"self-signed", chain(none.issue(t, "d1", nil)), roots, "d1", false},
		{"signed by a leaf", chain(plain.issue(t, "d1", nil), plain), roots, "d1", false},
		{"a CA's own certificate", chain(middle), roots, "middle", false},
		{"expired", chain(root.issue(t, "d1", func(c *x509.Certificate) { c.NotAfter = chainNow.Add(-time.Minute) })), roots, "d1", false},
		{"not valid yet", chain(root.issue(t, "d1", func(c *x509.Certificate) { c.NotBefore = chainNow.Add(time.Minute) })), roots, "d1", false},
		{"made for servers only", chain(root.issue(t, "d1", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })), roots, "d1", false},
		{"made for clients", chain(root.issue(t, "d1", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })), roots, "d1", true},
		{"too many certificates", append(chain(leaf), make([]*x509.Certificate, maxChain)...), roots, "d1", false},
	} {
		until, err := VerifyChain(tt.chain, tt.roots, tt.name, chainNow)
		if tt.ok != (err == nil) || err != nil && !errors.Is(err, ErrCertificate) {
			t.Errorf("%s: %v", tt.rule, err)
		}
		if tt.ok && !until.Equal(tt.chain[0].NotAfter) {
			t.Errorf("%s: until %s", tt.rule, until)
		}
	}
}
