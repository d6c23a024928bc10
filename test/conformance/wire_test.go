package conformance

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// patience bounds a wait for what must come.
const patience = 30 * time.Second

// wire is a connection that sends exactly what it is told: versions are the
// test's choice, nothing is tried again.
type wire struct {
	t    testing.TB
	nc   net.Conn
	form *kmsg.RequestFormatter
	next int32
}

func dial(t testing.TB) *wire {
	t.Helper()
	nc, err := net.DialTimeout("tcp", target, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return &wire{t: t, nc: nc, form: kmsg.NewRequestFormatter(kmsg.FormatterClientID("conformance"))}
}

// send writes a request and returns its correlation id.
func (w *wire) send(version int16, req kmsg.Request) int32 {
	w.t.Helper()
	req.SetVersion(version)
	w.next++
	w.write(w.form.AppendRequest(nil, req, w.next))
	return w.next
}

func (w *wire) write(b []byte) {
	w.t.Helper()
	w.nc.SetWriteDeadline(time.Now().Add(patience))
	if _, err := w.nc.Write(b); err != nil {
		w.t.Fatal(err)
	}
}

// frame reads a response without decoding it.
func (w *wire) frame(wait time.Duration) (correlation int32, body []byte, err error) {
	w.nc.SetReadDeadline(time.Now().Add(wait))
	var size [4]byte
	if _, err := io.ReadFull(w.nc, size[:]); err != nil {
		return 0, nil, err
	}
	b := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(w.nc, b); err != nil {
		return 0, nil, err
	}
	return int32(binary.BigEndian.Uint32(b)), b[4:], nil
}

// recv reads the response to req, which must be the next one.
func (w *wire) recv(req kmsg.Request, correlation int32) kmsg.Response {
	w.t.Helper()
	got, b, err := w.frame(patience)
	if err != nil {
		w.t.Fatalf("%s v%d: %v", kmsg.NameForKey(req.Key()), req.GetVersion(), err)
	}
	if got != correlation {
		w.t.Fatalf("%s: response to request %d, want %d", kmsg.NameForKey(req.Key()), got, correlation)
	}
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	if resp.IsFlexible() && req.Key() != kmsg.ApiVersions.Int16() {
		r := kbin.Reader{Src: b}
		for range r.Uvarint() {
			r.Uvarint()
			r.Span(int(r.Uvarint()))
		}
		b = r.Src
	}
	if err := resp.ReadFrom(b); err != nil {
		w.t.Fatalf("%s v%d: response: %v", kmsg.NameForKey(req.Key()), req.GetVersion(), err)
	}
	return resp
}

// ask sends a request and reads its response.
func ask[R kmsg.Response](w *wire, version int16, req kmsg.Request) R {
	w.t.Helper()
	return w.recv(req, w.send(version, req)).(R)
}

// closed waits for the server to end the connection.
func (w *wire) closed(why string) {
	w.t.Helper()
	_, b, err := w.frame(patience)
	var timeout net.Error
	switch {
	case err == nil:
		w.t.Errorf("%s: answered with %d bytes, want the connection closed", why, len(b))
	case errors.As(err, &timeout) && timeout.Timeout():
		w.t.Errorf("%s: the connection stays open", why)
	}
}

// code fails the test unless a response has the error.
func code(t testing.TB, what string, got int16, want *kerr.Error) {
	t.Helper()
	if want == nil {
		if got != 0 {
			t.Errorf("%s: %v", what, kerr.ErrorForCode(got))
		}
	} else if got != want.Code {
		t.Errorf("%s: got %v, want %s", what, kerr.ErrorForCode(got), want.Message)
	}
}

// must ends the test unless a response has no error.
func must(t testing.TB, what string, got int16) {
	t.Helper()
	if got != 0 {
		t.Fatalf("%s: %v", what, kerr.ErrorForCode(got))
	}
}

// settled asks again while the answer is an error that Kafka has for things
// that are under way.
func settled(t testing.TB, f func() int16) int16 {
	t.Helper()
	for end := time.Now().Add(patience); ; {
		c := f()
		switch c {
		case kerr.ConcurrentTransactions.Code, kerr.CoordinatorLoadInProgress.Code, kerr.CoordinatorNotAvailable.Code, kerr.NotCoordinator.Code:
			if time.Now().Before(end) {
				<-time.After(20 * time.Millisecond)
				continue
			}
		}
		return c
	}
}

// eventually waits for something that the server does in its own time.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !f(); {
		if time.Now().After(end) {
			t.Fatalf("%s: not in %v", what, patience)
		}
		<-time.After(50 * time.Millisecond)
	}
}
