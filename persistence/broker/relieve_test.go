package broker

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestClientsThatReadNothingDoNotStarveOthers(t *testing.T) {
	s := start(t, Options{MaxFetchBytes: 4 << 20, WriteTimeout: 8 * time.Second})
	createTopic(t, s, "events", 1, "max.message.bytes", "4000000")
	produce(t, s, "events", 0, string(make([]byte, 3_900_000)))
	for range 6 {
		w := dial(t, s)
		req := fetchRequest("events", 0)
		req.SetVersion(12)
		for range 4 {
			w.send(req)
		}
	}
	began := time.Now()
	got := partition(ask[*kmsg.FetchResponse](dial(t, s), fetchRequest("events", 0), 12), 0)
	if len(got.RecordBatches) < 3_900_000 {
		t.Errorf("got %d bytes", len(got.RecordBatches))
	}
	if d := time.Since(began); d > 15*time.Second {
		t.Errorf("it took %v", d)
	}
}

func TestRequestsThatDoNotArriveDoNotStarveOthers(t *testing.T) {
	s := start(t, Options{MaxRequestBytes: 4 << 20, MaxInflightBytes: 4 << 20, WriteTimeout: 8 * time.Second})
	createTopic(t, s, "events", 1)
	for range 8 {
		w := dial(t, s)
		b := binary.BigEndian.AppendUint32(nil, 4<<20)
		b = append(b, 0, 0, 0, 9, 0, 0, 0, 1)
		go w.nc.Write(append(b, make([]byte, 1<<20+1)...))
	}
	eventually(t, "the budget to be used up", func() bool {
		s.inflight.mu.Lock()
		defer s.inflight.mu.Unlock()
		return s.inflight.free < 0
	})
	produce(t, s, "events", 0, string(make([]byte, 500_000)))
}

func TestIdleConnectionsMakeRoomForOthers(t *testing.T) {
	s := start(t, Options{MaxConnections: 2, IdleTimeout: 2 * time.Second})
	createTopic(t, s, "events", 1)
	waiting := dial(t, s)
	fetch := fetchRequest("events", 0)
	fetch.MaxWaitMillis = 60_000
	fetch.SetVersion(12)
	waiting.send(fetch)
	idle := dial(t, s)
	ask[*kmsg.ApiVersionsResponse](idle, kmsg.NewPtrApiVersionsRequest(), 0)
	// The one that waits for an answer is not idle.
	produce(t, s, "events", 0, "a")
	idle.ended()
	waiting.receive(fetch)
}

func TestWhoWaitsForAnAnswerIsNotIdle(t *testing.T) {
	s := start(t, Options{IdleTimeout: 20 * time.Millisecond})
	createTopic(t, s, "events", 1)
	w := dial(t, s)
	fetch := fetchRequest("events", 0)
	fetch.MaxWaitMillis = 200
	if got := ask[*kmsg.FetchResponse](w, fetch, 12); got.ErrorCode != 0 {
		t.Errorf("got %+v", got)
	}
	w.ended()
}

func TestTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, Options{TLS: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}})
	roots := x509.NewCertPool()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots.AddCert(cert)
	cl := client(t, s, kgo.DialTLSConfig(&tls.Config{RootCAs: roots}))
	if err := cl.Ping(bounded(t)); err != nil {
		t.Fatal(err)
	}
	// Who does not speak it is turned away.
	plain := dial(t, s)
	plain.write(rawFrame(kmsg.ApiVersions.Int16(), 0))
	plain.ended()
}
