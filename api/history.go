package api

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gemello/gemello/device"
)

// Histories tells how twins came about.
type Histories interface {
	// TwinHistory calls visit for each change of a device, the oldest first. It
	// wraps ErrNoHistory when the log no longer holds the device's creation. whole
	// says that before the first change there was no such device.
	TwinHistory(ctx context.Context, id string, visit func(*TwinChange) error) (whole bool, err error)
}

// TwinChange is one change of a device, with the device after it: nil when it
// does not exist.
type TwinChange struct {
	Partition int32
	Offset    int64
	Time      time.Time
	Kind      string
	Audit     device.Audit
	Body      []byte
	Refused   error
	Document  *device.Document
}

// twinChangeJSON is a change as it is answered.
type twinChangeJSON struct {
	Time            time.Time       `json:"time"`
	Partition       int32           `json:"partition"`
	Offset          int64           `json:"offset"`
	Kind            string          `json:"kind"`
	Actor           string          `json:"actor,omitempty"`
	Credential      string          `json:"credential,omitempty"`
	Address         string          `json:"address,omitempty"`
	RequestID       string          `json:"requestId,omitempty"`
	Change          json.RawMessage `json:"change,omitempty"`
	Refused         string          `json:"refused,omitempty"`
	Version         int64           `json:"version,omitempty"`
	DesiredVersion  int64           `json:"desiredVersion,omitempty"`
	ReportedVersion int64           `json:"reportedVersion,omitempty"`
}

func (s *TwinChange) json() []byte {
	out := twinChangeJSON{
		Time: s.Time, Partition: s.Partition, Offset: s.Offset, Kind: s.Kind,
		Actor: s.Audit.Actor, Credential: s.Audit.Credential, Address: s.Audit.Address, RequestID: s.Audit.RequestID,
	}
	if json.Valid(s.Body) {
		out.Change = s.Body
	}
	if s.Refused != nil {
		out.Refused = s.Refused.Error()
	}
	if d := s.Document; d != nil {
		out.Version, out.DesiredVersion, out.ReportedVersion = d.Twin.Version, d.Twin.Desired.Version, d.Twin.Reported.Version
	}
	return marshal(out)
}

// span is a stretch of time; zero ends are open.
type span struct{ from, to time.Time }

func spanOf(q url.Values) (s span, err error) {
	for _, f := range []struct {
		name string
		to   *time.Time
	}{{"from", &s.from}, {"to", &s.to}} {
		if *f.to, err = timeOf(q, f.name); err != nil {
			return s, err
		}
	}
	return s, nil
}

func timeOf(q url.Values, name string) (time.Time, error) {
	v := q.Get(name)
	if v == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, v)
	if err != nil {
		return t, fmt.Errorf("%w: %s %.40q is no time like 2026-01-02T03:04:05Z", device.ErrArgument, name, v)
	}
	return t, nil
}

// twinHistory streams the changes of a device.
func (a *Admin) twinHistory(_ context.Context, c *call) error {
	id, err := c.adminDevice()
	if err != nil {
		return err
	}
	s, err := spanOf(c.r.URL.Query())
	if err != nil {
		return err
	}
	done, err := a.beginMove()
	if err != nil {
		return err
	}
	defer done()
	w := newLineWriter(c)
	_, err = a.o.Histories.TwinHistory(c.r.Context(), id, func(step *TwinChange) error {
		if step.Time.Before(s.from) || !s.to.IsZero() && step.Time.After(s.to) {
			return nil
		}
		return w.line(step.json())
	})
	return w.close(err)
}

