package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Files of the directory.
const (
	caFile        = "ca.pem"
	caKeyFile     = "ca.key"
	serverFile    = "server.pem"
	serverKeyFile = "server.key"
)

const (
	// caLifetime outlives devices that are told of the CA once.
	caLifetime = 10 * 365 * 24 * time.Hour
	// caRenewBefore is how long before its end a CA is replaced.
	caRenewBefore = 30 * 24 * time.Hour
	// leafLifetime: browsers and Apple's clients refuse server certificates of
	// more than 398 days; the hub promises 397, both ends included.
	leafLifetime = 397*24*time.Hour - time.Second
	// backdate lets clients whose clocks are a little behind connect.
	backdate = 5 * time.Minute
)

// authority is the hub's own CA.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// openAuthority loads the CA of dir, or makes one when there is none, when its
// name constraints exclude one of the names, or when it is about to expire.
// replaced is the file that an earlier CA was moved to, "" when it was kept.
func openAuthority(dir string, names []string, now time.Time) (a *authority, replaced string, err error) {
	a, err = loadAuthority(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, "", err
	case a.permits(names) && now.Before(a.cert.NotAfter.Add(-caRenewBefore)):
		return a, "", nil
	default:
		// The certificate goes first: a crash in between leaves a key without
		// one, which is replaced, never a pair that doesn't match.
		replaced = filepath.Join(dir, fmt.Sprintf("ca-%x.pem", a.cert.SerialNumber.Bytes()[:4]))
		if err := os.Rename(filepath.Join(dir, caFile), replaced); err != nil {
			return nil, "", fmt.Errorf("replace CA: %w", err)
		}
	}
	a, err = makeAuthority(names, now)
	if err != nil {
		return nil, "", err
	}
	return a, replaced, a.save(dir)
}

func loadAuthority(dir string) (*authority, error) {
	certPEM, err := os.ReadFile(filepath.Join(dir, caFile))
	if err != nil {
		return nil, fmt.Errorf("read CA: %w", err)
	}
	keyPEM, err := os.ReadFile(filepath.Join(dir, caKeyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is there but %s is missing; restore it, or remove %[1]s to have a new CA made", filepath.Join(dir, caFile), caKeyFile)
	}
	if err != nil {
		return nil, fmt.Errorf("read CA key: %w", err)
	}
	cert, err := parseCertificate(certPEM)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, caFile), err)
	}
	key, err := parseKey(keyPEM)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, caKeyFile), err)
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, fmt.Errorf("%s and %s do not belong together; restore them, or remove both to have a new CA made", filepath.Join(dir, caFile), caKeyFile)
	}
	return &authority{cert: cert, key: key}, nil
}

func makeAuthority(names []string, now time.Time) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make CA key: %w", err)
	}
	serial := newSerial()
	dns, ips := constraints(names)
	template := &x509.Certificate{
		SerialNumber: serial,
		// The serial keeps apart two hubs' CAs in one trust store.
		Subject:               pkix.Name{CommonName: fmt.Sprintf("gemello CA %x", serial.Bytes()[:4]), Organization: []string{"gemello"}},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(caLifetime),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		// A device or a laptop that trusts this CA trusts it for the hub alone.
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         dns,
		PermittedIPRanges:           ips,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("make CA: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make CA: %w", err)
	}
	return &authority{cert: cert, key: key}, nil
}

// save writes the key before the certificate; see openAuthority.
func (a *authority) save(dir string) error {
	keyPEM, err := encodeKey(a.key)
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(dir, caKeyFile), keyPEM, 0o600); err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, caFile), encodeCertificates(a.cert), 0o644)
}

// constraints turns names into permitted subtrees. Loopback is always among
// them, which harms nobody and keeps the CA when a test machine's names change.
func constraints(names []string) (dns []string, ips []*net.IPNet) {
	dns = []string{"localhost"}
	ips = []*net.IPNet{
		{IP: net.IPv4(127, 0, 0, 0).To4(), Mask: net.CIDRMask(8, 32)},
		{IP: net.IPv6loopback, Mask: net.CIDRMask(128, 128)},
	}
	for _, n := range names {
		if ip, err := netip.ParseAddr(n); err != nil {
			if !slices.ContainsFunc(dns, func(d string) bool { return within(n, d) }) {
				dns = append(dns, strings.ToLower(n))
			}
		} else if ip = ip.Unmap(); !ip.IsLoopback() {
			ips = append(ips, &net.IPNet{IP: ip.AsSlice(), Mask: net.CIDRMask(ip.BitLen(), ip.BitLen())})
		}
	}
	return dns, ips
}

