package credential

import (
	"bytes"
	"crypto/rand"
	"errors"
	"testing"

	"github.com/gemello/gemello/device"
)

func sealer(t *testing.T, fill byte) *Sealer {
	t.Helper()
	s, err := NewSealer(bytes.Repeat([]byte{fill}, HubKeyBytes), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSealedBytesOpenOnlyInTheirPlace(t *testing.T) {
	s := sealer(t, 1)
	sealed, err := s.Seal([]byte("secret"), "devices/d1/primary")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, []byte("secret")) {
		t.Error("not encrypted")
	}
	if got, err := s.Open(sealed, "devices/d1/primary"); err != nil || string(got) != "secret" {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := s.Open(sealed, "devices/d1/secondary"); !errors.Is(err, ErrSealed) {
		t.Errorf("moved: %v", err)
	}
	if _, err := sealer(t, 2).Open(sealed, "devices/d1/primary"); !errors.Is(err, ErrOtherHubKey) {
		t.Errorf("another hub key: %v", err)
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if _, err := s.Open(bad, "devices/d1/primary"); err == nil {
			t.Errorf("opened with byte %d changed", i)
		}
		if _, err := s.Open(sealed[:i], "devices/d1/primary"); err == nil {
			t.Errorf("opened when cut at %d", i)
		}
	}
	again, err := s.Seal([]byte("secret"), "devices/d1/primary")
	if err != nil || bytes.Equal(again, sealed) {
		t.Errorf("the same nonce twice: %v", err)
	}
}

func TestHubKeyHas32Bytes(t *testing.T) {
	for _, n := range []int{0, 16, 31, 33} {
		if _, err := NewSealer(make([]byte, n), rand.Reader); !errors.Is(err, ErrHubKey) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func TestDeviceKeysTravelSealed(t *testing.T) {
	s := sealer(t, 1)
	id := device.Identity{DeviceID: "d1"}
	keys := Keys{key(t, first), Key{}}
	if err := s.SealDevice(&id, keys); err != nil {
		t.Fatal(err)
	}
	if id.Auth.Secondary != nil || bytes.Contains(id.Auth.Primary, []byte(first)) {
		t.Errorf("%+v", id.Auth)
	}
	got, err := s.OpenDevice(&id)
	if err != nil || got.Primary.Reveal() != keys.Primary.Reveal() || !got.Secondary.IsZero() {
		t.Errorf("%v", err)
	}
	id.DeviceID = "d2"
	if _, err := s.OpenDevice(&id); !errors.Is(err, ErrSealed) {
		t.Errorf("keys of one device opened as another's: %v", err)
	}
}
