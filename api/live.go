package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/query"
)

// LiveQueries follows queries as twins change. Its methods may be called from any
// goroutine.
type LiveQueries interface {
	// Follow begins a live query, with positions from where an earlier one was. The
	// error wraps device.ErrArgument, ErrUnavailable or ErrThrottled. ctx bounds
	// the beginning alone.
	Follow(ctx context.Context, q *query.Query, after []device.LogPosition) (LiveQuery, error)
}

// LiveQuery is a query that is followed until Close.
type LiveQuery interface {
	// Ready holds a token when there is something to take.
	Ready() <-chan struct{}
	// Take returns the events that wait, and the position to resume from after
	// them, "" while there is none. open is false after the last event.
	Take() (events []query.Event, position string, open bool)
	Close()
}

const (
	eventStream   = "text/event-stream"
	headerLastID  = "Last-Event-ID"
	liveHeartbeat = 15 * time.Second
	// liveWrite is how long a client may take to accept what is sent.
	liveWrite = 30 * time.Second
)

// Reasons for which the API itself ends a stream.
const cutUnauthorized = "unauthorized"

// wantsEvents reports whether the client asks for a stream of events.
func wantsEvents(r *http.Request) bool {
	for _, accept := range r.Header.Values("Accept") {
		for part := range strings.SplitSeq(accept, ",") {
			kind, parameters, err := mime.ParseMediaType(part)
			if err != nil || kind != eventStream {
				continue
			}
			if q, err := strconv.ParseFloat(parameters["q"], 64); err != nil || q > 0 {
				return true
			}
		}
	}
	return false
}

// followQuery answers a query with server-sent events for as long as the client
// listens and allowed says that it may.
func followQuery(ctx context.Context, c *call, live LiveQueries, heartbeat time.Duration, q *query.Query, allowed func() error) error {
	c.operation = "live_query"
	if live == nil {
		return fmt.Errorf("%w: live queries", ErrNotYet)
	}
	if c.r.Header.Get(headerContinuation) != "" {
		return fmt.Errorf("%w: a live query has no pages; leave %s out, or Accept: %s", device.ErrArgument, headerContinuation, eventStream)
	}
	after, err := device.ParsePositions(c.r.Header.Get(headerLastID))
	if err != nil {
		return fmt.Errorf("%s: %w", headerLastID, err)
	}
	l, err := live.Follow(ctx, q, after)
	if err != nil {
		return err
	}
	defer l.Close()
	w := &eventWriter{c: c, control: http.NewResponseController(c.w)}
	h := c.w.Header()
	h.Set("Content-Type", eventStream)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx keeps events back otherwise
	h.Set(headerItemType, itemType(q))
	c.status = http.StatusOK
	c.w.WriteHeader(http.StatusOK)
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	w.comment("live")
	for err := w.flush(); err == nil; err = w.flush() {
		alive := false
		select {
		case <-c.r.Context().Done():
			return nil
		case <-l.Ready():
		case <-beat.C:
			alive = true
			if allowed() != nil {
				w.event(&query.Event{Kind: query.Cut, Reason: cutUnauthorized})
				return w.end()
			}
		}
		events, position, open := l.Take()
		for i := range events {
			w.event(&events[i])
		}
		if alive {
			w.comment("heartbeat")
		}
		w.id(position)
		if !open {
			return w.end()
		}
	}
	return nil // the client has gone
}

// eventWriter writes the events of one answer.
type eventWriter struct {
	c       *call
	control *http.ResponseController
	buf     []byte
	last    string // position sent last
}

// event appends an event without its id.
func (w *eventWriter) event(e *query.Event) {
	w.buf = append(append(w.buf, "event: "...), e.Kind.String()...)
	w.buf = append(w.buf, "\ndata: "...)
	w.buf = append(w.buf, liveData(e)...)
	w.buf = append(w.buf, "\n\n"...)
}

// liveData is the data of an event: one line of JSON.
func liveData(e *query.Event) []byte {
	switch e.Kind {
	case query.Added, query.Changed, query.Removed:
		return marshal(struct {
			DeviceID string          `json:"deviceId"`
			ModuleID string          `json:"moduleId,omitempty"`
			Position string          `json:"position"`
			Row      json.RawMessage `json:"row,omitempty"`
		}{e.Ref.Device, e.Ref.Module, fmt.Sprintf("%d:%d", e.Position.Partition, e.Position.Next), e.Row})
	case query.Reset:
		return marshal(struct {
			Reason string `json:"reason"`
		}{e.Reason})
	case query.Cut:
		return marshal(struct {
			Reason  string `json:"reason"`
			Message string `json:"message"`
		}{e.Reason, cutMessage(e.Reason)})
	}
	return []byte("{}")
}

// cutMessage says what a client can do about the end of its stream.
func cutMessage(reason string) string {
	switch reason {
	case "slow":
		return "events came faster than they were read; read faster or narrow the query, and resume with " + headerLastID
	case "rows":
		return "the answers of this node's live queries hold too many rows; narrow the condition"
	case "stopping":
		return "the node stops; resume with " + headerLastID + " when it is back"
	case "missed":
		return "changes were missed while the query was resumed; resume it again with " + headerLastID
	case cutUnauthorized:
		return "the token has expired or its policy was changed; resume with " + headerLastID + " and a new one"
	}
	return "the query can't be followed further; the node's log says why"
}

// id ends what was appended with the position to resume from, if it is a new one.
// Without data it is no event for the client, who remembers it all the same.
func (w *eventWriter) id(position string) {
	if position == "" || position == w.last {
		return
	}
	w.last = position
	w.buf = append(append(append(w.buf, "id: "...), position...), "\n\n"...)
}

func (w *eventWriter) comment(text string) {
	w.buf = append(append(append(w.buf, ": "...), text...), "\n\n"...)
}

func (w *eventWriter) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	// A server without deadlines has none to move.
	if err := w.control.SetWriteDeadline(time.Now().Add(liveWrite)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return errGone
	}
	if _, err := w.c.w.Write(w.buf); err != nil {
		return errGone
	}
	if err := w.control.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return errGone
	}
	if w.buf = w.buf[:0]; cap(w.buf) > 4*tailBuffer {
		w.buf = nil
	}
	return nil
}

// end sends what is left; the connection may serve other requests after it.
func (w *eventWriter) end() error {
	if w.flush() == nil {
		// A deadline of the past would end the next answer; a failure here only
		// ends the connection.
		_ = w.control.SetWriteDeadline(time.Time{})
	}
	return nil
}
