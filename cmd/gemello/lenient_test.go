package main

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gemello/gemello/internal/pki"
)

func TestPercentSignsThatBeginNoEscapeAreEncoded(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{"GET /devices/a%b?x=%zz HTTP/1.1\r\nH: %\r\n", "GET /devices/a%25b?x=%zz HTTP/1.1\r\nH: %\r\n"},
		{"GET /devices/a%b HTTP/1.1\r\n", "GET /devices/a%25b HTTP/1.1\r\n"},
		{"PUT /devices/50% HTTP/1.1\r\n", "PUT /devices/50%25 HTTP/1.1\r\n"},
		{"PUT /a%41/b%41%c/%20 HTTP/1.1\r\n", "PUT /a%41/b%2541%25c/%20 HTTP/1.1\r\n"},
		{"GET /devices/a%41b HTTP/1.1\r\n", ""},
		{"GET /devices/a?b=% HTTP/1.1\r\n", ""},
		{"GET /devices/a%b\r\n", ""},
		{"a line of a body with 100 % of it\r\n", ""},
		{"%\r\n", ""}, {"\n", ""}, {"", ""}, {"GET /%", ""},
	} {
		want := tt.want
		if want == "" {
			want = tt.line
		}
		if got := string(mendRequestLine([]byte(tt.line))); got != want {
			t.Errorf("%q became %q, want %q", tt.line, got, want)
		}
	}
}

// A line may come in pieces, a connection may carry many requests, and a body that
// looks like a request is left alone.
func TestRequestsOfALenientConnection(t *testing.T) {
	identity, err := pki.Open(pki.Options{Dir: t.TempDir(), Names: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil || r.TLS == nil || r.TLS.Version == 0 {
			t.Errorf("body %q, %v, TLS %v", b, err, r.TLS)
		}
		answer := r.URL.Path + " " + string(b) + "|"
		w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
		io.WriteString(w, answer)
	})}
	served := make(chan error, 1)
	go func() { served <- serveLenient(s, socket, identity.TLSConfig()) }()
	defer func() {
		s.Close()
		<-served
	}()
	nc, err := tls.Dial("tcp", socket.Addr().String(), &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // the server is this test
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(patience))
	const body = "PUT /x%y HTTP/1.1\r\n\r\n"
	answers := make([]byte, 0, 4096)
	for i, want := range []string{"/a%b " + body + "|", "/a%b " + body + "|", "/" + strings.Repeat("l", 5000) + "% |", "/plain |"} {
		request := []string{
			"PUT /a%b HTTP/1.1\r\nHost: h\r\nContent-Length: 21\r\n\r\n" + body, "PUT /a%b HTTP/1.1\r\nHost: h\r\nContent-Length: 21\r\n\r\n" + body,
			"GET /" + strings.Repeat("l", 5000) + "% HTTP/1.1\r\nHost: h\r\n\r\n", "GET /plain HTTP/1.1\r\nHost: h\r\n\r\n",
		}[i]
		step := len(request)
		if i == 1 {
			step = 3
		}
		for len(request) > 0 {
			n := min(step, len(request))
			if _, err := nc.Write([]byte(request[:n])); err != nil {
				t.Fatal(err)
			}
			request = request[n:]
		}
		answers = answers[:0]
		for !strings.HasSuffix(string(answers), "|") {
			b := make([]byte, 4096)
			n, err := nc.Read(b)
			if err != nil {
				t.Fatalf("request %d: %v after %q", i, err, answers)
			}
			answers = append(answers, b[:n]...)
		}
		if !strings.HasSuffix(string(answers), "\r\n"+want) {
			t.Errorf("request %d: %q, want %q", i, answers, want)
		}
	}
}
