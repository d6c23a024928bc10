package devices

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/credential"
	"github.com/gemello/gemello/ingest"
	"github.com/gemello/gemello/ingest/mqtt"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testHub is a hub with a registry, reached over TLS like a real one: the MQTT
// server is the real one.
type testHub struct {
	rest  *httptest.Server
	mqtt  string
	owner credential.Policy
	close func()

	mu       sync.Mutex // guards the rest
	keys     map[string]credential.Keys
	sessions map[string]ingest.Session
	ready    map[string]bool // subscribed to methods
	answers  []string        // of methods
	connects int
	messages []message
	readOnly bool // the policy has no registry rights
	unacked  bool // no message is acknowledged
	waiting  int
	changed  *sync.Cond // of anything above
}

type message struct {
	device string
	body   []byte
	bag    string
}

const hubName = "127.0.0.1"

func newTestHub(t *testing.T) *testHub {
	t.Helper()
	h := &testHub{keys: make(map[string]credential.Keys), sessions: make(map[string]ingest.Session), ready: make(map[string]bool)}
	h.changed = sync.NewCond(&h.mu)
	keys, err := credential.NewKeys(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h.owner = credential.Policy{Name: "iothubowner", Permissions: credential.AllPermissions, Keys: keys}
	h.rest = httptest.NewTLSServer(http.HandlerFunc(h.serveREST))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.mqtt = l.Addr().String()
	server := mqtt.New(mqtt.Options{Hub: h, Limits: mqtt.Limits{FailureDelay: time.Millisecond}})
	served := make(chan error, 1)
	go func() { served <- server.ServeTLS(l, &tls.Config{Certificates: h.rest.TLS.Certificates}) }()
	h.close = sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		server.Shutdown(ctx)
		<-served
		h.rest.Close()
	})
	t.Cleanup(h.close)
	return h
}

func (h *testHub) options(t *testing.T, n int, rate float64) Options {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(h.rest.Certificate())
	return Options{
		Connection: credential.ConnectionString{HostName: hubName, KeyName: h.owner.Name, Key: h.owner.Keys.Primary},
		MQTT:       h.mqtt, HTTPS: h.rest.Listener.Addr().String(),
		TLS: &tls.Config{RootCAs: pool}, Devices: n, Rate: rate,
	}
}

func (h *testHub) serveREST(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	id := strings.TrimPrefix(r.URL.Path, "/devices/")
	token, err := credential.ParseToken(r.Header.Get("Authorization"))
	if err == nil {
		_, err = token.Verify(h.owner.Keys, time.Now(), 0)
	}
	if err != nil || r.URL.Query().Get("api-version") == "" {
		http.Error(w, fmt.Sprint(err), http.StatusUnauthorized)
		return
	}
	if h.readOnly {
		http.Error(w, "no right", http.StatusUnauthorized)
		return
	}
	_, exists := h.keys[id]
	switch {
	case r.Method == http.MethodPut && exists:
		http.Error(w, "exists", http.StatusConflict)
		return
	case r.Method == http.MethodPut:
		var body struct{ DeviceID string }
		if b, err := io.ReadAll(r.Body); err != nil || json.Unmarshal(b, &body) != nil || body.DeviceID != id {
			http.Error(w, "body", http.StatusBadRequest)
			return
		}
		h.keys[id], _ = credential.NewKeys(rand.Reader)
	case !exists:
		http.Error(w, "none", http.StatusNotFound)
		return
	}
	fmt.Fprintf(w, `{"deviceId":%q,"authentication":{"type":"sas","symmetricKey":{"primaryKey":%q}}}`, id, h.keys[id].Primary.Reveal())
}

// Connect admits a device with its own key, or with the owner's.
func (h *testHub) Connect(_ context.Context, c ingest.Credentials, s ingest.Session) (ingest.Link, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	token, err := credential.ParseToken(c.Token)
	if err != nil {
		return nil, ingest.ErrUnauthorized
	}
	keys := h.keys[c.DeviceID]
	if token.Policy != "" {
		keys = h.owner.Keys
	}
	if _, err := token.Verify(keys, time.Now(), 0); err != nil || token.Covers([]string{hubName}, "devices", c.DeviceID) != nil {
		return nil, ingest.ErrUnauthorized
	}
	h.connects++
	h.sessions[c.DeviceID] = s
	h.changed.Broadcast()
	return &testLink{hub: h, device: c.DeviceID}, nil
}

