package broker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus/testutil"
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

// Whatever a request says, the connection is answered or closed, and no
// handler panics.
func FuzzRequest(f *testing.F) {
	s, err := Start(f.Context(), Options{
		Dir: "log", FS: vfs.NewMem(), MaxRequestBytes: 1 << 20,
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
		go nc.Write(frame)
		nc.SetDeadline(time.Now().Add(20 * time.Millisecond))
		readFrame(t, nc)
		nc.Close()
		eventually(t, "the connection to end", func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.conns) == 0
		})
		if n := testutil.ToFloat64(s.metrics.panics); n > 0 {
			t.Fatal("a handler panicked")
		}
	})
}

// readFrame reads one response, if one comes: some requests wait, some have
// none, and some end the connection.
func readFrame(t *testing.T, nc net.Conn) {
	var head [8]byte
	if _, err := io.ReadFull(nc, head[:]); err != nil {
		return
	}
	n := int64(binary.BigEndian.Uint32(head[:])) - 4
	if n < 0 {
		t.Fatalf("a frame of % x", head[:4])
	}
	if !bytes.Equal(head[4:], []byte{0, 0, 0, 1}) {
		t.Fatalf("response to request % x, which was not sent", head[4:])
	}
	if _, err := io.CopyN(io.Discard, nc, n); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
}
