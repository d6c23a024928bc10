package credential

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/gemello/gemello/device"
)

// HubKeyBytes is the length of the hub key.
const HubKeyBytes = 32

// Errors of sealing.
var (
	ErrHubKey = errors.New("the hub key has 32 bytes")
	// ErrSealed is returned for bytes that don't open.
	ErrSealed = errors.New("sealed secret does not open")
	// ErrOtherHubKey says that the bytes were sealed under another hub key.
	ErrOtherHubKey = errors.New("secret was sealed under another hub key; give this node the hub.key of the nodes that wrote it")
)

// Sealed bytes (docs/format/sealed.md): version, key id, nonce, ciphertext with
// tag.
const (
	sealFormat = 1
	keyIDBytes = 4
	nonceBytes = 12
	sealHeader = 1 + keyIDBytes + nonceBytes
)

// Sealer encrypts secrets for topics and stores with AES-256-GCM under the hub
// key. It may be used from many goroutines if its source of randomness may.
type Sealer struct {
	aead   cipher.AEAD
	keyID  [keyIDBytes]byte
	random io.Reader
}

// NewSealer returns a sealer for a hub key of 32 bytes; random makes nonces and
// must be cryptographically strong.
func NewSealer(hubKey []byte, random io.Reader) (*Sealer, error) {
	if len(hubKey) != HubKeyBytes {
		return nil, fmt.Errorf("%w, this one has %d", ErrHubKey, len(hubKey))
	}
	block, err := aes.NewCipher(hubKey)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	s := &Sealer{aead: aead, random: random}
	id := sha256.Sum256(append([]byte("gemello hub key id\n"), hubKey...))
	copy(s.keyID[:], id[:])
	return s, nil
}

// Seal encrypts a secret. Context is not stored and must be given again to open
// it: it binds the bytes to their place, so that they can't be moved to another.
func (s *Sealer) Seal(secret []byte, context string) ([]byte, error) {
	out := make([]byte, sealHeader, sealHeader+len(secret)+s.aead.Overhead())
	out[0] = sealFormat
	copy(out[1:], s.keyID[:])
	nonce := out[1+keyIDBytes : sealHeader]
	if _, err := io.ReadFull(s.random, nonce); err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return s.aead.Seal(out, nonce, secret, []byte(context)), nil
}

// Open decrypts what Seal returned. The error wraps ErrSealed or ErrOtherHubKey.
func (s *Sealer) Open(sealed []byte, context string) ([]byte, error) {
	if len(sealed) < sealHeader || sealed[0] != sealFormat {
		return nil, fmt.Errorf("%s: %w", context, ErrSealed)
	}
	if [keyIDBytes]byte(sealed[1:1+keyIDBytes]) != s.keyID {
		return nil, fmt.Errorf("%s: %w", context, ErrOtherHubKey)
	}
	secret, err := s.aead.Open(nil, sealed[1+keyIDBytes:sealHeader], sealed[sealHeader:], []byte(context))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", context, ErrSealed)
	}
	return secret, nil
}

// SealKey seals one of a pair of keys; a missing key gives nil. scope names the
// owner, slot is Primary or Secondary.
func (s *Sealer) SealKey(k Key, scope, slot string) ([]byte, error) {
	if k.IsZero() {
		return nil, nil
	}
	return s.Seal(k.secret, scope+"/"+slot)
}

// OpenKey opens what SealKey returned.
func (s *Sealer) OpenKey(sealed []byte, scope, slot string) (Key, error) {
	if len(sealed) == 0 {
		return Key{}, nil
	}
	b, err := s.Open(sealed, scope+"/"+slot)
	if err != nil {
		return Key{}, err
	}
	return Key{b}, nil
}

// SealDevice puts the keys of a device or module, sealed, into its identity.
func (s *Sealer) SealDevice(id *device.Identity, k Keys) error {
	var err error
	if id.Auth.Primary, err = s.SealKey(k.Primary, keyScope(id), Primary); err != nil {
		return err
	}
	id.Auth.Secondary, err = s.SealKey(k.Secondary, keyScope(id), Secondary)
	return err
}

// OpenDevice returns the keys of a device or module.
func (s *Sealer) OpenDevice(id *device.Identity) (Keys, error) {
	p, err := s.OpenKey(id.Auth.Primary, keyScope(id), Primary)
	if err != nil {
		return Keys{}, err
	}
	k, err := s.OpenKey(id.Auth.Secondary, keyScope(id), Secondary)
	return Keys{p, k}, err
}

func keyScope(id *device.Identity) string {
	if id.ModuleID == "" {
		return "devices/" + id.DeviceID
	}
	return "devices/" + id.DeviceID + "/modules/" + id.ModuleID
}