type testLink struct {
	hub    *testHub
	device string
}

func (l *testLink) ID() string         { return l.device }
func (l *testLink) Expires() time.Time { return time.Time{} }
func (l *testLink) Publish(m ingest.Message, done func(error)) {
	l.hub.mu.Lock()
	hold := l.hub.unacked
	if hold {
		l.hub.waiting++
	} else {
		l.hub.messages = append(l.hub.messages, message{l.device, m.Body, m.Bag})
	}
	l.hub.changed.Broadcast()
	l.hub.mu.Unlock()
	if !hold {
		done(nil)
	}
}
func (l *testLink) Twin(done func([]byte, error)) { done(nil, ingest.ErrInvalid) }
func (l *testLink) PatchReported(_ []byte, _ int64, done func(int64, error)) {
	done(0, ingest.ErrInvalid)
}
func (l *testLink) Settle(string, device.Outcome, func(error)) {}
func (l *testLink) MethodResponse(rid string, status int, body []byte) {
	l.hub.mu.Lock()
	defer l.hub.mu.Unlock()
	l.hub.answers = append(l.hub.answers, fmt.Sprint(rid, " ", status, " ", string(body)))
	l.hub.changed.Broadcast()
}
func (l *testLink) Ready(f ingest.Feature, on bool) {
	l.hub.mu.Lock()
	defer l.hub.mu.Unlock()
	l.hub.ready[l.device] = on && f == ingest.FeatureMethods
	l.hub.changed.Broadcast()
}
func (l *testLink) Close(ingest.Reason, *ingest.Message) {}

// wait blocks until a condition on the hub holds, which a test's own time-out
// ends if it never does.
func (h *testHub) wait(cond func() bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for !cond() {
		h.changed.Wait()
	}
}

// start runs a fleet until stop, which returns what Run returned.
func start(t *testing.T, o Options) (stop func() (Stats, error)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	type result struct {
		stats Stats
		err   error
	}
	done := make(chan result, 1)
	go func() {
		s, err := Run(ctx, o)
		done <- result{s, err}
	}()
	return func() (Stats, error) {
		cancel()
		r := <-done
		return r.stats, r.err
	}
}

func TestFleetCreatesConnectsAndSends(t *testing.T) {
	h := newTestHub(t)
	began := time.Now()
	stop := start(t, h.options(t, 50, 2000))
	h.wait(func() bool { return len(h.messages) >= 500 })
	if d := time.Since(began); d > 10*time.Second {
		t.Errorf("50 devices took %s to start", d)
	}
	stats, err := stop()
	if err != nil {
		t.Fatal(err)
	}
	if stats.Acked < 400 || stats.Connected != 50 || stats.Failed != 0 || stats.Reconnect != 0 {
		t.Errorf("stats %+v", stats)
	}
	last := make(map[string]int64)
	for _, m := range h.messages {
		var r struct {
			DeviceID string
			Seq      int64
		}
		if err := json.Unmarshal(m.body, &r); err != nil || r.DeviceID != m.device {
			t.Fatalf("%s sent %s", m.device, m.body)
		}
		if r.Seq != last[m.device]+1 {
			t.Fatalf("%s sent %d after %d", m.device, r.Seq, last[m.device])
		}
		last[m.device] = r.Seq
		if !strings.Contains(m.bag, "application%2Fjson") {
			t.Fatalf("bag %q", m.bag)
		}
	}
	if len(last) != 50 {
		t.Errorf("%d devices sent", len(last))
	}
}

