package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gemello/gemello/device"
)

var afterWrites = flag.Int("after-writes", 40, "writes of each of the eight writers whose reads must not be older")

// accepted is the newest write of a device that the hub has accepted.
type accepted struct {
	tag, reason int // of the newest write of the twin, and of the identity
	position    string
}

// counted is a device whose twin and identity both carry the number of the write.
type counted struct {
	id     string
	newest atomic.Pointer[accepted]
	issued atomic.Int64 // the newest number that was sent
}

// A read that names the position of a write never shows an older state: not under
// load, not over another path than the write's, and not after the owner of the
// partition was killed.
func TestReadThatNamesAWriteIsNeverOlder(t *testing.T) {
	h := startKilledHub(t)
	var devices []*counted
	for i := range 8 {
		d := &counted{id: fmt.Sprintf("d%d", i)}
		h.make(device.Ref{Device: d.id})
		devices = append(devices, d)
	}
	if code, _, stderr := (shell{}).run(t, "index", "create", "tags.fleet", "--wait", "--data", h.data); code != exitDone {
		t.Fatal(stderr)
	}
	var writers, readers sync.WaitGroup
	done := make(chan struct{})
	var written, read, refused atomic.Int64
	for _, d := range devices {
		writers.Go(func() { h.writeOn(d, *afterWrites, &written) })
	}
	for r := range 6 {
		readers.Go(func() {
			for i := r; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				h.readAfter(devices[i%len(devices)], i/len(devices), &read, &refused)
			}
		})
	}
	half := int64(len(devices) * *afterWrites / 2)
	for deadline := time.Now().Add(5 * testWithin); written.Load() < half; <-time.After(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("%d writes of %d", written.Load(), half)
			break
		}
	}
	h.kill()
	h.start()
	writers.Wait()
	// The newest writes are read by every path once more.
	for _, d := range devices {
		for way := range afterWays {
			for before := read.Load(); read.Load() == before && !t.Failed(); {
				h.readAfter(d, way, &read, &refused)
			}
		}
	}
	close(done)
	readers.Wait()
	t.Logf("%d writes, %d reads, %d answers of a node that was away", written.Load(), read.Load(), refused.Load())
	if read.Load() < half/4 {
		t.Errorf("only %d reads were compared", read.Load())
	}
}

// writeOn numbers a device's twin or identity on and on. What is not answered may
// hold or not, so the next number is another one.
func (h *killedHub) writeOn(d *counted, writes int, written *atomic.Int64) {
	newest := accepted{}
	for deadline := time.Now().Add(5 * testWithin); writes > 0; {
		n := int(d.issued.Add(1))
		// One write changes the twin, the next the identity; both say the number.
		method, path, body := "PATCH", "/twins/"+d.id, any(map[string]any{"tags": map[string]any{"n": n, "fleet": "f"}})
		if n%2 == 0 {
			method, path, body = "PUT", "/devices/"+d.id, map[string]any{"deviceId": d.id, "status": "enabled", "statusReason": strconv.Itoa(n), "authentication": map[string]any{"type": "sas"}}
		}
		status, answer, got, err := h.ask(method, path, body, "If-Match", "*")
		switch {
		case err != nil || status == http.StatusServiceUnavailable:
			<-time.After(10 * time.Millisecond) // the node is away
		case status != http.StatusOK:
			h.t.Errorf("%s %s: %d %s", method, path, status, answer)
			return
		default:
			if n%2 == 0 {
				newest.reason = n
			} else {
				newest.tag = n
			}
			newest.position = got.Get(headerPosition)
			copied := newest
			d.newest.Store(&copied)
			written.Add(1)
			writes--
		}
		if time.Now().After(deadline) {
			h.t.Errorf("%s: %d writes are missing", d.id, writes)
			return
		}
	}
}

const afterWays = 5

// readAfter reads a device in one of several ways and checks that it is not older
// than the newest write accepted before.
func (h *killedHub) readAfter(d *counted, way int, read, refused *atomic.Int64) {
	newest := d.newest.Load()
	if newest == nil {
		return
	}
	var status int
	var answer []byte
	var got http.Header
	var err error
	what := ""
	query := func(text string) {
		what = text
		status, answer, got, err = h.ask("POST", "/query", map[string]string{"query": text}, headerAfter, newest.position)
	}
	switch way % afterWays {
	case 0:
		what = "the twin"
		status, answer, got, err = h.ask("GET", "/twins/"+d.id, nil, headerAfter, newest.position)
	case 1:
		what = "the device"
		status, answer, got, err = h.ask("GET", "/devices/"+d.id, nil, headerAfter, newest.position)
	case 2:
		query("SELECT tags, statusReason FROM devices WHERE deviceId = '" + d.id + "'") // a look-up
	case 3:
		query("SELECT tags, statusReason FROM devices WHERE tags.fleet = 'f' AND deviceId != 'x' AND CONTAINS(deviceId, '" + d.id + "')") // by the index
	default:
		query("SELECT tags, statusReason FROM devices WHERE CONTAINS(deviceId, '" + d.id + "')") // a scan
	}
	if err != nil || status == http.StatusServiceUnavailable {
		refused.Add(1)
		<-time.After(5 * time.Millisecond)
		return
	}
	if status != http.StatusOK {
		h.t.Errorf("%s of %s: %d %s", what, d.id, status, answer)
		return
	}
	read.Add(1)
	var rows []struct {
		Tags         struct{ N int }
		StatusReason string
	}
	if answer = []byte(strings.TrimSpace(string(answer))); answer[0] != '[' {
		answer = append(append([]byte{'['}, answer...), ']')
	}
	if err := json.Unmarshal(answer, &rows); err != nil {
		h.t.Errorf("%s: %v: %s", what, err, answer)
		return
	}
	if len(rows) == 0 && way%afterWays == 3 && newest.tag == 0 {
		return // no tag has been accepted yet
	}
	if len(rows) != 1 {
		h.t.Errorf("%s of %s after %s gives %d rows", what, d.id, newest.position, len(rows))
		return
	}
	shown := accepted{tag: rows[0].Tags.N}
	if rows[0].StatusReason != "" {
		if shown.reason, err = strconv.Atoi(rows[0].StatusReason); err != nil {
			h.t.Errorf("%s of %s: %s", what, d.id, answer)
			return
		}
	}
	if way%afterWays == 1 {
		shown.tag = newest.tag // an identity has no tags
	}
	if issued := int(d.issued.Load()); shown.tag < newest.tag || shown.reason < newest.reason || max(shown.tag, shown.reason) > issued {
		h.t.Errorf("%s of %s after %s (%d, %d) shows %d, %d, reflecting %s", what, d.id, newest.position, newest.tag, newest.reason, shown.tag, shown.reason, got.Get(headerPosition))
	}
}
