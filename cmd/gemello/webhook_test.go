package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gemello/gemello/actors"
	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/api"
)

// pager is a web server that takes, refuses or is out of order.
type pager struct {
	*httptest.Server

	mu      sync.Mutex // guards the following
	down    bool       // answers 503
	posts   int        // in all
	batches [][]posted // that were taken
	auth    map[string]bool
}

type posted struct {
	ID         string `json:"Id"`
	Source     string
	Properties map[string]string
	System     map[string]string `json:"SystemProperties"`
	Body       any
}

// newPager refuses every batch that holds a body with bad.
func newPager(t *testing.T) *pager {
	p := &pager{auth: map[string]bool{}}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.posts++
		p.auth[r.Header.Get("Authorization")] = true
		var batch []posted
		switch {
		case p.down:
			w.WriteHeader(http.StatusServiceUnavailable)
		case err != nil || json.Unmarshal(body, &batch) != nil:
			w.WriteHeader(http.StatusBadRequest)
		case strings.Contains(string(body), `"bad"`):
			w.WriteHeader(http.StatusUnprocessableEntity)
		default:
			p.batches = append(p.batches, batch)
		}
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *pager) set(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
}

// bodies are those that were taken, in order; ids those by which they were known.
func (p *pager) taken() (bodies, ids []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range p.batches {
		for _, m := range b {
			bodies, ids = append(bodies, fmt.Sprint(m.Body)), append(ids, m.ID)
		}
	}
	return bodies, ids
}

func (p *pager) attempts() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.posts
}

// A running node posts what a route takes in order and in batches, tries again
// while the receiver is out of order, over a restart too, and makes dead letters
// of what it refuses.
func TestAWebhookGetsWhatItsRouteTakes(t *testing.T) {
	p := newPager(t)
	data := filepath.Join(t.TempDir(), "data")
	const private = "--routing.private_webhooks"
	n := wireNodeOf(t, startTestNode(t, data, private))
	n.device("d1")
	secret := writeTemp(t, "token", "Bearer s3cret\n")
	n.must(t, "route", "apply", "-f", writeTemp(t, "hooks.yaml", fmt.Sprintf(`
webhooks: [{name: pager, url: %q, authorization_file: %q}]
routes: [{name: all, endpoints: ["webhook:pager"]}]
enrichments: [{key: hub, value: $iothubname, endpoints: ["webhook:pager"]}]
`, p.URL+"/hook", secret)))
	send := func(bodies ...string) {
		t.Helper()
		for _, b := range bodies {
			n.want(http.StatusNoContent, "POST", "/devices/d1/messages/events?api-version=2020-09-30", b,
				"Authorization", n.deviceToken("d1"), "iothub-contenttype", "application/json", "iothub-contentencoding", "utf-8")
		}
	}
	status := func() (w api.Webhook) {
		t.Helper()
		var s api.RoutingStatus
		if err := json.Unmarshal([]byte(n.must(t, "route", "list", "--json")), &s); err != nil || len(s.Webhooks) != 1 {
			t.Fatalf("%+v, %v", s, err)
		}
		return s.Webhooks[0]
	}
	want := func(bodies ...string) {
		t.Helper()
		eventually(t, fmt.Sprintf("posts of %q", bodies), func() bool { got, _ := p.taken(); return len(got) >= len(bodies) })
		if got, _ := p.taken(); !slices.Equal(got, bodies) {
			t.Fatalf("taken %q, want %q", got, bodies)
		}
	}
	send(`"first"`)
	want("first")
	p.mu.Lock()
	if m := p.batches[0][0]; m.Source != "Telemetry" || m.System["connectionDeviceId"] != "d1" || m.Properties["hub"] != "gemello" || !p.auth["Bearer s3cret"] {
		t.Errorf("posted %+v, authorization %v", m, p.auth)
	}
	p.mu.Unlock()

	p.set(true)
	before := p.attempts()
	send(`"a"`, `"b"`, `"bad"`, `"c"`)
	eventually(t, "a second attempt", func() bool { return p.attempts() >= before+2 })
	if w := status(); w.State != "retrying" || !strings.Contains(w.Cause, "503") || w.Delivered != 1 || !w.Authorized {
		t.Errorf("out of order: %+v", w)
	}
	n.stop()
	n.testNode = startTestNode(t, data, private)
	eventually(t, "an attempt after the restart", func() bool { return status().State == "retrying" })
	send(`"d"`)
	p.set(false)
	want("first", "a", "b", "c", "d")
	_, ids := p.taken()
	if slices.Sort(ids); len(slices.Compact(ids)) != 5 {
		t.Errorf("messages share their ids: %q", ids)
	}
	eventually(t, "the dead letter", func() bool { return status().DeadLetters == 1 })
	dead := n.records("gemello.dead-letter")
	var row struct{ Reason, Detail, Payload string }
	if len(dead) != 1 || json.Unmarshal(dead[0].Value, &row) != nil || row.Reason != partition.ReasonWebhook || row.Payload != `"bad"` || !strings.Contains(row.Detail, "422") {
		t.Errorf("dead letters %+v", dead)
	}
	eventually(t, "the end of the wait", func() bool { w := status(); return w.State == "idle" && w.Lag == 0 })

	// What waits is posted as one batch, and another address needs its own
	// authorization.
	p.set(true)
	before = p.attempts()
	send(`"x0"`)
	eventually(t, "an attempt", func() bool { return p.attempts() > before })
	for i := 1; i < 10; i++ {
		send(fmt.Sprintf(`"x%d"`, i))
	}
	p.mu.Lock()
	p.auth, p.batches = map[string]bool{}, nil
	p.mu.Unlock()
	n.must(t, "route", "apply", "-f", writeTemp(t, "moved.yaml", fmt.Sprintf("webhooks: [{name: pager, url: %q}]", p.URL+"/moved")))
	p.mu.Lock()
	clear(p.auth)
	p.mu.Unlock()
	p.set(false)
	want("x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9")
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.batches) > 5 || p.auth["Bearer s3cret"] {
		t.Errorf("%d batches, authorization %v", len(p.batches), p.auth)
	}
}