// past finds the device as each of the conditions last held; they are asked of
// every change in order.
func (a *Admin) past(c *call, id string, conditions ...func(*TwinChange) bool) ([]*device.Document, error) {
	if a.o.Histories == nil {
		return nil, ErrNotYet
	}
	done, err := a.beginMove()
	if err != nil {
		return nil, err
	}
	defer done()
	found := make([]*device.Document, len(conditions))
	known := make([]bool, len(conditions))
	whole, err := a.o.Histories.TwinHistory(c.r.Context(), id, func(step *TwinChange) error {
		for i, holds := range conditions {
			if holds(step) {
				found[i], known[i] = step.Document, true
			}
		}
		return nil
	})
	if err == nil && !whole && slices.Contains(known, false) {
		err = fmt.Errorf("%w: the log begins later", ErrNoHistory)
	}
	return found, err
}

func until(at time.Time) func(*TwinChange) bool {
	return func(s *TwinChange) bool { return at.IsZero() || !s.Time.After(at) }
}

// pastTwin answers with a twin as it was.
func (a *Admin) pastTwin(c *call, ref device.Ref) error {
	if ref.Module != "" {
		return ErrNotYet
	}
	id := ref.Device
	q := c.r.URL.Query()
	if q.Has("at") && q.Has("version") {
		return fmt.Errorf("%w: at and version exclude each other", device.ErrArgument)
	}
	var condition func(*TwinChange) bool
	if v := q.Get("version"); v != "" {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < 1 {
			return fmt.Errorf("%w: version %.20q is no positive number", device.ErrArgument, v)
		}
		condition = func(s *TwinChange) bool { return s.Document != nil && s.Document.Twin.Version == n }
	} else {
		at, err := timeOf(q, "at")
		if err != nil {
			return err
		}
		condition = until(at)
	}
	found, err := a.past(c, id, condition)
	if err != nil {
		return err
	}
	if found[0] == nil {
		return fmt.Errorf("%w: %s, then", device.ErrNotFound, id)
	}
	return c.replyTwin(*found[0])
}

// memberChange is one member that differs.
type memberChange struct {
	Path string `json:"path"` // JSON pointer
	From any    `json:"from,omitempty"`
	To   any    `json:"to,omitempty"`
}

// twinDiff answers with the members that differ between two times.
func (a *Admin) twinDiff(_ context.Context, c *call) error {
	id, err := c.adminDevice()
	if err != nil {
		return err
	}
	s, err := spanOf(c.r.URL.Query())
	if err != nil {
		return err
	}
	if s.from.IsZero() {
		return fmt.Errorf("%w: from is needed", device.ErrArgument)
	}
	found, err := a.past(c, id, until(s.from), until(s.to))
	if err != nil {
		return err
	}
	changes := []memberChange{}
	for _, part := range []struct {
		path string
		of   func(*device.Twin) *device.Section
	}{
		{"/tags", func(t *device.Twin) *device.Section { return &t.Tags }},
		{"/properties/desired", func(t *device.Twin) *device.Section { return &t.Desired }},
		{"/properties/reported", func(t *device.Twin) *device.Section { return &t.Reported }},
	} {
		var sides [2]any
		for i, d := range found {
			if d == nil {
				continue
			}
			if err := json.Unmarshal(part.of(&d.Twin).AppendDocument(nil), &sides[i]); err != nil {
				return err
			}
		}
		changes = diffMembers(changes, part.path, sides[0], sides[1])
	}
	return c.reply(200, marshal(struct {
		Changes []memberChange `json:"changes"`
	}{changes}))
}

// diffMembers appends the members that differ, in order of their names; nil is a
// side that has none.
func diffMembers(out []memberChange, path string, from, to any) []memberChange {
	x, xObject := from.(map[string]any)
	y, yObject := to.(map[string]any)
	if xObject && yObject || xObject && to == nil || from == nil && yObject {
		names := maps.Clone(x)
		if names == nil {
			names = map[string]any{}
		}
		maps.Copy(names, y)
		escape := strings.NewReplacer("~", "~0", "/", "~1")
		for _, name := range slices.Sorted(maps.Keys(names)) {
			out = diffMembers(out, path+"/"+escape.Replace(name), x[name], y[name])
		}
		return out
	}
	if reflect.DeepEqual(from, to) {
		return out
	}
	return append(out, memberChange{path, from, to})
}
