package api

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/credential"
)

// memoryHub is a hub without a log: the rules are device's own, the position
// grows with every change.
type memoryHub struct {
	mu      sync.Mutex
	devices map[device.Ref]*device.Document
	at      device.Position
	fail    error // answers every call, when set
	audits  []device.Audit
}

var _ Hub = (*memoryHub)(nil)

func newMemoryHub() *memoryHub {
	return &memoryHub{devices: map[device.Ref]*device.Document{}, at: device.Position{Partition: 3, Offset: 100, Time: testTime}}
}

func (h *memoryHub) get(ref device.Ref) (*device.Document, error) {
	if h.fail != nil {
		return nil, h.fail
	}
	d, ok := h.devices[ref]
	if !ok {
		return nil, ref.NotFound()
	}
	return d, nil
}

func (h *memoryHub) Identity(_ context.Context, ref device.Ref) (device.Entry, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	d, err := h.get(ref)
	if err != nil {
		return device.Entry{}, err
	}
	return d.Entry, nil
}

func (h *memoryHub) Identities(_ context.Context, after string, limit int) ([]device.Entry, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fail != nil {
		return nil, h.fail
	}
	var out []device.Entry
	for ref, d := range h.devices {
		if ref.Module == "" && ref.Device > after {
			out = append(out, d.Entry)
		}
	}
	slices.SortFunc(out, func(a, b device.Entry) int { return strings.Compare(a.Identity.DeviceID, b.Identity.DeviceID) })
	return out[:min(limit, len(out))], nil
}

func (h *memoryHub) Modules(_ context.Context, deviceID string) ([]device.Entry, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, err := h.get(device.Ref{Device: deviceID}); err != nil {
		return nil, err
	}
	var out []device.Entry
	for ref, d := range h.devices {
		if ref.Module != "" && ref.Device == deviceID {
			out = append(out, d.Entry)
		}
	}
	slices.SortFunc(out, func(a, b device.Entry) int { return strings.Compare(a.Identity.ModuleID, b.Identity.ModuleID) })
	return out, nil
}

func (h *memoryHub) PutIdentity(_ context.Context, c device.Change) (device.Entry, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fail != nil {
		return device.Entry{}, h.fail
	}
	h.audits = append(h.audits, c.Audit)
	h.at.Offset++
	h.at.Time = h.at.Time.Add(time.Second)
	var current *device.Identity
	d := h.devices[c.Wanted.Ref()]
	if c.Wanted.ModuleID != "" && h.devices[device.Ref{Device: c.Wanted.DeviceID}] == nil {
		return device.Entry{}, device.Ref{Device: c.Wanted.DeviceID}.NotFound()
	}
	if d != nil {
		current = &d.Identity
	}
	next, err := c.Apply(current, h.at)
	if err != nil {
		return device.Entry{}, err
	}
	if d == nil {
		d = &device.Document{Twin: device.NewTwin()}
		h.devices[next.Ref()] = d
	}
	d.Identity = next
	return d.Entry, nil
}

func (h *memoryHub) DeleteIdentity(_ context.Context, ref device.Ref, match string, a device.Audit) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	d, err := h.get(ref)
	if err != nil {
		return err
	}
	h.audits = append(h.audits, a)
	if err := d.Identity.Match(match); err != nil {
		return err
	}
	for other := range h.devices {
		if other == ref || ref.Module == "" && other.Device == ref.Device {
			delete(h.devices, other)
		}
	}
	return nil
}

func (h *memoryHub) Twin(_ context.Context, ref device.Ref) (device.Document, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	d, err := h.get(ref)
	if err != nil {
		return device.Document{}, err
	}
	return *d, nil
}

func (h *memoryHub) PatchTwin(_ context.Context, c device.TwinChange) (device.Document, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	d, err := h.get(c.Ref())
	if err != nil {
		return device.Document{}, err
	}
	h.audits = append(h.audits, c.Audit)
	if _, err := d.Twin.Apply(&c, testTime); err != nil {
		return device.Document{}, err
	}
	return *d, nil
}

