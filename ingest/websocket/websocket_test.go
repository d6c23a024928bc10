package websocket

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// frame is a frame as a client sends it.
func frame(first byte, payload string) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n <= 125:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	mask := [4]byte{1, 0x82, 3, 0xf4}
	b = append(b, mask[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^mask[i&3])
	}
	return b
}

// sink is a connection whose peer has said all it will ever say.
type sink struct {
	net.Conn
	in  io.Reader
	out bytes.Buffer
}

func (s *sink) Read(p []byte) (int, error)     { return s.in.Read(p) }
func (s *sink) Write(p []byte) (int, error)    { return s.out.Write(p) }
func (*sink) SetWriteDeadline(time.Time) error { return nil }
func (*sink) Close() error                     { return nil }
func over(in ...[]byte) (*Conn, *sink) {
	s := &sink{in: bytes.NewReader(bytes.Join(in, nil))}
	return newConn(s, s.in, nil), s
}

func TestTheStreamIsThePayloadOfBinaryMessages(t *testing.T) {
	long, longer := strings.Repeat("l", 300), strings.Repeat("x", 70_000)
	c, s := over(frame(0x82, "a"), frame(0x82, ""), frame(0x02, "b"), frame(0x89, "are you there"), frame(0x00, long), frame(0x80, "c"),
		frame(0x8a, ""), frame(0x82, longer), frame(0x88, "\x03\xe8"))
	got, err := io.ReadAll(c)
	if err != nil || string(got) != "ab"+long+"c"+longer {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if want := "\x8a\x0dare you there\x88\x02\x03\xe8"; s.out.String() != want {
		t.Errorf("answers %q, want %q", s.out.String(), want)
	}
}

func TestFramesThatEndTheConnection(t *testing.T) {
	for name, tc := range map[string]struct {
		frame []byte
		code  uint16
	}{
		"not masked":               {[]byte{0x82, 1, 'a', 0, 0, 0, 0}, closeProtocol},
		"reserved bits":            {frame(0xc2, "a"), closeProtocol},
		"text":                     {frame(0x81, "a"), closeUnsupported},
		"unknown":                  {frame(0x83, "a"), closeProtocol},
		"a ping in pieces":         {frame(0x09, "a"), closeProtocol},
		"a ping that is too large": {frame(0x89, strings.Repeat("a", 126)), closeProtocol},
		"continues nothing":        {frame(0x80, "a"), closeProtocol},
		"longer than 63 bits":      {append([]byte{0x82, 0xff, 0xff}, make([]byte, 11)...), closeProtocol},
	} {
		c, s := over(tc.frame)
		if _, err := io.ReadAll(c); !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: %v", name, err)
		}
		if want := string([]byte{0x88, 2, byte(tc.code >> 8), byte(tc.code)}); s.out.String() != want {
			t.Errorf("%s: answer %q, want %q", name, s.out.String(), want)
		}
	}
}

