package main

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gemello/gemello/actors"
	"github.com/gemello/gemello/api"
	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/credential"
	"github.com/gemello/gemello/ingest"
	"github.com/gemello/gemello/persistence/broker"
	"github.com/gemello/gemello/persistence/eventlog"
)

// hubRig is a node with a gateway in this process, on a log of its own.
type hubRig struct {
	t        *testing.T
	log      *eventlog.Log
	node     *actors.Node
	sealer   *credential.Sealer
	policies *policies
	gateway  *gateway
}

func newHubRig(t *testing.T) *hubRig {
	t.Helper()
	server, err := broker.Start(t.Context(), broker.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	log, err := eventlog.Open(t.Context(), eventlog.Options{Seeds: []string{server.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	node, err := actors.Start(t.Context(), actors.Options{
		Log: log, Cluster: joinCluster, Hub: "hub", Data: t.TempDir(), Partitions: 2,
		CommitEvery: 20 * time.Millisecond, Registerer: prometheus.NewRegistry(),
	}, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := node.Stop(ctx); err != nil {
			t.Error(err)
		}
		log.Close()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &hubRig{t: t, log: log, node: node}
	if r.sealer, err = credential.NewSealer(make([]byte, credential.HubKeyBytes), new(zeros)); err != nil {
		t.Fatal(err)
	}
	if r.policies, err = openPolicies(t.Context(), node, r.sealer, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	c := defaultThrottle()
	limiter, err := newLimiter(&c, nil)
	if err != nil {
		t.Fatal(err)
	}
	everybody := func(netip.Addr) bool { return true }
	r.gateway = newGateway(node, []string{"hub.example.org"}, r.policies, r.sealer, limiter, everybody, slog.New(slog.DiscardHandler))
	return r
}

// zeros is no randomness at all, which a test of sealing can do with.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func (r *hubRig) makeDevice(id string) {
	r.t.Helper()
	keys, err := credential.NewKeys(new(zeros))
	if err != nil {
		r.t.Fatal(err)
	}
	c := device.Change{Wanted: device.Identity{DeviceID: id, Status: device.Enabled, Auth: device.Auth{Type: device.AuthSAS}}, Audit: testAudit}
	if err := r.sealer.SealDevice(&c.Wanted, keys); err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.node.PutIdentity(r.t.Context(), c); err != nil {
		r.t.Fatal(err)
	}
}

var testAudit = device.Audit{Actor: "admin", Credential: "token", Address: "192.0.2.1:5", RequestID: "r1"}

// connect opens a session of a device with a token of a policy.
func (r *hubRig) connect(id, policy, slot string) (*fakeSession, ingest.Link, error) {
	r.t.Helper()
	p, ok := r.policies.Policy(policy)
	if !ok {
		r.t.Fatalf("no policy %s", policy)
	}
	key := p.Keys.Primary
	if slot == credential.Secondary {
		key = p.Keys.Secondary
	}
	s := &fakeSession{closed: make(chan ingest.Reason, 1)}
	l, err := r.gateway.Connect(r.t.Context(), ingest.Credentials{
		Protocol: "mqtt", DeviceID: id, Host: "hub.example.org", Remote: netip.MustParseAddrPort("192.0.2.7:4000"),
		Token: credential.Sign("hub.example.org/devices/"+id, time.Now().Add(time.Hour), key, policy),
	}, s)
	if err == nil {
		r.t.Cleanup(func() { l.Close(ingest.ReasonClient, nil) })
	}
	return s, l, err
}

type fakeSession struct {
	ingest.Session // what a test does not need

	once   sync.Once
	closed chan ingest.Reason
}

func (s *fakeSession) Close(r ingest.Reason) { s.once.Do(func() { s.closed <- r }) }

func (s *fakeSession) wantClosed(t *testing.T, want ingest.Reason) {
	t.Helper()
	select {
	case got := <-s.closed:
		if got != want {
			t.Errorf("closed for %s, want %s", got, want)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the session lives on")
	}
}

func (s *fakeSession) wantOpen(t *testing.T) {
	t.Helper()
	select {
	case got := <-s.closed:
		t.Fatalf("closed for %s", got)
	default:
	}
}

func TestPolicyChangesCutTheSessionsOfItsKeys(t *testing.T) {
	r := newHubRig(t)
	for _, id := range []string{"d1", "d2", "d3"} {
		r.makeDevice(id)
	}
	byPrimary, _, err := r.connect("d1", "device", credential.Primary)
	if err != nil {
		t.Fatal(err)
	}
	bySecondary, _, err := r.connect("d2", "device", credential.Secondary)
	if err != nil {
		t.Fatal(err)
	}
	byOwner, _, err := r.connect("d3", "iothubowner", credential.Primary)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.connect("d3", "service", credential.Primary); !errors.Is(err, ingest.ErrUnauthorized) {
		t.Errorf("a policy without DeviceConnect connected: %v", err)
	}
	if _, err := r.policies.Rotate(t.Context(), "device", credential.Primary, testAudit); err != nil {
		t.Fatal(err)
	}
	byPrimary.wantClosed(t, ingest.ReasonDisabled)
	bySecondary.wantOpen(t)
	if _, _, err := r.policies.Put(t.Context(), api.PolicyChange{Name: "device", Permissions: credential.RegistryRead}, testAudit); err != nil {
		t.Fatal(err)
	}
	bySecondary.wantClosed(t, ingest.ReasonDisabled)
	byOwner.wantOpen(t)
	if _, _, err := r.policies.Put(t.Context(), api.PolicyChange{Name: "second", Permissions: credential.AllPermissions, Create: true}, testAudit); err != nil {
		t.Fatal(err)
	}
	if err := r.policies.Delete(t.Context(), "iothubowner", testAudit); err != nil {
		t.Fatal(err)
	}
	byOwner.wantClosed(t, ingest.ReasonDisabled)
}

func TestPoliciesAreThoseOfTheSettings(t *testing.T) {
	r := newHubRig(t)
	ctx := t.Context()
	p, created, err := r.policies.Put(ctx, api.PolicyChange{Name: "backend", Permissions: credential.ServiceConnect}, testAudit)
	if err != nil || !created || p.Keys.Primary.IsZero() || p.Keys.Secondary.IsZero() {
		t.Fatalf("%v, %v, %v", p, created, err)
	}
	if _, _, err := r.policies.Put(ctx, api.PolicyChange{Name: "backend", Permissions: credential.ServiceConnect, Create: true}, testAudit); !errors.Is(err, api.ErrConflict) {
		t.Errorf("created twice: %v", err)
	}
	q, created, err := r.policies.Put(ctx, api.PolicyChange{Name: "backend", Permissions: credential.RegistryRead}, testAudit)
	if err != nil || created || q.Keys.Primary.Reveal() != p.Keys.Primary.Reveal() {
		t.Errorf("a change of permissions changed keys: %v, %v", created, err)
	}
	if q, err = r.policies.Rotate(ctx, "backend", credential.Secondary, testAudit); err != nil ||
		q.Keys.Primary.Reveal() != p.Keys.Primary.Reveal() || q.Keys.Secondary.Reveal() == p.Keys.Secondary.Reveal() {
		t.Errorf("rotate secondary: %v", err)
	}
	again, err := openPolicies(ctx, r.node, r.sealer, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := again.Policy("backend"); !ok || got.Keys.Secondary.Reveal() != q.Keys.Secondary.Reveal() || len(again.List()) != 6 {
		t.Errorf("another reader sees %v", again.List())
	}
	for what, err := range map[string]error{
		"last owner":    r.policies.Delete(ctx, "iothubowner", testAudit),
		"less of owner": errOf(r.policies.Put(ctx, api.PolicyChange{Name: "iothubowner", Permissions: credential.RegistryRead}, testAudit)),
	} {
		if !errors.Is(err, api.ErrConflict) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := r.policies.Delete(ctx, "nobody", testAudit); !errors.Is(err, api.ErrNoObject) {
		t.Errorf("unknown: %v", err)
	}
	for i := len(r.policies.List()); i < credential.MaxPolicies; i++ {
		if _, _, err := r.policies.Put(ctx, api.PolicyChange{Name: string(rune('a' + i)), Permissions: credential.RegistryRead}, testAudit); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := r.policies.Put(ctx, api.PolicyChange{Name: "seventeenth", Permissions: credential.RegistryRead}, testAudit); !errors.Is(err, device.ErrArgument) {
		t.Errorf("17 policies: %v", err)
	}
}

func errOf(_ credential.Policy, _ bool, err error) error { return err }
