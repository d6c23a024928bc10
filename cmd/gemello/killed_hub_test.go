package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/credential"
)

// testWithin bounds what a test waits for: a machine may be slow.
const testWithin = 60 * time.Second

// killedHub is a node as a process of its own, which can be killed at once.
type killedHub struct {
	t    *testing.T
	data string
	http *http.Client

	mu    sync.Mutex // guards the following
	cmd   *exec.Cmd
	info  *runInfo
	token string
}

// startKilledHub starts a node that ends with the test.
func startKilledHub(t *testing.T) *killedHub {
	t.Helper()
	h := &killedHub{t: t, data: filepath.Join(t.TempDir(), "data"), http: &http.Client{Timeout: testWithin, Transport: &http.Transport{MaxIdleConnsPerHost: 32}}}
	h.start()
	t.Cleanup(func() {
		h.kill()
		h.http.CloseIdleConnections()
	})
	return h
}

func (h *killedHub) start() {
	h.t.Helper()
	if err := os.Remove(filepath.Join(h.data, runFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		h.t.Fatal(err)
	}
	log, err := os.OpenFile(h.data+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		h.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(os.Args[0], "serve", "--data", h.data, "--logging.level", "warn", "--log.partitions", "2", "--commit.interval", "50ms", "--log.listen", "127.0.0.1:0",
		"--listeners.mqtts", "127.0.0.1:0", "--listeners.mqtt", "127.0.0.1:0", "--listeners.https", "127.0.0.1:0", "--listeners.admin", "127.0.0.1:0")
	cmd.Env = append(os.Environ(), programEnv+"=1")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.mu.Lock()
	h.cmd = cmd
	h.mu.Unlock()
	info := awaitNode(h.t, h.data)
	token, err := os.ReadFile(info.TokenFile)
	if err != nil {
		h.t.Fatal(err)
	}
	h.mu.Lock()
	h.info, h.token = info, strings.TrimSpace(string(token))
	h.mu.Unlock()
}

// kill ends the process at once.
func (h *killedHub) kill() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cmd != nil {
		_ = h.cmd.Process.Kill() // it may have ended by itself
		_ = h.cmd.Wait()         // which says that it was killed
		h.cmd = nil
	}
}

func (h *killedHub) at() (*runInfo, string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.info, h.token
}

// ask sends a request to the admin interface once. The error is that of a node
// that is away.
func (h *killedHub) ask(method, path string, body any, header ...string) (status int, answer []byte, got http.Header, err error) {
	h.t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		h.t.Fatal(err)
	}
	info, token := h.at()
	r, err := http.NewRequestWithContext(h.t.Context(), method, info.Admin+"/api/v1"+path, bytes.NewReader(b))
	if err != nil {
		return 0, nil, nil, err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := h.http.Do(r)
	if err != nil {
		return 0, nil, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, answer, resp.Header, err
}

// must is ask for requests that are answered with 2xx, once the partition has a
// core.
func (h *killedHub) must(method, path string, body, out any, header ...string) http.Header {
	h.t.Helper()
	var status int
	var answer []byte
	var got http.Header
	var err error
	for deadline := time.Now().Add(testWithin); ; <-time.After(10 * time.Millisecond) {
		status, answer, got, err = h.ask(method, path, body, header...)
		if status != http.StatusServiceUnavailable || time.Now().After(deadline) {
			break
		}
	}
	if err != nil || status < 200 || status > 299 {
		h.t.Fatalf("%s %s: %d %s %v", method, path, status, answer, err)
	}
	if out != nil {
		if err := json.Unmarshal(answer, out); err != nil {
			h.t.Fatalf("%s %s: %v: %s", method, path, err, answer)
		}
	}
	return got
}

// make makes a device, or a module of one, and returns its key.
func (h *killedHub) make(ref device.Ref) credential.Key {
	h.t.Helper()
	path, body := "/devices/"+ref.Device, map[string]any{"deviceId": ref.Device, "status": "enabled"}
	if ref.Module != "" {
		path, body = path+"/modules/"+ref.Module, map[string]any{"deviceId": ref.Device, "moduleId": ref.Module}
	}
	body["authentication"] = map[string]any{"type": "sas", "symmetricKey": map[string]string{"primaryKey": "", "secondaryKey": ""}}
	var made struct {
		Authentication struct {
			SymmetricKey struct{ PrimaryKey string }
		}
	}
	h.must("PUT", path, body, &made)
	key, err := credential.ParseKey(made.Authentication.SymmetricKey.PrimaryKey)
	if err != nil {
		h.t.Fatal(err)
	}
	return key
}

// rows answers a query.
func (h *killedHub) rows(text string) (rows []map[string]any) {
	h.t.Helper()
	h.must("POST", "/query", map[string]string{"query": text}, &rows, "x-ms-max-item-count", "1000")
	return rows
}

// client is the connection of a device or module.
type client struct {
	t       *testing.T
	ref     device.Ref
	mqtt    *paho.Client
	answers chan twinAnswer
	desired chan map[string]any // notifications
	rid     int
}

type twinAnswer struct {
	topic string
	body  map[string]any
}

// connect opens a connection that hears of desired properties, once the partition
// has a core.
func (h *killedHub) connect(ref device.Ref, key credential.Key) *client {
	h.t.Helper()
	for deadline := time.Now().Add(testWithin); ; <-time.After(10 * time.Millisecond) {
		c, err := h.dial(ref, key)
		if err == nil {
			return c
		}
		if time.Now().After(deadline) {
			h.t.Fatal(err)
		}
	}
}

func (h *killedHub) dial(ref device.Ref, key credential.Key) (*client, error) {
	info, _ := h.at()
	conn, err := (&net.Dialer{Timeout: testWithin}).DialContext(h.t.Context(), "tcp", info.Listen["mqtt"][0])
	if err != nil {
		return nil, err
	}
	c := &client{t: h.t, ref: ref, answers: make(chan twinAnswer, 16), desired: make(chan map[string]any, 256)}
	c.mqtt = paho.NewClient(paho.ClientConfig{
		ClientID: ref.String(), Conn: packets.NewThreadSafeConn(conn), PacketTimeout: testWithin,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){c.hear},
	})
	resource := info.Hostnames[0] + "/devices/" + ref.Device
	if ref.Module != "" {
		resource += "/modules/" + ref.Module
	}
	ctx, cancel := context.WithTimeout(h.t.Context(), testWithin)
	defer cancel()
	if _, err := c.mqtt.Connect(ctx, &paho.Connect{
		ClientID: ref.String(), KeepAlive: 60, CleanStart: true,
		Username: info.Hostnames[0] + "/" + ref.String() + "/?api-version=2021-04-12", UsernameFlag: true,
		Password: []byte(credential.Sign(resource, time.Now().Add(time.Hour), key, "")), PasswordFlag: true,
	}); err != nil {
		conn.Close()
		return nil, fmt.Errorf("connect %s: %w", ref, err)
	}
	if _, err := c.mqtt.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{
		{Topic: "$iothub/twin/res/#"}, {Topic: "$iothub/twin/PATCH/properties/desired/#"},
	}}); err != nil {
		c.close()
		return nil, fmt.Errorf("subscribe %s: %w", ref, err)
	}
	return c, nil
}

