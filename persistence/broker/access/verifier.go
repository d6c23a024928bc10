package access

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
)

// The mechanisms, strongest first as clients that choose take the first.
const (
	ScramSHA512 = "SCRAM-SHA-512"
	ScramSHA256 = "SCRAM-SHA-256"
)

// Mechanisms are all that a server offers.
func Mechanisms() []string { return []string{ScramSHA512, ScramSHA256} }

// MinIterations is the fewest rounds that a verifier may be made with: RFC 7677
// section 4 asks for as many, and clients refuse fewer.
const MinIterations = 4096

// MaxIterations bounds what a login costs a client; Kafka's is the same.
const MaxIterations = 16384

// ErrMechanism is of a mechanism that is not offered.
var ErrMechanism = errors.New("mechanism is not offered; use SCRAM-SHA-512 or SCRAM-SHA-256")

// Verifier lets a server check a password without knowing it: StoredKey is
// H(ClientKey), ServerKey proves to the client that the server knows it too
// (RFC 5802 section 3).
type Verifier struct {
	Salt                 []byte
	Iterations           int
	StoredKey, ServerKey []byte
}

// String keeps the keys out of logs.
func (v Verifier) String() string { return fmt.Sprintf("verifier of %d iterations", v.Iterations) }

// GoString keeps the keys out of %#v as well.
func (v Verifier) GoString() string { return v.String() }

func hashOf(mechanism string) (func() hash.Hash, error) {
	switch mechanism {
	case ScramSHA256:
		return sha256.New, nil
	case ScramSHA512:
		return sha512.New, nil
	}
	return nil, fmt.Errorf("%q: %w", mechanism, ErrMechanism)
}

// NewVerifier salts and hashes a password. As in Apache Kafka the password is
// taken as its UTF-8 bytes, without SASLprep: clients do the same.
func NewVerifier(mechanism, password string, salt []byte, iterations int) (Verifier, error) {
	h, err := hashOf(mechanism)
	if err != nil {
		return Verifier{}, err
	}
	if iterations < MinIterations || iterations > MaxIterations {
		return Verifier{}, fmt.Errorf("%d iterations: allowed: %d to %d", iterations, MinIterations, MaxIterations)
	}
	if len(salt) == 0 {
		return Verifier{}, errors.New("salt is empty")
	}
	salted, err := pbkdf2.Key(h, password, salt, iterations, h().Size())
	if err != nil {
		return Verifier{}, err
	}
	return Verifier{
		Salt: salt, Iterations: iterations,
		StoredKey: digest(h, mac(h, salted, "Client Key")),
		ServerKey: mac(h, salted, "Server Key"),
	}, nil
}

// check reports whether the proof of a client was made with the password: it
// is ClientKey XOR HMAC(StoredKey, auth).
func (v Verifier) check(h func() hash.Hash, auth string, proof []byte) bool {
	signature := mac(h, v.StoredKey, auth)
	if len(proof) != len(signature) {
		return false
	}
	for i := range signature {
		signature[i] ^= proof[i]
	}
	return hmac.Equal(digest(h, signature), v.StoredKey)
}

func mac(h func() hash.Hash, key []byte, text string) []byte {
	m := hmac.New(h, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

func digest(h func() hash.Hash, b []byte) []byte {
	d := h()
	d.Write(b)
	return d.Sum(nil)
}
