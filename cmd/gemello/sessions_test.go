package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/credential"
	"github.com/gemello/gemello/ingest/mqtt"
	"github.com/gemello/gemello/internal/pki"
)

// make creates an identity; one with keys gets some.
func (r *hubRig) make(id device.Identity) { r.put(device.Change{Wanted: id}) }

func (r *hubRig) put(c device.Change) {
	r.t.Helper()
	c.Audit = testAudit
	if c.Wanted.Auth.Type == device.AuthSAS {
		if err := r.sealer.SealDevice(&c.Wanted, r.keys(c.Wanted.StatusReason)); err != nil {
			r.t.Fatal(err)
		}
	}
	if _, err := r.node.PutIdentity(r.t.Context(), c); err != nil {
		r.t.Fatal(err)
	}
}

// keys are made of a name: the same for the same one.
func (r *hubRig) keys(name string) credential.Keys {
	r.t.Helper()
	k, err := credential.NewKeys(io.MultiReader(strings.NewReader(strings.Repeat(name, 64)), new(zeros)))
	if err != nil {
		r.t.Fatal(err)
	}
	return k
}

// token is a device's or module's own, by the primary of keys(name).
func (r *hubRig) token(ref device.Ref, name string) string {
	resource := "hub.example.org/devices/" + ref.Device
	if ref.Module != "" {
		resource += "/modules/" + ref.Module
	}
	return credential.Sign(resource, time.Now().Add(time.Hour), r.keys(name).Primary, "")
}

// mqttGate is the hub's MQTT server with TLS on a port of its own.
type mqttGate struct {
	t    *testing.T
	addr string
}

func (r *hubRig) serveMQTT() *mqttGate {
	r.t.Helper()
	identity, err := pki.Open(pki.Options{Dir: r.t.TempDir(), Names: []string{"127.0.0.1"}})
	if err != nil {
		r.t.Fatal(err)
	}
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	gate := mqtt.New(mqtt.Options{Hub: r.gateway})
	served := make(chan error, 1)
	go func() { served <- gate.ServeTLS(socket, identity.TLSConfig()) }()
	r.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		gate.Shutdown(ctx)
		if err := <-served; !errors.Is(err, mqtt.ErrServerClosed) {
			r.t.Error(err)
		}
	})
	return &mqttGate{r.t, socket.Addr().String()}
}

// mqttClient speaks just enough MQTT 3.1.1 to be connected.
type mqttClient struct {
	t    *testing.T
	id   string
	conn *tls.Conn
	in   *bufio.Reader
}

// connect returns the code of the CONNACK.
func (m *mqttGate) connect(clientID, token string, shown *tls.Certificate) (*mqttClient, byte, error) {
	config := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12} //nolint:gosec // the server is this test
	if shown != nil {
		config.Certificates = []tls.Certificate{*shown}
	}
	dialer := tls.Dialer{Config: config, NetDialer: &net.Dialer{Timeout: 10 * time.Second}}
	conn, err := dialer.DialContext(m.t.Context(), "tcp", m.addr)
	if err != nil {
		return nil, 0, err
	}
	c := &mqttClient{m.t, clientID, conn.(*tls.Conn), bufio.NewReader(conn)}
	text := func(b []byte, s string) []byte { return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...) }
	flags := "\x82" // a user name, a clean session
	if token != "" {
		flags = "\xc2"
	}
	body := text([]byte("\x00\x04MQTT\x04"+flags+"\x00\x3c"), clientID)
	body = text(body, "hub.example.org/"+clientID+"/?api-version=2021-04-12")
	if token != "" {
		body = text(body, token)
	}
	packet := append(binary.AppendUvarint([]byte{0x10}, uint64(len(body))), body...)
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := conn.Write(packet); err != nil {
		conn.Close()
		return nil, 0, err
	}
	answer := make([]byte, 4)
	if _, err := io.ReadFull(c.in, answer); err != nil {
		conn.Close()
		return nil, 0, err
	}
	if answer[0] != 0x20 {
		conn.Close()
		return nil, 0, fmt.Errorf("answer %x", answer)
	}
	return c, answer[3], nil
}

