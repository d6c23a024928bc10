package credential

import (
	"crypto/hmac"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Errors of tokens. A client is told no more than that it is not authorized.
var (
	ErrToken     = errors.New("malformed SAS token")
	ErrExpired   = errors.New("the SAS token has expired")
	ErrSignature = errors.New("the SAS token's signature matches no key")
	ErrAudience  = errors.New("the SAS token is for another resource")
)

const (
	scheme = "SharedAccessSignature"
	// maxToken bounds the text of a token: a host name and two ids of 128
	// characters, all percent-encoded, fit more than twice.
	maxToken = 4 << 10
)

// Token is a SAS token (azure-iot-wire 1.2). It keeps sr and se as they were
// received, because that is what was signed.
type Token struct {
	Policy  string // skn, "" for a device's own key
	Expires time.Time

	resource string // sr, raw
	expiry   string // se, raw
	mac      []byte
}

// String shows the token without its signature.
func (t Token) String() string {
	return fmt.Sprintf("%s sr=%s&sig=%s&se=%s&skn=%s", scheme, t.resource, redacted, t.expiry, t.Policy)
}

// Format writes String for every verb.
func (t Token) Format(f fmt.State, _ rune) { io.WriteString(f, t.String()) }

// ParseToken reads the text of a token. Fields come in any order, unknown ones are
// ignored, none may come twice. The error wraps ErrToken and holds no part of the
// signature.
func ParseToken(text string) (Token, error) {
	var t Token
	if len(text) > maxToken {
		return t, fmt.Errorf("%w: longer than %d bytes", ErrToken, maxToken)
	}
	if len(text) <= len(scheme) || !strings.EqualFold(text[:len(scheme)], scheme) {
		return t, fmt.Errorf("%w: it begins with %s", ErrToken, scheme)
	}
	text = text[len(scheme):]
	if text[0] != ' ' && text[0] != '\t' {
		return t, fmt.Errorf("%w: a blank after %s is missing", ErrToken, scheme)
	}
	var sig string
	var seen [4]bool
	for pair := range strings.SplitSeq(text[1:], "&") {
		name, value, _ := strings.Cut(pair, "=")
		var i int
		switch name {
		case "sr":
			i, t.resource = 0, value
		case "sig":
			i, sig = 1, value
		case "se":
			i, t.expiry = 2, value
		case "skn":
			i, t.Policy = 3, value
		default:
			continue
		}
		if seen[i] {
			return Token{}, fmt.Errorf("%w: %s is given twice", ErrToken, name)
		}
		seen[i] = true
	}
	if t.resource == "" || sig == "" || t.expiry == "" {
		return Token{}, fmt.Errorf("%w: sr, sig and se are needed", ErrToken)
	}
	var err error
	if t.Policy, err = url.PathUnescape(t.Policy); err != nil {
		return Token{}, fmt.Errorf("%w: skn", ErrToken)
	}
	if t.Expires, err = parseExpiry(t.expiry); err != nil {
		return Token{}, err
	}
	if sig, err = url.PathUnescape(sig); err != nil {
		return Token{}, fmt.Errorf("%w: sig", ErrToken)
	}
	if t.mac, err = base64.StdEncoding.DecodeString(sig); err != nil {
		return Token{}, fmt.Errorf("%w: sig", ErrToken)
	}
	return t, nil
}

// maxExpiryDigits keeps the seconds inside an int64.
const maxExpiryDigits = 18

func parseExpiry(s string) (time.Time, error) {
	if len(s) > maxExpiryDigits {
		return time.Time{}, fmt.Errorf("%w: se has more than %d digits", ErrToken, maxExpiryDigits)
	}
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return time.Time{}, fmt.Errorf("%w: se is the expiry in seconds since 1970", ErrToken)
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: se", ErrToken)
	}
	return time.Unix(min(n, maxUnix), 0).UTC(), nil
}

// maxUnix is the end of the year 9999: far enough, and all of time.Time works.
const maxUnix = 253402300799

// Which of two keys verified a token.
const (
	Primary   = "primary"
	Secondary = "secondary"
)

// Verify checks signature and expiry and says which key signed the token. The
// signature is compared with both keys in constant time; skew is how long after
// its end the token still passes. The error is ErrSignature or ErrExpired.
func (t Token) Verify(keys Keys, now time.Time, skew time.Duration) (which string, err error) {
	p := t.signedBy(keys.Primary)
	s := t.signedBy(keys.Secondary)
	switch {
	case p:
		which = Primary
	case s:
		which = Secondary
	default:
		return "", ErrSignature
	}
	if now.After(t.Expires.Add(skew)) {
		return "", ErrExpired
	}
	return which, nil
}

// signedBy is false for a missing key: the MAC under an empty key is one that
// anybody can compute.
func (t Token) signedBy(k Key) bool {
	same := hmac.Equal(k.mac(t.resource, "\n", t.expiry), t.mac)
	return same && !k.IsZero()
}

// Covers reports whether the token's audience is the resource at path on one of
// the hub's hosts, or a path-segment prefix of it. hosts are names in lower case
// without port; path holds decoded segments, as in Covers(hosts, "devices", id):
// those at even places are fixed words and compare without case, ids don't. The
// error wraps ErrAudience.
//
// An audience that is not percent-encoded is compared as it is, too, so that an
// id that looks encoded matches.
func (t Token) Covers(hosts []string, path ...string) error {
	if decoded, err := url.PathUnescape(t.resource); err == nil && covers(decoded, hosts, path) {
		return nil
	}
	if strings.Contains(t.resource, "/") && covers(t.resource, hosts, path) {
		return nil
	}
	return fmt.Errorf("%w than %s", ErrAudience, strings.Join(path, "/"))
}

func covers(resource string, hosts, path []string) bool {
	resource = strings.TrimSuffix(resource, "/")
	host, rest, deeper := strings.Cut(resource, "/")
	if !ownHost(host, hosts) {
		return false
	}
	if !deeper {
		return true
	}
	segments := strings.Split(rest, "/")
	// Old tools end the audience with an api-version. It stands where a fixed
	// word would, never where an id does.
	if last := len(segments) - 1; last%2 == 0 && strings.HasPrefix(strings.ToLower(segments[last]), "api-version=") {
		segments = segments[:last]
	}
	if len(segments) > len(path) {
		return false
	}
	for i, s := range segments {
		if s != path[i] && (i%2 == 1 || !strings.EqualFold(s, path[i])) {
			return false
		}
	}
	return true
}

// ownHost compares a host, with or without port, with the hub's names.
func ownHost(host string, hosts []string) bool {
	host = strings.ToLower(host)
	name := host
	if i := strings.LastIndexByte(host, ':'); i >= 0 && digits(host[i+1:]) {
		name = host[:i]
	}
	for _, h := range hosts {
		if h != "" && (host == h || name == h || strings.Trim(name, "[]") == h) {
			return true
		}
	}
	return false
}

func digits(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// Sign makes the text of a token for a resource such as "host/devices/d1", which
// it percent-encodes; policy is "" for a device's own key.
func Sign(resource string, expires time.Time, key Key, policy string) string {
	sr := escape(resource)
	se := strconv.FormatInt(expires.Unix(), 10)
	sig := base64.StdEncoding.EncodeToString(key.mac(sr, "\n", se))
	text := scheme + " sr=" + sr + "&sig=" + escape(sig) + "&se=" + se
	if policy != "" {
		text += "&skn=" + escape(policy)
	}
	return text
}

// escape percent-encodes all but letters, digits and - _ . ~, a blank too.
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