func TestFleetTakesDevicesThatExist(t *testing.T) {
	h := newTestHub(t)
	for range 2 {
		stop := start(t, h.options(t, 3, 100))
		n := len(h.messages)
		h.wait(func() bool { return len(h.messages) > n+3 })
		if _, err := stop(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPolicyWithoutRegistryRightsSignsItself(t *testing.T) {
	h := newTestHub(t)
	h.readOnly = true
	stop := start(t, h.options(t, 2, 100))
	h.wait(func() bool { return len(h.messages) > 3 })
	if _, err := stop(); err != nil {
		t.Fatal(err)
	}
}

func TestOneDeviceWithItsOwnConnectionString(t *testing.T) {
	h := newTestHub(t)
	h.keys["mine"], _ = credential.NewKeys(rand.Reader)
	o := h.options(t, 1, 100)
	o.Connection = credential.ConnectionString{HostName: hubName, DeviceID: "mine", Key: h.keys["mine"].Primary}
	stop := start(t, o)
	h.wait(func() bool { return len(h.messages) > 3 })
	if _, err := stop(); err != nil || h.messages[0].device != "mine" {
		t.Fatal(err)
	}
}

func TestRefusedCredentialsEndTheRun(t *testing.T) {
	h := newTestHub(t)
	h.keys["mine"], _ = credential.NewKeys(rand.Reader)
	other, _ := credential.NewKey(rand.Reader)
	o := h.options(t, 1, 100)
	o.Connection = credential.ConnectionString{HostName: hubName, DeviceID: "mine", Key: other}
	if _, err := Run(t.Context(), o); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("error %v", err)
	}
}

func TestAHubThatIsNotThereIsNamed(t *testing.T) {
	h := newTestHub(t)
	o := h.options(t, 1, 1)
	h.close()
	if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), o.HTTPS) {
		t.Errorf("error %v", err)
	}
}

func TestLostConnectionsComeBack(t *testing.T) {
	h := newTestHub(t)
	stop := start(t, h.options(t, 4, 200))
	h.wait(func() bool { return len(h.messages) > 8 })
	h.mu.Lock()
	for _, s := range h.sessions {
		s.Close(ingest.ReasonTakenOver)
	}
	h.mu.Unlock()
	h.wait(func() bool { return h.connects == 8 })
	n := 0
	h.wait(func() bool {
		if n == 0 {
			n = len(h.messages)
		}
		return len(h.messages) > n+8
	})
	stats, err := stop()
	if err != nil || stats.Reconnect != 4 || stats.Connected != 4 {
		t.Errorf("stats %+v, %v", stats, err)
	}
}

func TestAHubThatDoesNotAcknowledgeGetsOneMessageADevice(t *testing.T) {
	h := newTestHub(t)
	h.unacked = true
	reported := make(chan Stats, 16)
	o := h.options(t, 3, 1000)
	o.ReportEvery = 100 * time.Millisecond
	o.Report = func(s Stats) {
		select {
		case reported <- s:
		default:
		}
	}
	stop := start(t, o)
	h.wait(func() bool { return h.waiting == 3 })
	for s := range reported {
		if s.Behind > 100 {
			break
		}
	}
	stats, err := stop()
	if err != nil || stats.Acked != 0 {
		t.Errorf("stats %+v, %v", stats, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	// A device that gave up waiting has connected again with the same message.
	if h.waiting < 3 || h.waiting > h.connects {
		t.Errorf("%d messages in flight on %d connections of 3 devices", h.waiting, h.connects)
	}
}

// A simulated device answers a method with what it was sent.
func TestSimulatedDevicesAnswerMethods(t *testing.T) {
	h := newTestHub(t)
	stop := start(t, h.options(t, 1, 100))
	h.wait(func() bool { return len(h.messages) > 0 && h.ready["sim-0001"] })
	h.mu.Lock()
	s := h.sessions["sim-0001"]
	h.mu.Unlock()
	if !s.Method("r1", "reboot", []byte(`{"a":1}`)) {
		t.Fatal("the device is not subscribed")
	}
	h.wait(func() bool { return len(h.answers) > 0 })
	if got := h.answers[0]; got != `r1 200 {"a":1}` {
		t.Errorf("answer %s", got)
	}
	if _, err := stop(); err != nil {
		t.Error(err)
	}
}
