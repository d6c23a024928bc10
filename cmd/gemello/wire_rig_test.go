package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/credential"
)

// patience is how long a test of a running node waits for what must happen.
const patience = 60 * time.Second

// wireNode is a node that clients made by hand talk to: all of it runs, on real
// sockets with TLS.
type wireNode struct {
	*testNode
	t     *testing.T
	roots *x509.CertPool
	owner credential.ConnectionString
	keys  credential.Keys // of each device that put makes
	pool  *http.Client
}

// wireHost is the name by which clients know the node.
const wireHost = "127.0.0.1"

func newWireNode(t *testing.T, args ...string) *wireNode {
	t.Helper()
	return wireNodeOf(t, startTestNode(t, filepath.Join(t.TempDir(), "data"), args...))
}

// wireNodeOf makes a node that runs one that clients made by hand talk to.
func wireNodeOf(t *testing.T, running *testNode) *wireNode {
	t.Helper()
	n := &wireNode{t: t, testNode: running, roots: x509.NewCertPool()}
	pem, err := os.ReadFile(n.info.CA)
	if err != nil || !n.roots.AppendCertsFromPEM(pem) {
		t.Fatalf("CA %s: %v", n.info.CA, err)
	}
	if n.owner, err = credential.ParseConnectionString(strings.TrimSpace(n.must(t, "connection-string", "--policy", "iothubowner"))); err != nil {
		t.Fatal(err)
	}
	if n.keys, err = credential.NewKeys(new(zeros)); err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: n.tls(), MaxIdleConnsPerHost: 64}
	n.pool = &http.Client{Transport: transport, Timeout: patience}
	t.Cleanup(transport.CloseIdleConnections)
	// Both partitions are ready once a device of each could be made.
	for _, id := range []string{"ready-1", "ready-2", "ready-3", "ready-4", "ready-5", "ready-6"} {
		n.device(id)
	}
	return n
}

// as lets a subtest fail for itself.
func (n *wireNode) as(t *testing.T) *wireNode {
	c := *n
	c.t = t
	return &c
}

// lines returns what runs a line's test with a device of its own, connected as the
// devices of a family do.
func (n *wireNode) lines(family string, greet func(n *wireNode, id string) hello) func(line string, test func(n *wireNode, id string, c *frames)) {
	devices := 0
	return func(line string, test func(n *wireNode, id string, c *frames)) {
		n.t.Run(line, func(t *testing.T) {
			n := n.as(t)
			devices++
			id := fmt.Sprintf("%s-%d", family, devices)
			n.device(id)
			test(n, id, n.connect(greet(n, id)))
		})
	}
}

func (n *wireNode) tls() *tls.Config {
	return &tls.Config{RootCAs: n.roots, ServerName: wireHost, MinVersion: tls.VersionTLS12}
}

func (n *wireNode) address(listener string) string {
	return net.JoinHostPort(wireHost, fmt.Sprint(n.info.Ports[listener]))
}

// answer is what came back for a request.
type answer struct {
	status int
	header http.Header
	body   string
}

// into reads the body as JSON.
func (a *answer) into(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), v); err != nil {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
}

// member returns what a path of member names leads to, nil if nothing.
func (a *answer) member(t *testing.T, path ...string) any {
	t.Helper()
	var v any
	a.into(t, &v)
	for _, name := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[name]
	}
	return v
}

// send makes a request on the HTTPS port; headers are name and value in turn. An
// Authorization of none keeps the owner's token away.
func (n *wireNode) send(client *http.Client, method, target, body string, headers ...string) (*answer, error) {
	q, err := http.NewRequestWithContext(n.t.Context(), method, "https://"+n.address("https")+target, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body == "" {
		q.Body, q.ContentLength = nil, 0
	}
	q.Header.Set("Authorization", n.token("", n.owner.KeyName, n.owner.Key))
	for i := 0; i < len(headers); i += 2 {
		if q.Header.Set(headers[i], headers[i+1]); headers[i+1] == none {
			q.Header.Del(headers[i])
		}
	}
	res, err := client.Do(q)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return &answer{res.StatusCode, res.Header, string(b)}, err
}

// none is the value that keeps a header away.
const none = "-"

// ask is send for a test's own goroutine. What the node refuses for now is asked
// again: it recovers its partitions after a start.
func (n *wireNode) ask(method, target, body string, headers ...string) *answer {
	n.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		a, err := n.send(n.pool, method, target, body, headers...)
		if err != nil {
			n.t.Fatalf("%s %s: %v", method, target, err)
		}
		if a.status != http.StatusServiceUnavailable || time.Now().After(deadline) {
			return a
		}
	}
}