func TestAMessageForAWebhookHasTheFormOfAStoredOne(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	h := func(kv ...string) (list []partition.Header) {
		for i := 0; i < len(kv); i += 2 {
			list = append(list, partition.Header{Key: kv[i], Value: []byte(kv[i+1])})
		}
		return list
	}
	it := webhookItem(&actors.WebhookMessage{Value: []byte("x"), Time: at.Add(time.Hour), Headers: h(
		"iothub-connection-device-id", "d1", "iothub-enqueuedtime", fmt.Sprint(at.UnixMilli()), "iothub-message-source", "Telemetry",
		"content-type", "text/plain", "app:to", "nobody", "room", "b", "gemello-log-position", "3:42",
	)})
	if it.ID != "3:42" || it.Source != "Telemetry" || !it.Enqueued.Equal(at) || string(it.Body) != "x" {
		t.Errorf("%+v", it)
	}
	for name, want := range map[string]string{"connectionDeviceId": "d1", "contentType": "text/plain", "enqueuedTime": "2026-01-02T03:04:05.0000000Z"} {
		if it.System[name] != want {
			t.Errorf("%s is %q, want %q", name, it.System[name], want)
		}
	}
	if len(it.Properties) != 2 || it.Properties["to"] != "nobody" || it.Properties["room"] != "b" {
		t.Errorf("properties %v", it.Properties)
	}
	if it := webhookItem(&actors.WebhookMessage{Time: at, Headers: h("iothub-enqueuedtime", "soon")}); !it.Enqueued.Equal(at) {
		t.Errorf("an arrival that can't be read: %v", it.Enqueued)
	}
}
