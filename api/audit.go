package api

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gemello/gemello/device"
)

// auditLine is one control record as the audit trail shows it; bodies stay
// behind, but for those of settings, which hold no secret.
type auditLine struct {
	Time       time.Time       `json:"time"`
	Kind       string          `json:"kind"`
	Object     string          `json:"object"` // device id, or name of a setting
	Module     string          `json:"module,omitempty"`
	Actor      string          `json:"actor"`
	Credential string          `json:"credential"`
	Address    string          `json:"address"`
	RequestID  string          `json:"requestId"`
	Partition  int32           `json:"partition"`
	Offset     int64           `json:"offset"`
	Detail     json.RawMessage `json:"detail,omitempty"`
}

// auditOf reads a record of the device log; ok is false for telemetry and for the
// beginnings of histories, which change nothing.
func auditOf(r *TopicRecord) (l auditLine, ok bool) {
	l = auditLine{Time: r.Timestamp.UTC(), Object: strings.TrimPrefix(string(r.Key), "/"), Partition: r.Partition, Offset: r.Offset}
	for _, h := range r.Headers {
		switch v := string(h.Value); h.Key {
		case device.HeaderKind:
			l.Kind = v
		case device.HeaderModule:
			l.Module = v
		case device.HeaderActor:
			l.Actor = v
		case device.HeaderCredential:
			l.Credential = v
		case device.HeaderAddress:
			l.Address = v
		case device.HeaderAudit:
			l.RequestID = v
		}
	}
	if l.Kind == device.KindSetting && json.Valid(r.Value) {
		l.Detail = json.RawMessage(r.Value)
	}
	return l, l.Kind != "" && l.Kind != device.KindTelemetry && l.Kind != device.KindRestored
}

// Bounds of one page of the audit trail.
const (
	auditWindow  = 24 * time.Hour // how far back it goes when the request does not say
	auditLimit   = 1000           // lines, when the request does not say
	maxAuditPage = 10_000         // lines
	maxAuditRead = 1_000_000      // records of the device log, most of which are telemetry
)

// auditRequest is what a page is asked for.
type auditRequest struct {
	device, actor string
	since         time.Time       // zero: from the oldest record on
	after         map[int32]int64 // by partition: where the page before ended
	limit         int             // lines
}

func (a *Admin) auditRequest(c *call) (r auditRequest, err error) {
	q := c.r.URL.Query()
	r = auditRequest{device: q.Get("device"), actor: q.Get("actor"), limit: auditLimit}
	switch v := q.Get("since"); v {
	case "":
		r.since = a.now().Add(-auditWindow)
	case "start":
	default:
		if r.since, err = time.Parse(time.RFC3339Nano, v); err != nil {
			return r, fmt.Errorf("%w: since %.40q is neither start nor a time like 2026-01-02T03:04:05Z", device.ErrArgument, v)
		}
	}
	if v := q.Get("limit"); v != "" {
		if r.limit, err = strconv.Atoi(v); err != nil || r.limit < 1 || r.limit > maxAuditPage {
			return r, fmt.Errorf("%w: limit %.20q, allowed is 1 to %d", device.ErrArgument, v, maxAuditPage)
		}
	}
	positions, err := device.ParsePositions(q.Get("after"))
	r.after = make(map[int32]int64, len(positions))
	for _, p := range positions {
		r.after[p.Partition] = p.Next
	}
	return r, err
}

func (r *auditRequest) wants(l *auditLine) bool {
	return (r.device == "" || l.Object == r.device && l.Kind != device.KindSetting) && (r.actor == "" || l.Actor == r.actor) && !l.Time.Before(r.since)
}

// next is the last line of a page that is not the last: how to ask for the next.
func (r *auditRequest) next() []byte {
	since := "start"
	if !r.since.IsZero() {
		since = r.since.UTC().Format(time.RFC3339Nano)
	}
	return marshal(struct {
		Next  string `json:"next"`
		Since string `json:"since"`
	}{positionsText(r.after), since})
}

// positionsText is what device.ParsePositions reads.
func positionsText(at map[int32]int64) string {
	parts := make([]string, 0, len(at))
	for _, p := range slices.Sorted(maps.Keys(at)) {
		parts = append(parts, fmt.Sprintf("%d:%d", p, at[p]))
	}
	return strings.Join(parts, ",")
}

// auditTrail streams a page of the control records of the device log. It holds one
// record at a time.
func (a *Admin) auditTrail(_ context.Context, c *call) error {
	q, err := a.auditRequest(c)
	if err != nil {
		return err
	}
	lines, read := 0, 0
	request := TailRequest{Topic: a.o.AuditTopic, Partition: -1, FromStart: true, Since: q.since, From: maps.Clone(q.after)}
	return a.stream(c, request, func(w *lineWriter, r *TopicRecord) error {
		read++
		q.after[r.Partition] = r.Offset + 1
		if l, ok := auditOf(r); ok && q.wants(&l) {
			lines++
			if err := w.line(marshal(l)); err != nil {
				return err
			}
		}
		if lines < q.limit && read < maxAuditRead {
			return nil
		}
		if err := w.line(q.next()); err != nil {
			return err
		}
		return errEnough
	})
}
