package broker

import (
	"bytes"
	"encoding/binary"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// rawFrame is a frame of a request header v1 and a body.
func rawFrame(key, version int16, body ...byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(10+len(body)))
	b = binary.BigEndian.AppendUint16(b, uint16(key))
	b = binary.BigEndian.AppendUint16(b, uint16(version))
	b = append(b, 0, 0, 0, 1, 0xff, 0xff)
	return append(b, body...)
}

func TestWhatMakesNoSenseEndsTheConnection(t *testing.T) {
	s := start(t, Options{MaxRequestBytes: 1 << 20})
	for name, b := range map[string][]byte{
		"unknown key":             rawFrame(999, 0),
		"negative key":            rawFrame(-1, 0),
		"request of brokers":      rawFrame(kmsg.LeaderAndISR.Int16(), 0),
		"version to come":         rawFrame(kmsg.Metadata.Int16(), 99),
		"negative version":        rawFrame(kmsg.Metadata.Int16(), -1),
		"version gone":            rawFrame(kmsg.Produce.Int16(), 2),
		"body cut off":            rawFrame(kmsg.Metadata.Int16(), 1, 0, 0, 0, 1, 0, 9, 'a'),
		"absurd count":            rawFrame(kmsg.Metadata.Int16(), 1, 0x7f, 0xff, 0xff, 0xff),
		"header cut off":          {0, 0, 0, 8, 0, 3, 0, 1, 0, 0, 0, 1},
		"size of nothing":         {0, 0, 0, 0, 0, 3, 0, 1, 0, 0, 0, 1},
		"negative size":           {0xff, 0xff, 0xff, 0xff, 0, 3, 0, 1, 0, 0, 0, 1},
		"too large to produce":    {0, 0x20, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1},
		"too large for the rest":  {0, 2, 0, 0, 0, 3, 0, 9, 0, 0, 0, 1},
		"another protocol":        []byte("GET / HTTP/1.1\r\nHost: log\r\n\r\n"),
		"absurd tags in a header": {0, 0, 0, 16, 0, 3, 0, 12, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := dial(t, s)
			w.write(b)
			if n := w.ended(); n != 0 {
				t.Errorf("%d bytes came", n)
			}
		})
	}
	// Others are served as before.
	if got := ask[*kmsg.ApiVersionsResponse](dial(t, s), kmsg.NewPtrApiVersionsRequest(), 0); got.ErrorCode != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestApiVersions(t *testing.T) {
	s := start(t, Options{})
	w := dial(t, s)
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "wire", "1.0"
	for version := int16(0); version <= 4; version++ {
		got := ask[*kmsg.ApiVersionsResponse](w, req, version)
		if got.ErrorCode != 0 || len(got.ApiKeys) != len(s.table) {
			t.Errorf("version %d: got %+v", version, got)
		}
	}
	// A version to come is answered in version 0 with what there is.
	w.write(rawFrame(kmsg.ApiVersions.Int16(), 77, 1, 2, 3))
	old := kmsg.NewPtrApiVersionsRequest()
	old.SetVersion(0)
	if got := w.receive(old).(*kmsg.ApiVersionsResponse); got.ErrorCode != kerr.UnsupportedVersion.Code || len(got.ApiKeys) == 0 {
		t.Errorf("got %+v", got)
	}
	req.ClientSoftwareName = "-wire"
	if got := ask[*kmsg.ApiVersionsResponse](w, req, 3); got.ErrorCode != kerr.InvalidRequest.Code {
		t.Errorf("got %+v", got)
	}
}

func TestRequestsArriveInPieces(t *testing.T) {
	s := start(t, Options{})
	createTopic(t, s, "events", 1)
	w := dial(t, s)
	// Larger than what room is made for at first.
	req := produceRequest("events", 0, -1, recordBatch(string(make([]byte, 900_000))))
	req.SetVersion(9)
	b := w.append(nil, req)
	for len(b) > 0 {
		n := min(len(b), 100_001)
		w.write(b[:n])
		b = b[n:]
	}
	if got := produced(t, w.receive(req).(*kmsg.ProduceResponse)); got.ErrorCode != 0 {
		t.Errorf("got %v", kerr.ErrorForCode(got.ErrorCode))
	}
	versions := w.append(nil, kmsg.NewPtrApiVersionsRequest())
	for _, c := range versions {
		w.write([]byte{c})
	}
	w.frame()
}

func TestClientThatReadsNothingIsCutOff(t *testing.T) {
	s := start(t, Options{WriteTimeout: 50 * time.Millisecond})
	createTopic(t, s, "events", 1)
	produce(t, s, "events", 0, string(bytes.Repeat([]byte("x"), 200_000)))
	w := dial(t, s)
	req := fetchRequest("events", 0)
	req.SetVersion(12)
	frame := w.append(nil, req)
	eventually(t, "the connection to be cut off", func() bool {
		w.nc.SetWriteDeadline(time.Now().Add(15 * time.Second))
		_, err := w.nc.Write(frame)
		if ne, ok := err.(net.Error); ok && ne.Timeout() {
			t.Fatal("the connection is open")
		}
		return err != nil
	})
	eventually(t, "its memory to come back", func() bool {
		s.fetches.mu.Lock()
		defer s.fetches.mu.Unlock()
		return s.fetches.free == s.opts.MaxFetchBytes
	})
}

func TestConnectionThatAsksNothingIsEnded(t *testing.T) {
	s := start(t, Options{IdleTimeout: 20 * time.Millisecond})
	w := dial(t, s)
	w.ended()
}

func TestConnectionsAboveTheLimitWait(t *testing.T) {
	s := start(t, Options{MaxConnections: 1})
	first := dial(t, s)
	ask[*kmsg.ApiVersionsResponse](first, kmsg.NewPtrApiVersionsRequest(), 0)
	second := dial(t, s)
	second.send(kmsg.NewPtrApiVersionsRequest())
	second.nc.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
	if _, err := second.nc.Read(make([]byte, 1)); err == nil || !err.(net.Error).Timeout() {
		t.Errorf("the second connection was served: %v", err)
	}
	first.nc.Close()
	second.nc.SetReadDeadline(time.Now().Add(20 * time.Second))
	second.frame()
}
