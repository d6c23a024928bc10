package credential

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// Length of a key in bytes (azure-iot-wire 1.1); new keys have keyBytes.
const (
	MinKeyBytes = 16
	MaxKeyBytes = 64
	keyBytes    = 32
)

// ErrKey is returned for text that is not a key.
var ErrKey = errors.New("a key is base64 text of 16 to 64 bytes")

const redacted = "[redacted]"

// Key is a symmetric key. The zero value is no key: it signs nothing and nothing
// verifies with it.
type Key struct{ secret []byte }

// ParseKey reads the base64 text of a key. The error is ErrKey and never holds
// the text.
func ParseKey(text string) (Key, error) {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(b) < MinKeyBytes || len(b) > MaxKeyBytes {
		return Key{}, ErrKey
	}
	return Key{b}, nil
}

// NewKey makes a key of 256 random bits.
func NewKey(random io.Reader) (Key, error) {
	b := make([]byte, keyBytes)
	if _, err := io.ReadFull(random, b); err != nil {
		return Key{}, fmt.Errorf("make a key: %w", err)
	}
	return Key{b}, nil
}

// NewKeys makes a pair of keys.
func NewKeys(random io.Reader) (Keys, error) {
	p, err := NewKey(random)
	if err != nil {
		return Keys{}, err
	}
	s, err := NewKey(random)
	return Keys{p, s}, err
}

// IsZero reports whether there is no key.
func (k Key) IsZero() bool { return len(k.secret) == 0 }

// Reveal returns the base64 text of the key, "" if there is none.
func (k Key) Reveal() string { return base64.StdEncoding.EncodeToString(k.secret) }

// String, Format, LogValue and MarshalText show that there is a key and
// no more.
func (k Key) String() string {
	if k.IsZero() {
		return ""
	}
	return redacted
}

// Format writes String for every verb.
func (k Key) Format(f fmt.State, _ rune) { io.WriteString(f, k.String()) }

// LogValue is String.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalText is String.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// mac is the HMAC-SHA256 of text.
func (k Key) mac(text ...string) []byte {
	h := hmac.New(sha256.New, k.secret)
	for _, t := range text {
		io.WriteString(h, t)
	}
	return h.Sum(nil)
}

// Keys are the two keys of a device or policy; either one verifies, so that they
// can be changed one after the other.
type Keys struct{ Primary, Secondary Key }
