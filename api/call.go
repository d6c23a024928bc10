package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	"github.com/gemello/gemello/device"
)

const jsonType = "application/json; charset=utf-8"

// surface is what the two handlers have in common.
type surface struct {
	log     *slog.Logger
	metrics *metrics
	now     func() time.Time
	random  io.Reader
	timeout time.Duration
	// heartbeat is how often a stream of events shows that it is alive.
	heartbeat time.Duration
}

// defaultTimeout bounds how long a call may wait for the hub: below the minute
// after which load balancers tend to give up.
const defaultTimeout = 30 * time.Second

func newSurface(log *slog.Logger, m *metrics, now func() time.Time, random io.Reader, timeout time.Duration) surface {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if now == nil {
		now = time.Now
	}
	if random == nil {
		random = rand.Reader
	}
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	return surface{log, m, now, random, timeout, liveHeartbeat}
}

// call is one request on its way.
type call struct {
	w         http.ResponseWriter
	r         *http.Request
	path      []string // decoded segments
	literal   []string // the same, as they came
	requestID string
	operation string // label of the metrics
	audit     device.Audit
	reflected device.Positions
	status    int
}

// newCall splits the path and settles the request id.
func (s *surface) newCall(w http.ResponseWriter, r *http.Request) *call {
	c := &call{w: w, r: r, operation: "unknown"}
	path := strings.TrimSuffix(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	for segment := range strings.SplitSeq(path, "/") {
		decoded, err := url.PathUnescape(segment)
		if err != nil {
			decoded = segment
		}
		c.literal = append(c.literal, segment)
		c.path = append(c.path, decoded)
	}
	c.requestID = requestID(r.Header.Get("Request-Id"))
	if c.requestID == "" {
		c.requestID = s.newID()
	}
	w.Header().Set("x-ms-request-id", c.requestID)
	c.audit = device.Audit{Address: r.RemoteAddr, RequestID: c.requestID}
	return c
}

// word reports whether the i-th segment is a fixed word, without case.
func (c *call) word(i int, w string) bool {
	return i < len(c.path) && strings.EqualFold(c.path[i], w)
}

// newID makes an id for tracking; it names nothing, so it need not be secret.
func (s *surface) newID() string {
	var b [16]byte
	if _, err := io.ReadFull(s.random, b[:]); err != nil {
		return "0"
	}
	return hex.EncodeToString(b[:])
}

const maxRequestID = 128

// requestID returns the id that a client gave, if it is fit to be repeated.
func requestID(s string) string {
	if len(s) > maxRequestID {
		return ""
	}
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] > '~' {
			return ""
		}
	}
	return s
}

// body reads the request's body, which has at most limit bytes.
func (c *call) body(limit int64) ([]byte, error) {
	if c.r.ContentLength > limit {
		return nil, &http.MaxBytesError{Limit: limit}
	}
	b, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, limit))
	var tooLong *http.MaxBytesError
	if err != nil && !errors.As(err, &tooLong) {
		return nil, fmt.Errorf("%w: the body broke off", device.ErrFormat)
	}
	return b, err
}

// decode reads a JSON body; unknown members are ignored.
func (c *call) decode(limit int64, into any) error {
	b, err := c.body(limit)
	if err != nil {
		return err
	}
	return decodeJSON(b, into)
}

func decodeJSON(b []byte, into any) error {
	err := json.Unmarshal(b, into)
	var kind *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &kind):
		return fmt.Errorf("%w: the member %q can't hold a JSON %s", device.ErrArgument, kind.Field, kind.Value)
	}
	return fmt.Errorf("%w: %w", device.ErrFormat, err)
}

// maxETag bounds an etag that a client sends.
const maxETag = 256

// noETag is an etag that no object has.
const noETag = `""`

// ifMatch returns the etag that a header names without quotes and W/, "*", or ""
// when the header is absent or empty.
func ifMatch(h http.Header) string { return bareETag(h.Get("If-Match")) }

// bareETag strips quotes and W/. Only empty text gives "", which means that
// there is no condition.
func bareETag(v string) string {
	v = strings.TrimSpace(v)
	if v == "" {
		return ""
	}
	if len(v) > maxETag {
		return noETag
	}
	v = strings.TrimPrefix(v, "W/")
	if len(v) >= 2 && v[0] == '"' && v[len(v)-1] == '"' {
		v = v[1 : len(v)-1]
	}
	if v == "" {
		return noETag
	}
	return v
}

// setETag sets the header as ETag: Java's client looks for that spelling, and
// Go's canonical form is another.
func setETag(h http.Header, etag string) { h["ETag"] = []string{`"` + etag + `"`} }

// reply writes a JSON answer.
func (c *call) reply(status int, body []byte) error {
	h := c.w.Header()
	h.Set("Content-Type", jsonType)
	h.Set("Cache-Control", "no-store")
	c.setPosition()
	c.status = status
	c.w.WriteHeader(status)
	if len(body) > 0 {
		c.w.Write(body) // a client that has gone needs no answer
	}
	return nil
}

// empty answers without a body.
func (c *call) empty(status int) error {
	c.setPosition()
	c.status = status
	c.w.WriteHeader(status)
	return nil
}

// answer runs a handler, turns its error or panic into an answer by render, and
// counts the call.
func (s *surface) answer(c *call, handle func(context.Context, *call) error, render func(f failure, message string) []byte) {
	start := s.now()
	ctx, cancel := context.WithTimeout(c.r.Context(), s.timeout)
	defer cancel()
	err := s.guard(device.WithPositions(ctx, &c.reflected), c, handle)
	if err != nil {
		f := classify(err)
		if f.status >= 500 && f.status != http.StatusNotImplemented && !f.device && c.r.Context().Err() == nil {
			s.log.Error("request failed", "operation", c.operation, "request", c.requestID, "status", f.status, "err", err)
		}
		if c.status == 0 {
			f.writeHeader(c.w.Header())
			c.status = f.status
			c.w.WriteHeader(f.status)
			c.w.Write(render(f, f.message(err)))
		}
	}
	s.metrics.observe(c.operation, c.status, s.now().Sub(start))
}

func (s *surface) guard(ctx context.Context, c *call, handle func(context.Context, *call) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler {
				panic(p)
			}
			s.log.Error("handler panicked", "operation", c.operation, "request", c.requestID, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return handle(ctx, c)
}