func (c *client) hear(m paho.PublishReceived) (bool, error) {
	var body map[string]any
	if len(m.Packet.Payload) > 0 {
		if err := json.Unmarshal(m.Packet.Payload, &body); err != nil {
			c.t.Errorf("%s: %v", m.Packet.Topic, err)
		}
	}
	if strings.HasPrefix(m.Packet.Topic, "$iothub/twin/res/") {
		c.answers <- twinAnswer{m.Packet.Topic, body}
	} else {
		c.desired <- body
	}
	return true, nil
}

func (c *client) publish(topic string, qos byte, body string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), testWithin)
	defer cancel()
	if _, err := c.mqtt.Publish(ctx, &paho.Publish{QoS: qos, Topic: topic, Payload: []byte(body)}); err != nil {
		c.t.Fatalf("publish %s of %s: %v", topic, c.ref, err)
	}
}

// send sends telemetry and waits for its acknowledgement.
func (c *client) send(body string) {
	c.t.Helper()
	place := "devices/" + c.ref.Device
	if c.ref.Module != "" {
		place += "/modules/" + c.ref.Module
	}
	c.publish(place+"/messages/events/", 1, body)
}

// answered waits for the answer of the request that was published last.
func (c *client) answered(status string) twinAnswer {
	c.t.Helper()
	select {
	case a := <-c.answers:
		if !strings.HasPrefix(a.topic, "$iothub/twin/res/"+status+"/?$rid="+fmt.Sprint(c.rid)) {
			c.t.Fatalf("%s is answered with %s %v", c.ref, a.topic, a.body)
		}
		return a
	case <-time.After(testWithin):
		c.t.Fatalf("%s gets no answer", c.ref)
	}
	return twinAnswer{}
}

// twin reads the twin.
func (c *client) twin() (desired, reported map[string]any) {
	c.t.Helper()
	c.rid++
	c.publish(fmt.Sprintf("$iothub/twin/GET/?$rid=%d", c.rid), 0, "")
	a := c.answered("200")
	desired, _ = a.body["desired"].(map[string]any)
	reported, _ = a.body["reported"].(map[string]any)
	return desired, reported
}

// report patches reported properties and waits for the answer.
func (c *client) report(patch string) {
	c.t.Helper()
	c.rid++
	c.publish(fmt.Sprintf("$iothub/twin/PATCH/properties/reported/?$rid=%d", c.rid), 0, patch)
	c.answered("204")
}

// change waits for the next notification.
func (c *client) change() map[string]any {
	c.t.Helper()
	select {
	case d := <-c.desired:
		return d
	case <-c.mqtt.Done():
		c.t.Fatalf("%s has lost its connection", c.ref)
	case <-time.After(testWithin):
		c.t.Fatalf("%s is told nothing", c.ref)
	}
	return nil
}

// close ends the connection, which may be gone already.
func (c *client) close() {
	_ = c.mqtt.Disconnect(&paho.Disconnect{})
	<-c.mqtt.Done()
}
