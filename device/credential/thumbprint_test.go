package credential

import (
	"crypto/sha1" //nolint:gosec // see thumbprint.go
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/gemello/gemello/device"
)

func TestMatchThumbprint(t *testing.T) {
	der := []byte("a certificate")
	s1, s256 := fmt.Sprintf("%x", sha1.Sum(der)), fmt.Sprintf("%X", sha256.Sum256(der))
	other := fmt.Sprintf("%x", sha256.Sum256([]byte("another")))
	for name, tt := range map[string]struct {
		auth device.Auth
		want bool
	}{
		"SHA-1":             {device.Auth{Type: device.AuthSelfSigned, PrimaryThumbprint: s1}, true},
		"SHA-256 secondary": {device.Auth{Type: device.AuthSelfSigned, PrimaryThumbprint: other, SecondaryThumbprint: s256}, true},
		"another":           {device.Auth{Type: device.AuthSelfSigned, PrimaryThumbprint: other}, false},
		"none":              {device.Auth{Type: device.AuthSelfSigned}, false},
		"not hex":           {device.Auth{Type: device.AuthSelfSigned, PrimaryThumbprint: "zz"}, false},
		"type sas":          {device.Auth{PrimaryThumbprint: s1}, false},
		"type CA":           {device.Auth{Type: device.AuthCA, PrimaryThumbprint: s1}, false},
	} {
		if got := MatchThumbprint(der, &tt.auth); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
