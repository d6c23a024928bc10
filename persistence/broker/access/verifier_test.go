package access

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
)

func TestVerifierIsSaltedAndSlowEnough(t *testing.T) {
	a, err := NewVerifier(ScramSHA256, "secret", []byte("salt a"), MinIterations)
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewVerifier(ScramSHA256, "secret", []byte("salt b"), MinIterations)
	if err != nil {
		t.Fatal(err)
	}
	if string(a.StoredKey) == string(b.StoredKey) {
		t.Error("two salts gave one key")
	}
	for name, c := range map[string]struct {
		mechanism, salt string
		iterations      int
	}{
		"too few iterations":  {ScramSHA256, "salt", MinIterations - 1},
		"too many iterations": {ScramSHA256, "salt", MaxIterations + 1},
		"no salt":             {ScramSHA256, "", MinIterations},
		"PLAIN":               {"PLAIN", "salt", MinIterations},
	} {
		if _, err := NewVerifier(c.mechanism, "secret", []byte(c.salt), c.iterations); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

// Test vector of RFC 7677 section 3.
func TestVerifierRFC7677(t *testing.T) {
	salt, err := base64.StdEncoding.DecodeString("W22ZaJ0SNY7soEsUEjb6gQ==")
	if err != nil {
		t.Fatal(err)
	}
	v, err := NewVerifier(ScramSHA256, "pencil", salt, 4096)
	if err != nil {
		t.Fatal(err)
	}
	const auth = "n=user,r=rOprNGfwEbeRWgbNEkqO," +
		"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096," +
		"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
	proof, err := base64.StdEncoding.DecodeString("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
	if err != nil {
		t.Fatal(err)
	}
	h, _ := hashOf(ScramSHA256)
	if !v.check(h, auth, proof) {
		t.Error("the RFC's proof was refused")
	}
	proof[0] ^= 1
	if v.check(h, auth, proof) {
		t.Error("another proof was taken")
	}
	if got := base64.StdEncoding.EncodeToString(mac(h, v.ServerKey, auth)); got != "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=" {
		t.Errorf("server signature %s", got)
	}
}

func TestVerifierAndLoginKeepSecretsOutOfLogs(t *testing.T) {
	v, err := NewVerifier(ScramSHA256, "secret", []byte("salt"), MinIterations)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprintf("%v %+v %#v", v, v, v), fmt.Sprintf("%v %+v %#v", Login{"ana", "secret", true}, Login{"ana", "secret", true}, Login{"ana", "secret", true})} {
		if strings.Contains(text, "secret") || strings.Contains(text, "Key") {
			t.Errorf("prints %s", text)
		}
	}
}
