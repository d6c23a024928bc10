package broker

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func FuzzHeader(f *testing.F) {
	f.Add([]byte{0, 3, 'a', 'b', 'c', 1, 2, 3}, false)
	f.Add([]byte{0xff, 0xff, 1, 5, 2, 1, 1, 9}, true)
	f.Fuzz(func(t *testing.T, b []byte, flexible bool) {
		var h header
		body, err := h.parseRest(b, flexible)
		if err == nil && len(body)+len(h.clientID)+2 > len(b) {
			t.Errorf("%d bytes of body and a client id of %d in %d bytes", len(body), len(h.clientID), len(b))
		}
	})
}

// What checkProduce takes, the decoder takes, and it names no more than the
// bound.
func FuzzCheckProduce(f *testing.F) {
	for version := int16(3); version <= 13; version++ {
		req := produceRequest("events", 0, -1, recordBatch("a"))
		req.SetVersion(version)
		f.Add(req.AppendTo(nil), version)
	}
	f.Fuzz(func(t *testing.T, b []byte, version int16) {
		if version < 3 || version > 13 || checkProduce(b, version) != nil {
			return
		}
		req := kmsg.NewPtrProduceRequest()
		req.SetVersion(version)
		if err := req.ReadFrom(b); err != nil {
			return
		}
		n := len(req.Topics)
		for _, topic := range req.Topics {
			n += len(topic.Partitions)
		}
		if n > maxProducePartitions {
			t.Errorf("%d topics and partitions", n)
		}
	})
}

// seedRequests returns one request of each kind and version, as clients with
// nothing to say send them.
func seedRequests(s *Server, each func(key, version int16, body []byte)) {
	for key, h := range s.table {
		for version := h.min; version <= h.max; version++ {
			req := kmsg.RequestForKey(key)
			req.SetVersion(version)
			each(key, version, req.AppendTo(nil))
		}
	}
	fetch, produce := fetchRequest("events", 0), produceRequest("events", 0, -1, recordBatch("a"))
	for _, req := range []kmsg.Request{fetch, produce} {
		for version := s.table[req.Key()].min; version <= 12; version++ {
			req.SetVersion(version)
			each(req.Key(), version, req.AppendTo(nil))
		}
	}
}

// Whatever a request says, the connection is answered or closed, and others
// are served.
func FuzzRequest(f *testing.F) {
	s, err := Start(f.Context(), Options{
		Dir: "log", FS: vfs.NewMem(), MaxRequestBytes: 1 << 20,
		// Ends the connection after the answer, and those that wait for others.
		IdleTimeout: 5 * time.Millisecond,
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { s.Close() })
	createTopic(f, s, "events", 1)
	seedRequests(s, func(key, version int16, body []byte) { f.Add(key, version, body) })
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		if len(body) > 1<<16 {
			return
		}
		frame := rawFrame(key, version, body...)
		if h := s.table[key]; h != nil && version >= h.min && version <= h.max {
			req := h.key.Request()
			req.SetVersion(version)
			if req.IsFlexible() {
				// No tags in the header.
				frame = rawFrame(key, version, append([]byte{0}, body...)...)
			}
		}
		nc, err := s.Dial(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		nc.SetDeadline(time.Now().Add(20 * time.Second))
		go nc.Write(frame)
		answered(t, nc)
	})
}

// answered reads until the connection is closed, as it is when it is idle.
func answered(t *testing.T, nc net.Conn) {
	b, err := io.ReadAll(io.LimitReader(nc, 64<<20))
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		t.Fatal("neither answered nor closed")
	}
	for len(b) >= 8 {
		n := int(binary.BigEndian.Uint32(b))
		if n < 4 || 4+n > len(b) {
			t.Fatalf("a frame of %d bytes with %d left", n, len(b)-4)
		}
		if !bytes.Equal(b[4:8], []byte{0, 0, 0, 1}) {
			t.Fatalf("response to request % x, which was not sent", b[4:8])
		}
		b = b[4+n:]
	}
	if len(b) != 0 {
		t.Fatalf("%d bytes of no frame", len(b))
	}
}
