package api

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gemello/gemello/device"
)

const (
	// maxTails bounds how many topics are read for clients at a time; each holds
	// a consumer and its buffers.
	maxTails = 32
	// tailFlush is how long a record may wait for company before it is sent.
	tailFlush = 100 * time.Millisecond
	// tailStart is how long the first record, or an error, may take before the
	// client is told that it is listening; an error later is the last line.
	tailStart = time.Second
	// tailWrite is how long a client may take to accept what is sent.
	tailWrite  = 30 * time.Second
	tailBuffer = 32 << 10
	maxTopic   = 249
)

// tailTopic streams the records of a topic, one JSON a line.
func (a *Admin) tailTopic(_ context.Context, c *call) error {
	request, err := tailRequest(c)
	if err != nil {
		return err
	}
	return a.stream(c, request, func(w *lineWriter, r *TopicRecord) error { return w.line(recordLine(r)) })
}

// errEnough ends a stream before the topic does.
var errEnough = errors.New("enough")

// stream lets write send the lines that records become.
func (a *Admin) stream(c *call, request TailRequest, write func(*lineWriter, *TopicRecord) error) error {
	select {
	case a.tails <- struct{}{}:
		defer func() { <-a.tails }()
	default:
		return fmt.Errorf("%w: %d topics are being read already", ErrThrottled, maxTails)
	}
	// The stream lasts as long as the client listens, not as long as a call.
	ctx, cancel := context.WithCancel(c.r.Context())
	defer cancel()
	w := newLineWriter(c)
	err := a.o.Topics.Tail(ctx, request, func(r *TopicRecord) error {
		if err := write(w, r); err != nil {
			return err
		}
		return ctx.Err()
	})
	if ctx.Err() != nil || errors.Is(err, errEnough) {
		err = nil // the client went, which is how following ends
	}
	return w.close(err)
}

func tailRequest(c *call) (TailRequest, error) {
	q := c.r.URL.Query()
	r := TailRequest{Topic: c.path[3], Partition: -1}
	if r.Topic == "" || len(r.Topic) > maxTopic {
		return r, fmt.Errorf("%w: topic %.40q", device.ErrArgument, r.Topic)
	}
	switch from := q.Get("from"); from {
	case "", "end":
	case "start":
		r.FromStart = true
	default:
		return r, fmt.Errorf("%w: from %.20q, allowed are start and end", device.ErrArgument, from)
	}
	if v := q.Get("limit"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			return r, fmt.Errorf("%w: limit %.20q is no positive number", device.ErrArgument, v)
		}
		r.Limit = n
	}
	if v := q.Get("partition"); v != "" {
		n, err := strconv.ParseInt(v, 10, 32)
		if err != nil || n < 0 {
			return r, fmt.Errorf("%w: partition %.20q is no number", device.ErrArgument, v)
		}
		r.Partition = int32(n)
	}
	if v := q.Get("follow"); v != "" {
		follow, err := strconv.ParseBool(v)
		if err != nil {
			return r, fmt.Errorf("%w: follow %.20q, allowed are true and false", device.ErrArgument, v)
		}
		r.Follow = follow
	}
	return r, nil
}

// errGone says that the client no longer listens.
var errGone = errors.New("the client has gone")

// lineWriter gathers lines and sends them when there are many or they are old.
type lineWriter struct {
	c       *call
	control *http.ResponseController
	mu      sync.Mutex // guards what follows; held while writing to the client
	buf     []byte
	err     error
	closed  bool
	timer   *time.Timer
}

func newLineWriter(c *call) *lineWriter {
	w := &lineWriter{c: c, control: http.NewResponseController(c.w)}
	w.timer = time.AfterFunc(tailStart, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if !w.closed {
			w.startLocked()
			w.flushLocked()
		}
	})
	return w
}

func (w *lineWriter) startLocked() {
	if w.c.status == 0 {
		w.c.w.Header().Set("Content-Type", "application/x-ndjson")
		w.c.status = http.StatusOK
		w.c.w.WriteHeader(http.StatusOK)
	}
}

func (w *lineWriter) line(line []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	if len(w.buf) == 0 {
		w.timer.Reset(tailFlush)
	}
	w.buf = append(append(w.buf, line...), '\n')
	if len(w.buf) >= tailBuffer {
		w.startLocked()
		w.flushLocked()
	}
	return w.err
}

func (w *lineWriter) flushLocked() {
	if w.err != nil {
		return
	}
	// A server without deadlines has none to move.
	if err := w.control.SetWriteDeadline(time.Now().Add(tailWrite)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		w.err = errGone
		return
	}
	if _, err := w.c.w.Write(w.buf); err != nil {
		w.err = errGone
		return
	}
	if err := w.control.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		w.err = errGone
	}
	if w.buf = w.buf[:0]; cap(w.buf) > 4*tailBuffer {
		w.buf = nil
	}
}

// close sends what is left. An error before the first line becomes the answer;
// later the status is out, and the last line tells how the stream ended.
func (w *lineWriter) close(err error) error {
	w.timer.Stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	if err != nil && !errors.Is(err, errGone) {
		if w.c.status == 0 && len(w.buf) == 0 {
			return err
		}
		f := classify(err)
		w.buf = append(append(w.buf, f.adminShape(f.message(err), w.c.requestID)...), '\n')
	}
	w.startLocked()
	w.flushLocked()
	return nil
}

// recordLine is one record as JSON. The value is JSON as it is when it is JSON;
// else "encoding" says text or base64. The same holds for the key, which is text
// unless "keyEncoding" says base64.
func recordLine(r *TopicRecord) []byte {
	out := struct {
		Topic       string            `json:"topic"`
		Partition   int32             `json:"partition"`
		Offset      int64             `json:"offset"`
		Timestamp   time.Time         `json:"timestamp"`
		Key         *string           `json:"key"`
		KeyEncoding string            `json:"keyEncoding,omitempty"`
		Value       json.RawMessage   `json:"value"`
		Encoding    string            `json:"encoding,omitempty"`
		Headers     map[string]string `json:"headers,omitempty"`
	}{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Timestamp: r.Timestamp.UTC()}
	if r.Key != nil {
		key := string(r.Key)
		if !utf8.Valid(r.Key) {
			key, out.KeyEncoding = base64.StdEncoding.EncodeToString(r.Key), "base64"
		}
		out.Key = &key
	}
	var line bytes.Buffer
	switch {
	case r.Value == nil:
		out.Value = json.RawMessage("null")
	case utf8.Valid(r.Value) && json.Compact(&line, r.Value) == nil:
		out.Value = line.Bytes()
	case utf8.Valid(r.Value):
		out.Value, out.Encoding = marshal(string(r.Value)), "text"
	default:
		out.Value, out.Encoding = marshal(base64.StdEncoding.EncodeToString(r.Value)), "base64"
	}
	if len(r.Headers) > 0 {
		out.Headers = make(map[string]string, len(r.Headers))
		for _, h := range r.Headers {
			v := string(h.Value)
			if !utf8.Valid(h.Value) {
				v = base64.StdEncoding.EncodeToString(h.Value)
			}
			out.Headers[h.Key] = v
		}
	}
	return marshal(out)
}
