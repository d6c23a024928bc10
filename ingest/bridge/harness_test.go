package bridge

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"
	"github.com/gemello/gemello/ingest"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

// broker is a mosquitto whose sessions outlive it.
type broker struct {
	t     testing.TB
	port  string
	dir   string
	extra string
	proc  *os.Process
}

func newBroker(t testing.TB, extra string) *broker {
	t.Helper()
	if _, err := exec.LookPath("mosquitto"); err != nil {
		if _, err := os.Stat("/usr/sbin/mosquitto"); err != nil {
			t.Skip("mosquitto is not installed; apt-get install mosquitto")
		}
	}
	if _, err := os.Stat("/proc/net/tcp"); err != nil {
		t.Skip("test/mosquitto.sh needs Linux")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	b := &broker{t: t, port: port, dir: t.TempDir()}
	if extra != "" {
		b.extra = filepath.Join(b.dir, "extra.conf")
		if err := os.WriteFile(b.extra, []byte(extra), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b.start()
	t.Cleanup(b.stop)
	return b
}

func (b *broker) start() {
	b.t.Helper()
	out, err := exec.Command("../../test/mosquitto.sh", b.port, b.dir, b.extra).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			b.t.Fatalf("%v: %s", err, exit.Stderr)
		}
		b.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		b.t.Fatal(err)
	}
	if b.proc, err = os.FindProcess(pid); err != nil {
		b.t.Fatal(err)
	}
}

// stop ends the broker in order, which writes its sessions to disk.
func (b *broker) stop() {
	b.t.Helper()
	if b.proc == nil {
		return
	}
	if err := b.proc.Signal(os.Interrupt); err != nil {
		b.t.Error(err)
	}
	// The script's child is not ours to wait for; its end shows at the port.
	eventually(b.t, "the broker ends", func() bool {
		c, err := net.Dial("tcp", "127.0.0.1:"+b.port)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	b.proc = nil
}

func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("timed out waiting until %s", what)
		}
	}
}

// publish sends texts with QoS 1, one after the other.
func (b *broker) publish(topic string, texts ...string) {
	b.t.Helper()
	u, _ := url.Parse("mqtt://127.0.0.1:" + b.port)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	m, err := autopaho.NewConnection(ctx, autopaho.ClientConfig{
		ServerUrls:   []*url.URL{u},
		KeepAlive:    30,
		ClientConfig: paho.ClientConfig{ClientID: "publisher"},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	defer m.Disconnect(ctx)
	if err := m.AwaitConnection(ctx); err != nil {
		b.t.Fatal(err)
	}
	for _, text := range texts {
		if _, err := m.Publish(ctx, &paho.Publish{Topic: topic, QoS: 1, Payload: []byte(text)}); err != nil {
			b.t.Fatal(err)
		}
	}
}

// appended is a message with the call that answers for it.
type appended struct {
	device, text string
	done         func(error)
}

// fakeLog hands each message to the test, which answers for it.
type fakeLog chan appended

func (l fakeLog) Publish(id string, m ingest.Message, done func(error)) {
	l <- appended{id, string(m.Body), done}
}

func (l fakeLog) take(t *testing.T) appended {
	t.Helper()
	select {
	case a := <-l:
		return a
	case <-time.After(patience):
		t.Fatal("no message came")
		return appended{}
	}
}

// takeAll answers for n messages with nil and returns their texts.
func (l fakeLog) takeAll(t *testing.T, n int) []string {
	t.Helper()
	var texts []string
	for range n {
		a := l.take(t)
		a.done(nil)
		texts = append(texts, a.text)
	}
	return texts
}

// readyLog acknowledges at once.
type readyLog chan string

func (l readyLog) Publish(_ string, m ingest.Message, done func(error)) {
	l <- string(m.Body)
	done(nil)
}

// run starts a bridge and waits until it is subscribed. stop ends it.
func (b *broker) run(log Appender, change func(*Options)) (br *Bridge, stop func()) {
	b.t.Helper()
	o := options()
	o.Broker = "mqtt://127.0.0.1:" + b.port
	o.Appender = log
	o.RetryMin, o.RetryMax = time.Millisecond, 10*time.Millisecond
	if change != nil {
		change(&o)
	}
	br, stop = start(b.t, o)
	eventually(b.t, "the bridge is subscribed", func() bool { return testutil.ToFloat64(br.metrics.connected) == 1 })
	return br, stop
}

func start(t testing.TB, o Options) (br *Bridge, stop func()) {
	t.Helper()
	br, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- br.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return br, stop
}

func numbers(from, to int) []string {
	var out []string
	for i := from; i < to; i++ {
		out = append(out, strconv.Itoa(i))
	}
	return out
}

// pki writes a CA and a pair for 127.0.0.1 that both sides use.
func pki(t *testing.T) (ca, cert, key string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	issue := func(serial int64, isCA bool, parent *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey, []byte) {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		c := &x509.Certificate{
			SerialNumber:          big.NewInt(serial),
			Subject:               pkix.Name{CommonName: fmt.Sprint("test ", serial)},
			NotBefore:             time.Now().Add(-time.Hour),
			NotAfter:              time.Now().Add(time.Hour),
			IsCA:                  isCA,
			BasicConstraintsValid: true,
			KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
			ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
			IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		}
		if parent == nil {
			parent, by = c, k
		}
		der, err := x509.CreateCertificate(rand.Reader, c, parent, &k.PublicKey, by)
		if err != nil {
			t.Fatal(err)
		}
		return c, k, der
	}
	root, rootKey, rootDER := issue(1, true, nil, nil)
	_, leafKey, leafDER := issue(2, false, root, rootKey)
	keyDER, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		t.Fatal(err)
	}
	return write("ca.pem", "CERTIFICATE", rootDER), write("cert.pem", "CERTIFICATE", leafDER), write("key.pem", "PRIVATE KEY", keyDER)
}