func (h *memoryHub) Statistics(context.Context) (device.Statistics, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var n device.Statistics
	for ref, d := range h.devices {
		if ref.Module != "" {
			continue
		}
		n.Total++
		if d.Identity.Status == device.Disabled {
			n.Disabled++
		} else {
			n.Enabled++
		}
	}
	return n, h.fail
}

// policyMap is a fixed set of policies.
type policyMap map[string]credential.Policy

func (m policyMap) Policy(name string) (credential.Policy, bool) {
	p, ok := m[name]
	return p, ok
}

var testTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

const testHost = "hub.example.org"

// bench is a service and an admin handler over one memory hub.
type bench struct {
	t        *testing.T
	hub      *memoryHub
	policies policyMap
	service  *Service
}

// counter makes the "random" bytes of tests, for any goroutine.
type counter struct {
	mu sync.Mutex
	n  byte
}

func (c *counter) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range p {
		c.n++
		p[i] = c.n
	}
	return len(p), nil
}

func newBench(t *testing.T) *bench {
	t.Helper()
	random := new(counter)
	list, err := credential.BuiltinPolicies(random)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, hub: newMemoryHub(), policies: policyMap{}}
	for _, p := range list {
		b.policies[p.Name] = p
	}
	b.service, err = NewService(ServiceOptions{
		Hub: b.hub, Policies: b.policies, Sealer: testSealer(t), Hostnames: []string{"localhost", testHost},
		Now: func() time.Time { return testTime }, Random: random,
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func testSealer(t *testing.T) *credential.Sealer {
	t.Helper()
	s, err := credential.NewSealer(make([]byte, credential.HubKeyBytes), new(counter))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// token signs for a policy and a resource below the host.
func (b *bench) token(policy, resource string, life time.Duration) string {
	return credential.Sign(testHost+resource, testTime.Add(life), b.policies[policy].Keys.Primary, policy)
}

// do sends a request as iothubowner; header holds pairs of name and value that
// come on top. A path without query gets the api-version.
func (b *bench) do(method, path, body string, header ...string) *httptest.ResponseRecorder {
	b.t.Helper()
	if !strings.Contains(path, "?") {
		path += "?api-version=2021-04-12"
	}
	r := httptest.NewRequest(method, "https://"+testHost+path, strings.NewReader(body))
	r.Header.Set("Authorization", b.token("iothubowner", "", time.Hour))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	b.service.ServeHTTP(w, r)
	return w
}

// must is do for requests that succeed.
func (b *bench) must(status int, method, path, body string, header ...string) map[string]any {
	b.t.Helper()
	w := b.do(method, path, body, header...)
	if w.Code != status {
		b.t.Fatalf("%s %s: status %d, want %d: %s", method, path, w.Code, status, w.Body)
	}
	var out map[string]any
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
			b.t.Fatalf("%s %s: %v: %s", method, path, err, w.Body)
		}
	}
	return out
}

// wantError checks status, header and shape 1.
func wantError(t *testing.T, w *httptest.ResponseRecorder, status int, name string) {
	t.Helper()
	if w.Code != status || w.Header().Get("iothub-errorcode") != name {
		t.Fatalf("status %d %s, want %d %s: %s", w.Code, w.Header().Get("iothub-errorcode"), status, name, w.Body)
	}
	var body struct{ Message, ExceptionMessage string }
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	_, rest, _ := strings.Cut(body.Message, ":")
	code, _, _ := strings.Cut(rest, ";")
	if code != name || !strings.HasPrefix(body.ExceptionMessage, "Tracking ID:") {
		t.Fatalf("not shape 1 of %s: %s", name, w.Body)
	}
	if got := w.Header().Get("Content-Type"); got != jsonType {
		t.Fatalf("content type %q", got)
	}
}

var _ http.Handler = (*Service)(nil)
var _ http.Handler = (*Admin)(nil)