func TestAReadThatEndsAtItsDeadlineLosesNothing(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	c := newConn(a, a, nil)
	defer a.Close()
	in := bytes.Join([][]byte{frame(0x82, strings.Repeat("y", 200)), frame(0x89, "p"), frame(0x82, "z")}, nil)
	go io.Copy(io.Discard, b) // the pong
	var got []byte
	buf := make([]byte, 64)
	for i := range in {
		written := make(chan struct{})
		go func() { b.Write(in[i : i+1]); close(written) }()
		c.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
		for {
			n, err := c.Read(buf)
			got = append(got, buf[:n]...)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				select {
				case <-written:
				default:
					c.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
					continue
				}
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		c.SetReadDeadline(time.Time{})
	}
	if want := strings.Repeat("y", 200) + "z"; string(got) != want {
		t.Errorf("%d bytes, want %d", len(got), len(want))
	}
}

func TestWritesAreOneMessageEach(t *testing.T) {
	c, s := over()
	for _, n := range []int{1, 126, 70_000} {
		s.out.Reset()
		if m, err := c.Write(make([]byte, n)); m != n || err != nil {
			t.Fatal(m, err)
		}
		want := map[int]string{1: "\x82\x01", 126: "\x82\x7e\x00\x7e", 70_000: "\x82\x7f\x00\x00\x00\x00\x00\x01\x11\x70"}[n]
		if !strings.HasPrefix(s.out.String(), want) || s.out.Len() != len(want)+n {
			t.Errorf("%d bytes: %q…, %d", n, s.out.Bytes()[:len(want)], s.out.Len())
		}
	}
}

func TestUpgrade(t *testing.T) {
	var places atomic.Int32
	places.Store(1)
	h := &Handler{
		Protocols: map[string]func(net.Conn){"mqtt": func(c net.Conn) {
			io.CopyN(c, c, 5)
			c.Close()
		}},
		Reserve: func() (func(), bool) { return func() { places.Add(1) }, places.Add(-1) >= 0 },
	}
	server := httptest.NewServer(h)
	defer server.Close()
	ask := func(headers ...string) (net.Conn, string) {
		nc, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		nc.SetDeadline(time.Now().Add(10 * time.Second))
		// What follows at once must not get lost.
		nc.Write([]byte("GET " + Path + "?iothub-no-client-cert=true HTTP/1.1\r\nHost: h:443\r\n" + strings.Join(headers, "\r\n") + "\r\n\r\n" + string(frame(0x82, "hello"))))
		b := make([]byte, 4096)
		n, _ := nc.Read(b)
		return nc, string(b[:n])
	}
	good := []string{"Connection: keep-alive, Upgrade", "Upgrade: WebSocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol: other, MQTT"}
	nc, answer := ask(good...)
	// The accept value is the example of RFC 6455 1.3.
	if !strings.HasPrefix(answer, "HTTP/1.1 101 ") || !strings.Contains(answer, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n") || !strings.Contains(answer, "Sec-WebSocket-Protocol: MQTT\r\n") {
		t.Fatal(answer)
	}
	_, echo, _ := strings.Cut(answer, "\r\n\r\n")
	rest, _ := io.ReadAll(nc)
	nc.Close()
	if echo += string(rest); !strings.Contains(strings.ReplaceAll(strings.ReplaceAll(echo, "\x82\x05", ""), "\x88\x02\x03\xe8", ""), "hello") {
		t.Errorf("%q", echo)
	}
	for _, tc := range []struct {
		name   string
		at     int
		header string
		want   string
	}{
		{"no upgrade", 0, "Connection: close", "426"},
		{"another version", 2, "Sec-WebSocket-Version: 8", "426"},
		{"a short key", 3, "Sec-WebSocket-Key: aGk=", "400"},
		{"no subprotocol of ours", 4, "Sec-WebSocket-Protocol: AMQPWSB10", "400"},
	} {
		headers := append([]string(nil), good...)
		headers[tc.at] = tc.header
		nc, answer := ask(headers...)
		nc.Close()
		if !strings.HasPrefix(answer, "HTTP/1.1 "+tc.want) {
			t.Errorf("%s: %.40q", tc.name, answer)
		}
	}
	places.Store(0)
	nc, answer = ask(good...)
	nc.Close()
	if !strings.HasPrefix(answer, "HTTP/1.1 503") {
		t.Errorf("no place: %.40q", answer)
	}
	if Handles(httptest.NewRequest(http.MethodGet, "/$iothub/other", nil)) || !Handles(httptest.NewRequest(http.MethodGet, "/%24IotHub/websocket/?a=b", nil)) {
		t.Error("Handles")
	}
}

func FuzzRead(f *testing.F) {
	f.Add(frame(0x82, "hello"))
	f.Add(append(frame(0x02, "a"), frame(0x80, "b")...))
	f.Add(append(frame(0x89, "p"), frame(0x88, "")...))
	f.Fuzz(func(t *testing.T, in []byte) {
		c, s := over(in)
		got, err := io.ReadAll(c)
		if len(got) > len(in) {
			t.Fatalf("%d bytes out of %d", len(got), len(in))
		}
		if errors.Is(err, ErrProtocol) && !bytes.Contains(s.out.Bytes(), []byte{0x88, 2}) {
			t.Fatal("no close frame")
		}
	})
}