func (m *mqttGate) admitted(clientID, token string, shown *tls.Certificate) *mqttClient {
	m.t.Helper()
	c, code, err := m.connect(clientID, token, shown)
	if err != nil || code != 0 {
		m.t.Fatalf("%s: code %d, %v", clientID, code, err)
	}
	m.t.Cleanup(func() { c.conn.Close() })
	return c
}

func (m *mqttGate) refused(clientID, token string, shown *tls.Certificate) {
	m.t.Helper()
	c, code, err := m.connect(clientID, token, shown)
	if err != nil || code != 5 {
		m.t.Errorf("%s: code %d, %v; want 5", clientID, code, err)
	}
	if c != nil {
		c.conn.Close()
	}
}

// cut waits for the server to end the connection, at most the second that the hub
// promises and what a busy machine adds.
func (c *mqttClient) cut() {
	c.t.Helper()
	c.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	began := time.Now()
	var timeout net.Error
	if b, err := c.in.ReadByte(); err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		c.t.Fatalf("%s: the connection lives on: %x, %v", c.id, b, err)
	}
	if d := time.Since(began); d > time.Second {
		c.t.Errorf("%s: cut after %s", c.id, d)
	}
}

// open asks for a sign of life.
func (c *mqttClient) open() {
	c.t.Helper()
	c.conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.conn.Write([]byte{0xc0, 0}); err != nil {
		c.t.Fatalf("%s: %v", c.id, err)
	}
	answer := make([]byte, 2)
	if _, err := io.ReadFull(c.in, answer); err != nil || answer[0] != 0xd0 {
		c.t.Fatalf("%s: %x, %v", c.id, answer, err)
	}
}

// Whoever loses the right to be connected loses the connection within a second,
// whatever the session was admitted by.
func TestLiveConnectionsAreCut(t *testing.T) {
	r := newHubRig(t)
	m := r.serveMQTT()
	policy, ok := r.policies.Policy("device")
	if !ok {
		t.Fatal("no policy device")
	}
	byPolicy := func(ref device.Ref) string {
		return credential.Sign("hub.example.org", time.Now().Add(time.Hour), policy.Keys.Primary, "device")
	}
	byKey := func(ref device.Ref) string { return r.token(ref, "old") }
	change := func(ref device.Ref, status device.Status, keys string) {
		r.put(device.Change{IfMatch: "*", Wanted: device.Identity{DeviceID: ref.Device, ModuleID: ref.Module, Status: status, StatusReason: keys}})
	}
	remove := func(ref device.Ref) {
		if err := r.node.DeleteIdentity(t.Context(), ref, "", testAudit); err != nil {
			t.Fatal(err)
		}
	}
	for i, tt := range []struct {
		rule         string
		module       bool
		token        func(device.Ref) string
		act          func(device.Ref)
		ends         bool
		againRefused bool
	}{
		{"a disabled device, by its key", false, byKey, func(r device.Ref) { change(r, device.Disabled, "old") }, true, true},
		{"a disabled device, by a policy", false, byPolicy, func(r device.Ref) { change(r, device.Disabled, "old") }, true, true},
		{"a deleted device, by its key", false, byKey, remove, true, true},
		{"a deleted device, by a policy", false, byPolicy, remove, true, true},
		{"a re-keyed device, by its key", false, byKey, func(r device.Ref) { change(r, device.Enabled, "new") }, true, true},
		{"a re-keyed device, by a policy, stays", false, byPolicy, func(r device.Ref) { change(r, device.Enabled, "new") }, false, false},
		{"a device of which another thing changed stays", false, byKey, func(r device.Ref) { change(r, device.Enabled, "old") }, false, false},
		{"a device deleted and made again, by a policy", false, byPolicy, func(ref device.Ref) {
			remove(ref)
			r.make(device.Identity{DeviceID: ref.Device, StatusReason: "old"})
		}, true, false},
		{"a module of a disabled device", true, byKey, func(r device.Ref) { change(device.Ref{Device: r.Device}, device.Disabled, "old") }, true, true},
		{"a module of a disabled device, by a policy", true, byPolicy, func(r device.Ref) { change(device.Ref{Device: r.Device}, device.Disabled, "old") }, true, true},
		{"a module of a deleted device", true, byKey, func(r device.Ref) { remove(device.Ref{Device: r.Device}) }, true, true},
		{"a deleted module", true, byKey, remove, true, true},
		{"a deleted module, by a policy", true, byPolicy, remove, true, true},
		{"a re-keyed module", true, byKey, func(r device.Ref) { change(r, device.Enabled, "new") }, true, true},
		{"a module of a re-keyed device stays", true, byKey, func(r device.Ref) { change(device.Ref{Device: r.Device}, device.Enabled, "new") }, false, false},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			m := &mqttGate{t, m.addr}
			ref := device.Ref{Device: fmt.Sprintf("d%d", i)}
			r.make(device.Identity{DeviceID: ref.Device, StatusReason: "old"})
			if tt.module {
				ref.Module = "m"
				r.make(device.Identity{DeviceID: ref.Device, ModuleID: "m", StatusReason: "old"})
			}
			c := m.admitted(ref.String(), tt.token(ref), nil)
			tt.act(ref)
			if tt.ends {
				c.cut()
			} else {
				c.open()
			}
			if tt.againRefused {
				m.refused(ref.String(), tt.token(ref), nil)
			} else {
				m.admitted(ref.String(), tt.token(ref), nil)
			}
		})
	}
}