// want is ask that expects a status.
func (n *wireNode) want(status int, method, target, body string, headers ...string) *answer {
	n.t.Helper()
	a := n.ask(method, target, body, headers...)
	if a.status != status {
		n.t.Fatalf("%s %s: %d %s, want %d", method, target, a.status, a.body, status)
	}
	return a
}

const (
	serviceV = "?api-version=2021-04-12"
	anyETag  = `"*"`
)

// device creates a device, or module with "device/module", that has the keys of
// the rig.
func (n *wireNode) device(id string) {
	n.t.Helper()
	n.create(device.ParseRef(id), fmt.Sprintf(`{"type":"sas","symmetricKey":{"primaryKey":%q,"secondaryKey":%q}}`, n.keys.Primary.Reveal(), n.keys.Secondary.Reveal()))
}

func (n *wireNode) create(ref device.Ref, authentication string) {
	n.t.Helper()
	target, body := "/devices/"+ref.Device, fmt.Sprintf(`{"deviceId":%q,"authentication":%s}`, ref.Device, authentication)
	if ref.Module != "" {
		target += "/modules/" + ref.Module
		body = fmt.Sprintf(`{"deviceId":%q,"moduleId":%q,"authentication":%s}`, ref.Device, ref.Module, authentication)
	}
	if a := n.ask("PUT", target+serviceV, body); a.status != 200 && a.status != 201 {
		n.t.Fatalf("create %s: %d %s", ref, a.status, a.body)
	}
}

// token signs for a path of the hub, with a policy's name or "".
func (n *wireNode) token(path, policy string, key credential.Key) string {
	return credential.Sign(wireHost+path, time.Now().Add(time.Hour), key, policy)
}

// deviceToken is a device's or module's own.
func (n *wireNode) deviceToken(id string) string {
	return n.token("/devices/"+strings.Replace(id, "/", "/modules/", 1), "", n.keys.Primary)
}

// twin reads a twin as the service sees it.
func (n *wireNode) twin(id string) *answer {
	n.t.Helper()
	return n.want(200, "GET", "/twins/"+id+serviceV, "")
}

// records reads a topic from its start to its end now.
func (n *wireNode) records(topic string) (list []wireRecord) {
	n.t.Helper()
	for line := range strings.Lines(n.must(n.t, "tail", topic, "--from", "start", "--follow=false")) {
		var r wireRecord
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			n.t.Fatalf("%s: %v", line, err)
		}
		list = append(list, r)
	}
	return list
}

// wireRecord is a record as gemello tail prints it.
type wireRecord struct {
	Partition int32
	Offset    int64
	Timestamp time.Time
	Key       string
	Value     json.RawMessage
	Encoding  string
	Headers   map[string]string
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// metric reads the sum of a metric's series whose text holds all the parts.
func (n *wireNode) metric(name string, parts ...string) (sum float64) {
	n.t.Helper()
	res, err := http.Get(n.info.Admin + "/metrics")
	if err != nil {
		n.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		n.t.Fatal(err)
	}
series:
	for line := range bytes.Lines(b) {
		series, value, ok := strings.Cut(strings.TrimSpace(string(line)), " ")
		if base, _, _ := strings.Cut(series, "{"); !ok || base != name {
			continue
		}
		for _, p := range parts {
			if !strings.Contains(series, p) {
				continue series
			}
		}
		var v float64
		if _, err := fmt.Sscan(value, &v); err == nil {
			sum += v
		}
	}
	return sum
}