// permits reports whether the CA may sign for all names.
func (a *authority) permits(names []string) bool {
	for _, n := range names {
		ok := false
		if ip := net.ParseIP(n); ip != nil {
			ok = slices.ContainsFunc(a.cert.PermittedIPRanges, func(r *net.IPNet) bool { return r.Contains(ip) })
		} else {
			ok = slices.ContainsFunc(a.cert.PermittedDNSDomains, func(d string) bool { return within(n, d) })
		}
		if !ok {
			return false
		}
	}
	return true
}

// within reports whether a DNS name is domain or below it.
func within(name, domain string) bool {
	name, domain = strings.ToLower(name), strings.ToLower(domain)
	return name == domain || strings.HasSuffix(name, "."+domain)
}

// issue makes a server certificate for the names.
func (a *authority) issue(names []string, now time.Time) (leaf *x509.Certificate, key *ecdsa.PrivateKey, err error) {
	if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, nil, fmt.Errorf("make server key: %w", err)
	}
	notBefore := now.Add(-backdate)
	notAfter := notBefore.Add(leafLifetime)
	if notAfter.After(a.cert.NotAfter) {
		notAfter = a.cert.NotAfter
	}
	template := &x509.Certificate{
		SerialNumber: newSerial(),
		Subject:      pkix.Name{CommonName: commonName(names), Organization: []string{"gemello"}},
		NotBefore:    notBefore,
		NotAfter:     notAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, strings.ToLower(n))
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return nil, nil, fmt.Errorf("sign server certificate: %w", err)
	}
	leaf, err = x509.ParseCertificate(der)
	return leaf, key, err
}

// commonName is for people; the names that count are the alternative ones. It is
// no address: without a DNS name beside it OpenSSL takes "127.0.0.1" for one and
// finds it outside the CA's constraints. It has room for 64 bytes.
func commonName(names []string) string {
	for _, n := range names {
		if net.ParseIP(n) == nil && len(n) <= 64 {
			return n
		}
	}
	return "gemello hub"
}

// issued reports whether leaf is this CA's, carries exactly the names and needs
// no renewal yet.
func (a *authority) issued(leaf *x509.Certificate, names []string, now time.Time) bool {
	var have, want []string
	have = append(have, leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		have = append(have, ip.String())
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			n = ip.String()
		}
		want = append(want, strings.ToLower(n))
	}
	slices.Sort(have)
	slices.Sort(want)
	return slices.Equal(have, want) && now.Before(renewAt(leaf)) && !now.Before(leaf.NotBefore) && leaf.CheckSignatureFrom(a.cert) == nil
}

// renewAt is when two thirds of the leaf's life are over.
func renewAt(leaf *x509.Certificate) time.Time {
	return leaf.NotAfter.Add(-leaf.NotAfter.Sub(leaf.NotBefore) / 3)
}

// newSerial is 127 random bits with the first set, so that it is never short.
func newSerial() *big.Int {
	var b [16]byte
	rand.Read(b[:])
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b[:])
}

func parseCertificate(b []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(b)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("no PEM certificate")
	}
	return x509.ParseCertificate(block.Bytes)
}

func parseKey(b []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, errors.New("no PEM key")
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	key, ok := k.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("a key of type %T, not ECDSA", k)
	}
	return key, nil
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func encodeCertificates(certs ...*x509.Certificate) []byte {
	var b []byte
	for _, c := range certs {
		b = append(b, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return b
}

// writeFile leaves the old file or the new one, never a part.
func writeFile(name string, b []byte, mode fs.FileMode) error {
	tmp, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(b)
	if err == nil {
		err = tmp.Chmod(mode)
	}
	if err == nil {
		err = tmp.Sync()
	}
	if e := tmp.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(tmp.Name(), name)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
