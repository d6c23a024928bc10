package credential

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func key(t testing.TB, text string) Key {
	t.Helper()
	k, err := ParseKey(base64.StdEncoding.EncodeToString([]byte(text)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// foreign signs as an SDK would: sr and se as they are given.
func foreign(sr, se, secret string) string {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(sr + "\n" + se))
	return url.QueryEscape(base64.StdEncoding.EncodeToString(h.Sum(nil)))
}

const (
	first  = "0123456789abcdef"
	second = "fedcba9876543210"
)

// TestAKnownToken checks a token that openssl computed.
func TestAKnownToken(t *testing.T) {
	// printf 'hub.example.org%%2Fdevices%%2Fd1\n1767358800' | openssl dgst -sha256 -hmac 0123456789abcdef -binary | base64
	token, err := ParseToken("SharedAccessSignature sr=hub.example.org%2Fdevices%2Fd1&sig=8aD1klHdijqP1HU%2F3X14r01pqg%2BToPWmCe2FeiljWR4%3D&se=1767358800")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := token.Verify(Keys{Primary: key(t, first)}, noon, 0); err != nil {
		t.Error(err)
	}
}

func TestVerifyAcceptsWhatSDKsSend(t *testing.T) {
	keys := Keys{key(t, first), key(t, second)}
	const se = "1767358800"
	hosts := []string{"localhost", "hub.example.org"}
	tests := []struct {
		name, text, which string
		path              []string
	}{
		{"Node: sig before se and skn last", "sr=hub.example.org%2Fdevices%2Fd1&sig=" + foreign("hub.example.org%2Fdevices%2Fd1", se, first) + "&skn=&se=" + se, Primary, []string{"devices", "d1"}},
		{"C: lower-case hex", "sr=hub.example.org%2fdevices%2fd1&sig=" + foreign("hub.example.org%2fdevices%2fd1", se, first) + "&se=" + se + "&skn=", Primary, []string{"devices", "d1"}},
		{"not encoded at all", "sr=hub.example.org/devices/d1&sig=" + foreign("hub.example.org/devices/d1", se, first) + "&se=" + se, Primary, []string{"devices", "d1"}},
		{"secondary key", "se=" + se + "&sig=" + foreign("hub.example.org", se, second) + "&sr=hub.example.org", Secondary, []string{"devices", "d1"}},
		{"host in capitals", "sr=HUB.Example.Org&sig=" + foreign("HUB.Example.Org", se, first) + "&se=" + se, Primary, []string{"devices"}},
		{"host with port", "sr=localhost:8883%2Fdevices%2Fd1&sig=" + foreign("localhost:8883%2Fdevices%2Fd1", se, first) + "&se=" + se, Primary, []string{"devices", "d1"}},
		{"marks that Node encodes in lower case", "sr=hub.example.org%2Fdevices%2Fa%21b%27&sig=" + foreign("hub.example.org%2Fdevices%2Fa%21b%27", se, first) + "&se=" + se, Primary, []string{"devices", "a!b'"}},
		{"plus in an id is a plus", "sr=hub.example.org/devices/a+b&sig=" + foreign("hub.example.org/devices/a+b", se, first) + "&se=" + se, Primary, []string{"devices", "a+b"}},
		{"id that looks encoded, unencoded", "sr=hub.example.org/devices/a%41&sig=" + foreign("hub.example.org/devices/a%41", se, first) + "&se=" + se, Primary, []string{"devices", "a%41"}},
		{"old tools' api-version", "sr=hub.example.org%2Fdevices%2Fd1%2Fapi-version%3D2016-11-14&sig=" + foreign("hub.example.org%2Fdevices%2Fd1%2Fapi-version%3D2016-11-14", se, first) + "&se=" + se, Primary, []string{"devices", "d1"}},
		{"module of the device", "sr=hub.example.org%2Fdevices%2Fd1&sig=" + foreign("hub.example.org%2Fdevices%2Fd1", se, first) + "&se=" + se, Primary, []string{"devices", "d1", "modules", "m"}},
		{"unknown field", "sr=hub.example.org&x=y&sig=" + foreign("hub.example.org", se, first) + "&se=" + se, Primary, []string{"devices", "d1"}},
		{"our own", strings.TrimPrefix(Sign("hub.example.org/devices/a b+c'", noon.Add(time.Hour), keys.Secondary, ""), "SharedAccessSignature "), Secondary, []string{"devices", "a b+c'"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			token, err := ParseToken("SharedAccessSignature " + tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if which, err := token.Verify(keys, noon, 0); err != nil || which != tt.which {
				t.Errorf("verified by %q, %v", which, err)
			}
			if err := token.Covers(hosts, tt.path...); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestVerifyRefuses(t *testing.T) {
	keys := Keys{key(t, first), key(t, second)}
	sign := func(k Key, life time.Duration) string { return Sign("hub.example.org", noon.Add(life), k, "") }
	tests := []struct {
		name, text string
		keys       Keys
		skew       time.Duration
		want       error
	}{
		{"another key", sign(key(t, "another key, 16+"), 1), keys, 0, ErrSignature},
		{"no keys at all", sign(Key{}, 1), Keys{}, 0, ErrSignature},
		{"missing secondary, empty key", sign(Key{}, 1), Keys{Primary: keys.Primary}, 0, ErrSignature},
		{"expired by a second", sign(keys.Primary, -time.Second), keys, 0, ErrExpired},
		{"expired within the skew", sign(keys.Primary, -time.Second), keys, time.Minute, nil},
		{"expired beyond the skew", sign(keys.Primary, -61*time.Second), keys, time.Minute, ErrExpired},
		{"expires now", sign(keys.Primary, 0), keys, 0, nil},
		{"expiry changed", strings.Replace(sign(keys.Primary, 1), "se=1", "se=2", 1), keys, 0, ErrSignature},
		{"audience re-encoded", strings.Replace(sign(keys.Primary, 1), "hub.", "hub%2E", 1), keys, 0, ErrSignature},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			token, err := ParseToken(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := token.Verify(tt.keys, noon, tt.skew); !errors.Is(err, tt.want) {
				t.Errorf("%v, want %v", err, tt.want)
			}
		})
	}
}

func TestMalformedTokens(t *testing.T) {
	for name, text := range map[string]string{
		"empty":             "",
		"scheme alone":      "SharedAccessSignature",
		"bearer":            "Bearer abc",
		"no blank":          "SharedAccessSignaturesr=a&sig=b&se=1",
		"two blanks":        "SharedAccessSignature  sr=a&sig=YQ&se=1",
		"no sr":             "SharedAccessSignature sig=YQ==&se=1",
		"no sig":            "SharedAccessSignature sr=a&se=1",
		"empty sig":         "SharedAccessSignature sr=a&sig=&se=1",
		"no se":             "SharedAccessSignature sr=a&sig=YQ==",
		"se negative":       "SharedAccessSignature sr=a&sig=YQ==&se=-1",
		"se with fraction":  "SharedAccessSignature sr=a&sig=YQ==&se=1.5",
		"se endless":        "SharedAccessSignature sr=a&sig=YQ==&se=" + strings.Repeat("9", 19),
		"sig no base64":     "SharedAccessSignature sr=a&sig=%%%&se=1",
		"sig no base64 (2)": "SharedAccessSignature sr=a&sig=*&se=1",
		"sr twice":          "SharedAccessSignature sr=a&sr=b&sig=YQ==&se=1",
		"skn twice":         "SharedAccessSignature sr=a&sig=YQ==&se=1&skn=a&skn=b",
		"skn badly encoded": "SharedAccessSignature sr=a&sig=YQ==&se=1&skn=%zz",
		"too long":          "SharedAccessSignature sr=" + strings.Repeat("a", maxToken) + "&sig=YQ==&se=1",
	} {
		if _, err := ParseToken(text); !errors.Is(err, ErrToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCovers(t *testing.T) {
	hosts := []string{"hub.example.org", "127.0.0.1", "::1"}
	tests := []struct {
		resource string
		path     string
		want     bool
	}{
		{"hub.example.org", "devices/d1", true},
		{"hub.example.org/", "devices/d1", true},
		{"hub.example.org/devices", "devices/d1", true},
		{"hub.example.org/Devices/d1", "devices/d1", true},
		{"hub.example.org/devices/D1", "devices/d1", false},
		{"hub.example.org/devices/d", "devices/d1", false},
		{"hub.example.org/devices/d1", "devices/d", false},
		{"hub.example.org/devices/d1/modules/m", "devices/d1", false},
		{"hub.example.org/devices/d1/messages", "devices/d1/messages/events", true},
		{"hub.example.org/dev", "devices/d1", false},
		{"hub.example.org//devices/d1", "devices/d1", false},
		{"hub.example.org/devices/query", "devices/query", true},
		{"hub.example.org/twins/d1", "devices/d1", false},
		{"hub.example.org:443/devices/d1", "devices/d1", true},
		{"127.0.0.1:8883", "devices/d1", true},
		{"[::1]:8883", "devices/d1", true},
		{"hub.example.org:x", "devices/d1", false},
		{"hub.example.org.evil.net", "devices/d1", false},
		{"evil.net", "devices/d1", false},
		{"", "devices/d1", false},
		{"/devices/d1", "devices/d1", false},
		{"hub.example.org/api-version=2016-11-14", "devices/d1", true},
		{"hub.example.org/devices/d1/API-version=x", "devices/d1", true},
		{"hub.example.org/devices/api-version=x", "devices/d1", false}, // a device may be called so
		{"hub.example.org/devices/api-version=x", "devices/api-version=x", true},
	}
	for _, tt := range tests {
		for _, raw := range []string{tt.resource, url.QueryEscape(tt.resource)} {
			err := Token{resource: raw}.Covers(hosts, strings.Split(tt.path, "/")...)
			if (err == nil) != tt.want || err != nil && !errors.Is(err, ErrAudience) {
				t.Errorf("%s covers %s: %v, want %v", raw, tt.path, err, tt.want)
			}
		}
	}
	if err := (Token{resource: "%2Fdevices"}).Covers([]string{""}, "devices"); err == nil {
		t.Error("an empty host name covers")
	}
}

func FuzzToken(f *testing.F) {
	keys := Keys{key(f, first), key(f, second)}
	f.Add(Sign("hub.example.org/devices/d1", noon, keys.Primary, "service"), "d1")
	f.Add("SharedAccessSignature sr=hub.example.org%2Fdevices%2Fd1&sig=x&se=1&skn=", "%41")
	f.Fuzz(func(t *testing.T, text, id string) {
		token, err := ParseToken(text)
		if err != nil {
			if !errors.Is(err, ErrToken) {
				t.Errorf("error %v", err)
			}
			return
		}
		if _, err := token.Verify(keys, noon, 0); err == nil && !strings.Contains(text, "sig=") {
			t.Errorf("verified %q", text)
		}
		if _, err := token.Verify(Keys{}, noon, 0); err == nil {
			t.Errorf("verified without keys: %q", text)
		}
		token.Covers([]string{"hub.example.org"}, "devices", id)
		if shown := fmt.Sprintf("%v %+v %#v", token, token, token); strings.Contains(shown, "mac") {
			t.Errorf("shown as %s", shown)
		}
	})
}

func BenchmarkParseAndVerify(b *testing.B) {
	keys := Keys{key(b, first), key(b, second)}
	text := Sign("hub.example.org/devices/d1", noon.Add(time.Hour), keys.Primary, "")
	hosts := []string{"hub.example.org"}
	b.ReportAllocs()
	for b.Loop() {
		token, err := ParseToken(text)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := token.Verify(keys, noon, 0); err != nil {
			b.Fatal(err)
		}
		if err := token.Covers(hosts, "devices", "d1"); err != nil {
			b.Fatal(err)
		}
	}
}
