package credential

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestKeysOfAllowedLength(t *testing.T) {
	for n, ok := range map[int]bool{0: false, 15: false, 16: true, 32: true, 64: true, 65: false} {
		text := base64.StdEncoding.EncodeToString(make([]byte, n))
		k, err := ParseKey(text)
		if (err == nil) != ok || err != nil && !errors.Is(err, ErrKey) {
			t.Errorf("%d bytes: %v", n, err)
		}
		if ok && k.Reveal() != text {
			t.Errorf("%d bytes came back as %s", n, k.Reveal())
		}
	}
	if _, err := ParseKey("c2VjcmV0 not base64"); err == nil || strings.Contains(err.Error(), "c2VjcmV0") {
		t.Errorf("error shows the text: %v", err)
	}
}

// TestSecretsDontShow formats secrets in every way that is likely to happen by
// accident.
func TestSecretsDontShow(t *testing.T) {
	k := key(t, "canary-canary-canary")
	var logged bytes.Buffer
	sealer, err := NewSealer(make([]byte, HubKeyBytes), strings.NewReader(strings.Repeat("n", 1000)))
	if err != nil {
		t.Fatal(err)
	}
	cs := ConnectionString{HostName: "h", KeyName: "p", Key: k, Signature: "SharedAccessSignature sr=canary"}
	token, err := ParseToken(Sign("h", noon, k, "p"))
	if err != nil {
		t.Fatal(err)
	}
	policy := Policy{Name: "p", Permissions: AllPermissions, Keys: Keys{k, k}}
	for _, v := range []any{k, &k, Keys{k, k}, policy, &policy, cs, &cs} {
		fmt.Fprintf(&logged, "%v %+v %#v %s %q %x %d\n", v, v, v, v, v, v, v)
		slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "v", v)
		slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "v", v)
		if b, err := json.Marshal(v); err == nil {
			logged.Write(b)
		}
	}
	fmt.Fprintf(&logged, "%v %+v %#v %s", token, token, token, token)
	stored, err := sealer.SealPolicy(policy)
	if err != nil {
		t.Fatal(err)
	}
	logged.Write(stored)
	sig := base64.StdEncoding.EncodeToString(token.mac)
	for _, secret := range []string{
		"canary", k.Reveal(), fmt.Sprintf("%x", k.secret), fmt.Sprintf("%X", k.secret), "99 97 110", sig, fmt.Sprintf("%d", k.secret[:4]),
	} {
		if i := strings.Index(logged.String(), secret); i >= 0 {
			t.Errorf("%q shows in %s", secret, logged.String()[max(0, i-80):i+len(secret)])
		}
	}
	if !strings.Contains(cs.Reveal(), k.Reveal()) {
		t.Error("Reveal hides the key")
	}
}

func TestNewKeysAreRandomAndFail(t *testing.T) {
	ks, err := NewKeys(strings.NewReader(strings.Repeat("a", 32) + strings.Repeat("b", 32)))
	if err != nil || ks.Primary.Reveal() == ks.Secondary.Reveal() {
		t.Errorf("%v", err)
	}
	if _, err := NewKeys(strings.NewReader("short")); err == nil {
		t.Error("keys without randomness")
	}
}
