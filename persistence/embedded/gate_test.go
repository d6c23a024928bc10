package embedded

import (
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func dial(t *testing.T, s *Server) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	return conn
}

func send(t *testing.T, conn net.Conn, req kmsg.Request) {
	t.Helper()
	f := kmsg.NewRequestFormatter(kmsg.FormatterClientID("test"))
	if _, err := conn.Write(f.AppendRequest(nil, req, 1)); err != nil {
		t.Fatal(err)
	}
}

// answered reports whether a response comes, rather than the end of the
// connection.
func answered(t *testing.T, conn net.Conn) bool {
	t.Helper()
	var size [4]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return false
	}
	_, err := io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint32(size[:])))
	return err == nil
}

func metadata() kmsg.Request {
	req := kmsg.NewPtrMetadataRequest()
	req.SetVersion(9)
	return req
}

func handshake() kmsg.Request {
	req := kmsg.NewPtrSASLHandshakeRequest()
	req.SetVersion(1)
	req.Mechanism = scram256
	return req
}

func authenticate(message string) kmsg.Request {
	req := kmsg.NewPtrSASLAuthenticateRequest()
	req.SetVersion(2)
	req.SASLAuthBytes = []byte(message)
	return req
}

func TestGateDropsWhatWouldCrashTheBroker(t *testing.T) {
	s := start(t, Options{Dir: t.TempDir()})
	frame := func(size uint32, rest ...byte) []byte {
		return append(binary.BigEndian.AppendUint32(nil, size), rest...)
	}
	for name, bytes := range map[string][]byte{
		"unknown request":   frame(8, 0x7f, 0xff, 0, 0, 0, 0, 0, 0),
		"negative request":  frame(8, 0xff, 0xff, 0, 0, 0, 0, 0, 0),
		"a size of 4 GiB":   frame(0xffffffff, 0, 3, 0, 9),
		"a size of nothing": frame(0, 0, 3, 0, 9),
		"not Kafka at all":  []byte("GET / HTTP/1.1\r\n\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			conn := dial(t, s)
			if _, err := conn.Write(bytes); err != nil {
				t.Fatal(err)
			}
			if answered(t, conn) {
				t.Error("it was answered")
			}
		})
	}
	conn := dial(t, s)
	send(t, conn, metadata())
	if !answered(t, conn) {
		t.Error("the server does not answer any more")
	}
}

func TestGateLetsNobodyPassHalfAuthenticated(t *testing.T) {
	s := start(t, Options{Dir: t.TempDir(), Private: []string{"p"}})
	first := authenticate("n,,n=" + nodeUser + ",r=fyko+d2lbbFgONRv9qkxdawL")
	for name, requests := range map[string][]kmsg.Request{
		"a request after the handshake":           {handshake(), metadata()},
		"a request after the first step":          {handshake(), first, metadata()},
		"a handshake after the first step":        {handshake(), first, handshake()},
		"a wrong second step, and then a request": {handshake(), first, authenticate("c=biws,r=x,p=AAAA"), metadata()},
		"a step without a handshake":              {first},
	} {
		t.Run(name, func(t *testing.T) {
			conn := dial(t, s)
			for i, req := range requests {
				send(t, conn, req)
				if ok := answered(t, conn); !ok && i < len(requests)-2 {
					t.Fatalf("request %d got no answer", i)
				} else if ok && i == len(requests)-1 {
					t.Error("the last one was answered")
				}
			}
		})
	}
}

func TestGateBoundsConnections(t *testing.T) {
	s := start(t, Options{Dir: t.TempDir(), MaxConnections: 1})
	first, second := dial(t, s), dial(t, s)
	send(t, first, metadata())
	if !answered(t, first) {
		t.Fatal("the first got no answer")
	}
	send(t, second, metadata())
	second.SetDeadline(time.Now().Add(50 * time.Millisecond))
	if answered(t, second) {
		t.Fatal("the second got an answer while the first was open")
	}
	first.Close()
	second.SetDeadline(time.Now().Add(10 * time.Second))
	if !answered(t, second) {
		t.Error("the second got no answer after the first was closed")
	}
}
