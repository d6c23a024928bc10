package webhook

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A batch is taken, refused for good or may be tried again, by the status.
func TestPostByStatus(t *testing.T) {
	for status, want := range map[int]string{
		200: "ok", 202: "ok", 204: "ok", 400: "refused", 413: "refused", 415: "refused", 422: "refused",
		401: "again", 403: "again", 404: "again", 408: "again", 429: "again", 500: "again", 503: "again",
	} {
		var got, auth string
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			got, auth = string(b), r.Header.Get("Authorization")
			w.WriteHeader(status)
		}))
		p := New(Options{Private: true})
		err := p.Post(t.Context(), s.URL, "Bearer x", []byte("[]"))
		p.Close()
		s.Close()
		outcome := "again"
		if err == nil {
			outcome = "ok"
		} else if errors.Is(err, ErrRefused) {
			outcome = "refused"
		}
		if outcome != want || got != "[]" || auth != "Bearer x" {
			t.Errorf("status %d: %s (%v), body %q, authorization %q; want %s", status, outcome, err, got, auth, want)
		}
	}
}

// Redirects are followed to the same host alone, and only those that post again.
func TestRedirects(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("another host got %s with %q", r.Method, r.Header.Get("Authorization"))
	}))
	defer other.Close()
	for _, c := range []struct {
		name, to string
		status   int
		ok       bool
	}{
		{"same host", "/there", 307, true},
		{"another host", other.URL, 307, false},
		{"as a GET", "/there", 302, false},
		{"for ever", "/", 308, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/there" && r.Method == http.MethodPost {
					return
				}
				w.Header().Set("Location", c.to)
				w.WriteHeader(c.status)
			}))
			defer s.Close()
			p := New(Options{Private: true})
			defer p.Close()
			if err := p.Post(t.Context(), s.URL+"/", "Bearer x", []byte("[]")); (err == nil) != c.ok {
				t.Errorf("error %v", err)
			}
		})
	}
}

// Addresses inside the node's own network are refused after the name was
// resolved.
func TestPrivateAddressesAreRefused(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a private address was posted to") }))
	defer s.Close()
	p := New(Options{})
	defer p.Close()
	for _, url := range []string{s.URL, strings.Replace(s.URL, "127.0.0.1", "localhost", 1)} {
		if err := p.Post(t.Context(), url, "", nil); !errors.Is(err, ErrAddress) {
			t.Errorf("%s: error %v", url, err)
		}
	}
	for text, want := range map[string]bool{
		"8.8.8.8": true, "2606:4700::1": true, "127.0.0.1": false, "10.1.2.3": false, "192.168.1.1": false, "169.254.169.254": false,
		"100.64.0.1": false, "::1": false, "fe80::1": false, "fd00::1": false, "::ffff:10.0.0.1": false, "0.0.0.0": false, "224.0.0.1": false, "255.255.255.255": false,
	} {
		if got := Public(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s is public: %v, want %v", text, got, want)
		}
	}
}

// The body is JSON where the message says that it is and it is; else base64.
func TestBodies(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	json := map[string]string{"contentType": "application/json; charset=utf-8", "contentEncoding": "utf-8"}
	for _, c := range []struct {
		name, body string
		system     map[string]string
		want       string
	}{
		{"json", `{"a":1}`, json, `{"a":1}`},
		{"no json", `{"a":`, json, `"eyJhIjo="`},
		{"not said", `{"a":1}`, nil, `"eyJhIjoxfQ=="`},
		{"empty", ``, json, `""`},
	} {
		got := string(AppendBatch(nil, []Item{{ID: "0:1", Enqueued: at, Source: "Telemetry", System: c.system, Body: []byte(c.body)}}))
		if !strings.HasSuffix(got, `"Body":`+c.want+`}]`) || !strings.HasPrefix(got, `[{"Id":"0:1","Source":"Telemetry","EnqueuedTimeUtc":"2026-01-02T03:04:05.0000000Z","Properties":{}`) {
			t.Errorf("%s: %s", c.name, got)
		}
	}
}
