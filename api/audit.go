package api

import (
	"context"
	"encoding/json"
	"fmt"
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

// auditOf reads a record of the device log; ok is false for telemetry.
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
	return l, l.Kind != "" && l.Kind != device.KindTelemetry
}

// auditTrail streams the control records of the device log. It holds one
// record at a time.
func (a *Admin) auditTrail(_ context.Context, c *call) error {
	q := c.r.URL.Query()
	id, actor := q.Get("device"), q.Get("actor")
	var since time.Time
	if v := q.Get("since"); v != "" {
		var err error
		if since, err = time.Parse(time.RFC3339Nano, v); err != nil {
			return fmt.Errorf("%w: since %.40q is no time like 2026-01-02T03:04:05Z", device.ErrArgument, v)
		}
	}
	match := func(l *auditLine) bool {
		return (id == "" || l.Object == id && l.Kind != device.KindSetting) && (actor == "" || l.Actor == actor) && !l.Time.Before(since)
	}
	return a.stream(c, TailRequest{Topic: a.o.AuditTopic, Partition: -1, FromStart: true}, func(r *TopicRecord) []byte {
		if l, ok := auditOf(r); ok && match(&l) {
			return marshal(l)
		}
		return nil
	})
}