// A device that connects as fast as it can takes only what is its own: the others
// get in, keep their connections and are answered, and what the node keeps of the
// storm is gone with it.
func TestAReconnectStormHurtsNobodyElse(t *testing.T) {
	r := newHubRig(t)
	m := r.serveMQTT()
	for _, id := range []string{"storm", "calm", "late"} {
		r.make(device.Identity{DeviceID: id, StatusReason: "old"})
	}
	calm := m.admitted("calm", r.token(device.Ref{Device: "calm"}, "old"), nil)
	token := r.token(device.Ref{Device: "storm"}, "old")
	var storm sync.WaitGroup
	var mu sync.Mutex
	codes := map[byte]int{}
	var open []*mqttClient
	for range 4 {
		storm.Go(func() {
			for range 60 {
				c, code, err := m.connect("storm", token, nil)
				mu.Lock()
				if err == nil {
					codes[code]++
					open = append(open, c)
				}
				mu.Unlock()
			}
		})
	}
	for range 20 {
		calm.open()
	}
	late := m.admitted("late", r.token(device.Ref{Device: "late"}, "old"), nil)
	late.open()
	if _, err := r.node.Twin(t.Context(), device.Ref{Device: "calm"}); err != nil {
		t.Error(err)
	}
	storm.Wait()
	calm.open()
	for _, c := range open {
		c.conn.Close()
	}
	if codes[0] == 0 || codes[0] > 120 || codes[3] == 0 || len(codes) != 2 {
		t.Errorf("answers to the storm by code: %v; want up to 120 accepted, the rest told to wait", codes)
	}
	// The last of its sessions ends; the others are untouched.
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for ; ; <-tick.C {
		d, err := r.node.Identity(t.Context(), device.Ref{Device: "storm"})
		if err != nil {
			t.Fatal(err)
		}
		if !d.Presence.Connected {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the storm's last session never ended")
		}
	}
	if s, err := r.node.Statistics(t.Context()); err != nil || s.Connected != 2 {
		t.Errorf("%d connected, %v; want calm and late", s.Connected, err)
	}
}
