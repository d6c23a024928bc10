package credential

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// maxChain is how many certificates a client may show: more only cost work.
const maxChain = 10

// ErrCertificate says that a certificate does not prove the name it was shown for.
var ErrCertificate = errors.New("certificate does not prove the name")

// VerifyChain checks that a client's certificate, the first of the chain, has
// name as its common name and leads over the rest of the chain, in any order, to
// one of the roots (azure-iot-wire 1.4). until is when the certificate ends. The
// error wraps ErrCertificate.
func VerifyChain(chain []*x509.Certificate, roots *x509.CertPool, name string, now time.Time) (until time.Time, err error) {
	switch {
	case len(chain) == 0 || len(chain) > maxChain:
		return until, fmt.Errorf("%w: a chain of %d certificates, allowed are 1 to %d", ErrCertificate, len(chain), maxChain)
	case roots == nil:
		return until, fmt.Errorf("%w: the hub trusts no CA for devices; name one with tls.device_ca", ErrCertificate)
	case chain[0].Subject.CommonName != name:
		return until, fmt.Errorf("%w: the common name is %.140q, not %q", ErrCertificate, chain[0].Subject.CommonName, name)
	case chain[0].IsCA:
		return until, fmt.Errorf("%w: it is that of a CA", ErrCertificate)
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err = chain[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return until, fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	return chain[0].NotAfter, nil
}
