package ingest

import (
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"
)

// Size limits of a message that a device sends (azure-iot-wire 2.6). MaxBag is
// ours: the bag travels in an MQTT topic, which may have 8 KiB.
const (
	MaxMessage = 256 << 10 // body and properties as MessageSize counts them, in bytes
	MaxBag     = 8 << 10   // the encoded bag, in bytes
)

// Property is one pair of a property bag, decoded. A key without "=" has the
// empty value.
type Property struct {
	Key, Value string
}

// systemName maps the keys of a bag that stand for system properties of a
// message (azure-iot-wire 2.3) to their names.
func systemName(key string) string {
	switch key {
	case "$.mid":
		return "message-id"
	case "$.cid":
		return "correlation-id"
	case "$.uid":
		return "user-id"
	case "$.to":
		return "to"
	case "$.exp":
		return "absolute-expiry-time"
	case "$.ct":
		return "content-type"
	case "$.ce":
		return "content-encoding"
	case "$.ctime":
		return "iothub-creation-time-utc"
	case "$.on":
		return "output-name"
	case "$.sub":
		return "dt-subject"
	case "$.ifid":
		return "iothub-interface-id"
	case "$.schema":
		return "message-schema"
	case "$.cdid":
		return "connection-device-id"
	case "$.cmid":
		return "connection-module-id"
	case "$.diagid":
		return "diagnostic-id"
	case "$.diagctx":
		return "diagnostic-context"
	}
	return ""
}

// SystemName gives the name of the system property that a decoded key stands
// for; ok is false for an application property. Keys that begin with "$." and
// are not in the table are system properties without a known meaning: their
// name is the key itself.
func SystemName(key string) (name string, ok bool) {
	if !strings.HasPrefix(key, "$.") {
		return "", false
	}
	if n := systemName(key); n != "" {
		return n, true
	}
	return key, true
}

// TrimBag removes what clients put around a bag and does not belong to it: a
// leading "?" and one trailing "/".
func TrimBag(s string) string {
	s = strings.TrimPrefix(s, "?")
	return strings.TrimSuffix(s, "/")
}

// CheckBag verifies that s is a bag that ParseBag accepts, without building
// it. The size is what its properties count for in MessageSize.
func CheckBag(s string) (size int, err error) {
	err = eachPair(s, func(key, value string) error {
		k, err := decodedLen(key)
		if err != nil {
			return err
		}
		v, err := decodedLen(value)
		if err != nil {
			return err
		}
		if !isSystem(key) {
			size += k
		}
		size += v
		return nil
	})
	if err != nil {
		return 0, err
	}
	return size, nil
}

// ParseBag decodes a bag: pairs joined by "&", key and value percent-encoded,
// "+" a literal plus. Empty pairs are skipped, repeated keys are kept in order.
// The error is ErrInvalid for a bad escape, an empty key or text that is not
// UTF-8, and ErrTooLarge for a bag over MaxBag.
func ParseBag(s string) ([]Property, error) {
	if s == "" {
		return nil, nil
	}
	props := make([]Property, 0, 1+strings.Count(s, "&"))
	err := eachPair(s, func(key, value string) error {
		k, err := decode(key)
		if err != nil {
			return err
		}
		v, err := decode(value)
		if err != nil {
			return err
		}
		props = append(props, Property{k, v})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return props, nil
}

// AppendBag appends properties to an encoded bag, which may be empty, in the
// canonical encoding: every byte outside A-Z a-z 0-9 - . _ ~ as %XX.
func AppendBag(bag []byte, props ...Property) []byte {
	for _, p := range props {
		if len(bag) > 0 {
			bag = append(bag, '&')
		}
		bag = appendEscaped(bag, p.Key)
		bag = append(bag, '=')
		bag = appendEscaped(bag, p.Value)
	}
	return bag
}

// MessageSize is the size of a message as the limit counts it: the body, the
// values of system properties, names and values of application properties.
func MessageSize(body int, props []Property) int {
	n := body
	for _, p := range props {
		if _, ok := SystemName(p.Key); !ok {
			n += len(p.Key)
		}
		n += len(p.Value)
	}
	return n
}

func eachPair(s string, f func(key, value string) error) error {
	if len(s) > MaxBag {
		return fmt.Errorf("property bag of %d bytes, %d are allowed: %w", len(s), MaxBag, ErrTooLarge)
	}
	for s != "" {
		var pair string
		pair, s, _ = strings.Cut(s, "&")
		if pair == "" {
			continue
		}
		key, value, _ := strings.Cut(pair, "=")
		if key == "" {
			return fmt.Errorf("property bag has a value without a key: %w", ErrInvalid)
		}
		if err := f(key, value); err != nil {
			return err
		}
	}
	return nil
}

// isSystem tells from the encoded key; the "$" and the "." may be escaped.
func isSystem(key string) bool {
	if rest, ok := strings.CutPrefix(key, "$"); ok {
		key = rest
	} else if rest, ok := strings.CutPrefix(key, "%24"); ok {
		key = rest
	} else {
		return false
	}
	return strings.HasPrefix(key, ".") || strings.HasPrefix(key, "%2E") || strings.HasPrefix(key, "%2e")
}

func decodedLen(s string) (int, error) {
	if strings.IndexByte(s, '%') < 0 {
		if !utf8.ValidString(s) {
			return 0, errNotText(s)
		}
		return len(s), nil
	}
	var scratch [256]byte
	b, err := appendUnescaped(scratch[:0], s)
	if err != nil {
		return 0, err
	}
	if !utf8.Valid(b) {
		return 0, errNotText(s)
	}
	return len(b), nil
}

func decode(s string) (string, error) {
	if strings.IndexByte(s, '%') < 0 {
		if !utf8.ValidString(s) {
			return "", errNotText(s)
		}
		return s, nil
	}
	b, err := appendUnescaped(make([]byte, 0, len(s)), s)
	if err != nil {
		return "", err
	}
	if !utf8.Valid(b) {
		return "", errNotText(s)
	}
	return string(b), nil
}

func errNotText(s string) error {
	return fmt.Errorf("property bag: %.40q is not UTF-8: %w", s, ErrInvalid)
}

func appendUnescaped(dst []byte, s string) ([]byte, error) {
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			dst = append(dst, s[i])
			continue
		}
		if i+2 >= len(s) || unhex(s[i+1]) < 0 || unhex(s[i+2]) < 0 {
			return nil, fmt.Errorf("property bag: bad escape in %.40q: %w", s, ErrInvalid)
		}
		dst = append(dst, byte(unhex(s[i+1])<<4|unhex(s[i+2])))
		i += 2
	}
	return dst, nil
}

// Unescape decodes what may be percent-encoded, such as a model id, which Node
// sends raw; what is no valid encoding stands for itself.
func Unescape(s string) string {
	if u, err := url.PathUnescape(s); err == nil {
		return u
	}
	return s
}

func appendEscaped(dst []byte, s string) []byte {
	const digits = "0123456789ABCDEF"
	for i := 0; i < len(s); i++ {
		switch b := s[i]; {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9',
			b == '-', b == '.', b == '_', b == '~':
			dst = append(dst, b)
		default:
			dst = append(dst, '%', digits[b>>4], digits[b&15])
		}
	}
	return dst
}

func unhex(b byte) int {
	switch {
	case '0' <= b && b <= '9':
		return int(b - '0')
	case 'a' <= b && b <= 'f':
		return int(b-'a') + 10
	case 'A' <= b && b <= 'F':
		return int(b-'A') + 10
	}
	return -1
}
