package credential

import (
	"crypto/sha1" //nolint:gosec // a name for a certificate that Azure's tools register, not a signature
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"strings"

	"github.com/gemello/gemello/device"
)

// MatchThumbprint reports whether a certificate (DER) is the one that a self-signed
// device registered: the SHA-1 (40 hex digits) or SHA-256 (64) of its primary or
// secondary thumbprint, compared without case. The chain is not looked at.
func MatchThumbprint(certificate []byte, a *device.Auth) bool {
	if a.Type != device.AuthSelfSigned {
		return false
	}
	s1 := sha1.Sum(certificate) //nolint:gosec // see the import
	s256 := sha256.Sum256(certificate)
	ok := false
	for _, want := range [...]string{a.PrimaryThumbprint, a.SecondaryThumbprint} {
		b, err := hex.DecodeString(strings.ToLower(want))
		if err != nil {
			continue
		}
		switch len(b) {
		case len(s1):
			ok = subtle.ConstantTimeCompare(b, s1[:]) == 1 || ok
		case len(s256):
			ok = subtle.ConstantTimeCompare(b, s256[:]) == 1 || ok
		}
	}
	return ok
}
