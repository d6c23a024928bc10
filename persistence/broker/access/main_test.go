package access

import (
	"crypto/pbkdf2"
	"encoding/base64"
	"strconv"
	"strings"
	"testing"
)

// entropy is a reader of the bytes 1, 2, 3 and so on, so that a test can be
// repeated.
type entropy struct{ next byte }

func (e *entropy) Read(p []byte) (int, error) {
	for i := range p {
		e.next++
		p[i] = e.next
	}
	return len(p), nil
}

// client is the other side of an exchange.
type client struct {
	mechanism, header, name, password, nonce string
}

func (c client) first() string {
	return c.header + "n=" + strings.NewReplacer("=", "=3D", ",", "=2C").Replace(c.name) + ",r=" + c.nonce
}

// final answers server-first; signature is what server-final has to hold.
func (c client) final(t *testing.T, serverFirst string) (message, signature string) {
	t.Helper()
	return c.finalAfter(t, serverFirst, "")
}

// finalWith is final with something before the nonce.
func (c client) finalWith(t *testing.T, serverFirst, before string) string {
	t.Helper()
	message, _ := c.finalAfter(t, serverFirst, before)
	return message
}

func (c client) finalAfter(t *testing.T, serverFirst, before string) (message, signature string) {
	t.Helper()
	h, err := hashOf(c.mechanism)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(serverFirst, ",")
	if len(parts) != 3 {
		t.Fatalf("server-first %q", serverFirst)
	}
	salt, err := base64.StdEncoding.DecodeString(parts[1][2:])
	if err != nil {
		t.Fatal(err)
	}
	iterations, err := strconv.Atoi(parts[2][2:])
	if err != nil {
		t.Fatal(err)
	}
	salted, err := pbkdf2.Key(h, c.password, salt, iterations, h().Size())
	if err != nil {
		t.Fatal(err)
	}
	key := mac(h, salted, "Client Key")
	unproven := "c=" + base64.StdEncoding.EncodeToString([]byte(c.header)) + ",r=" + before + parts[0][2:]
	auth := strings.TrimPrefix(c.first(), c.header) + "," + serverFirst + "," + unproven
	proof := mac(h, digest(h, key), auth)
	for i := range proof {
		proof[i] ^= key[i]
	}
	return unproven + ",p=" + base64.StdEncoding.EncodeToString(proof),
		"v=" + base64.StdEncoding.EncodeToString(mac(h, mac(h, salted, "Server Key"), auth))
}

func users(t *testing.T, logins ...Login) *Users {
	t.Helper()
	u, err := NewUsers(logins, 0, &entropy{})
	if err != nil {
		t.Fatal(err)
	}
	return u
}
