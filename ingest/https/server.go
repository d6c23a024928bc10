package https

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/ingest"
)

// Hub admits requests.
type Hub interface {
	// Admit verifies the credential of one request. The errors are those of
	// package ingest; any other means that the hub is unavailable.
	Admit(ctx context.Context, c ingest.Credentials) (Device, error)
}

// Device is what an admitted request may ask for. The methods block until the
// log has what they change. Beside the errors of package ingest they return
// device.ErrLockLost.
type Device interface {
	// Publish appends telemetry in order and returns when all of it is durable.
	Publish(ctx context.Context, batch []ingest.Message) error
	// Receive locks the next command of the device, nil when none waits.
	Receive(ctx context.Context) (*device.Delivery, error)
	// Settle ends the delivery that has the lock.
	Settle(ctx context.Context, lock string, o device.Outcome) error
}

// Options configure a Server. Only Hub is required.
type Options struct {
	Hub        Hub
	Logger     *slog.Logger          // nil discards
	Registerer prometheus.Registerer // nil registers nothing
	Clock      func() time.Time      // nil is time.Now
	Limits     Limits
}

// Limits bound what clients can make the server hold. A zero field means its
// default.
type Limits struct {
	// Bytes is how much memory the bodies of requests under way may take.
	// Default 64 MiB.
	Bytes int64
	// RequestTime is how long a request may take, its body included. Default 30 s.
	RequestTime time.Duration
}

// Server answers the requests of devices. It is an http.Handler for the HTTPS
// listener.
type Server struct {
	hub     Hub
	log     *slog.Logger
	clock   func() time.Time
	limits  Limits
	metrics *metrics
	bytes   atomic.Int64 // of bodies under way
	serial  atomic.Uint64
}

// New returns a Server. Options.Hub must be set.
func New(o Options) *Server {
	s := &Server{hub: o.Hub, log: o.Logger, clock: o.Clock, limits: o.Limits, metrics: newMetrics(o.Registerer)}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.clock == nil {
		s.clock = time.Now
	}
	if s.limits.Bytes <= 0 {
		s.limits.Bytes = 64 << 20
	}
	if s.limits.RequestTime <= 0 {
		s.limits.RequestTime = 30 * time.Second
	}
	return s
}

// Handles reports whether a request is one of a device's: both interfaces share
// a listener, and their paths begin alike (azure-iot-wire 0).
func Handles(r *http.Request) bool {
	p := split(r.URL.EscapedPath())
	return len(p) >= 3 && strings.EqualFold(p[0], "devices") && strings.EqualFold(p[2], "messages") ||
		len(p) >= 5 && strings.EqualFold(p[0], "devices") && strings.EqualFold(p[2], "modules") && strings.EqualFold(p[4], "messages")
}

func split(path string) []string {
	return strings.Split(strings.TrimSuffix(strings.TrimPrefix(path, "/"), "/"), "/")
}

// exchange is one request on its way.
type exchange struct {
	*Server
	w         http.ResponseWriter
	r         *http.Request
	ctx       context.Context
	device    Device
	ref       device.Ref // decoded
	literal   device.Ref // as it came
	lock      string
	id        string
	operation string // label of the metrics
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := s.clock()
	ctx, cancel := context.WithTimeout(r.Context(), s.limits.RequestTime)
	defer cancel()
	x := &exchange{Server: s, w: w, r: r, ctx: ctx, operation: "unknown", id: fmt.Sprintf("%x-%d", start.UnixNano(), s.serial.Add(1))}
	w.Header().Set("x-ms-request-id", x.id)
	status, err := x.serve()
	if err != nil {
		status = x.fail(err)
	} else if status == http.StatusNoContent {
		w.WriteHeader(status)
	}
	s.metrics.observe(x.operation, status, s.clock().Sub(start))
}

func (x *exchange) serve() (status int, err error) {
	handle, err := x.route()
	if err != nil {
		return 0, err
	}
	if err := apiVersion(x.r.URL.Query().Get("api-version")); err != nil {
		return 0, err
	}
	if err := x.admit(); err != nil {
		return 0, err
	}
	return handle()
}

// route reads the path; fixed words are compared without case.
func (x *exchange) route() (func() (int, error), error) {
	p := split(x.r.URL.EscapedPath())
	word := func(i int, w string) bool { return i < len(p) && strings.EqualFold(p[i], w) }
	if !Handles(x.r) {
		return nil, errRoute
	}
	x.literal.Device = p[1]
	p = p[2:]
	if word(0, "modules") {
		x.literal.Module = p[1]
		p = p[2:]
	}
	x.ref = device.Ref{Device: ingest.Unescape(x.literal.Device), Module: ingest.Unescape(x.literal.Module)}
	methods := map[string]func() (int, error){}
	name := map[string]string{}
	switch {
	case len(p) == 2 && word(1, "events"):
		methods[http.MethodPost], name[http.MethodPost] = x.send, "send"
	case x.ref.Module != "":
		return nil, errRoute // modules can't poll (azure-iot-wire 3)
	case len(p) == 2 && word(1, "devicebound"):
		methods[http.MethodGet], name[http.MethodGet] = x.receive, "receive"
	case len(p) == 3 && word(1, "devicebound"):
		x.lock = ingest.Unescape(p[2])
		o := device.OutcomeComplete
		// Node sends &reject, Java &%3Freject=true.
		if strings.Contains(strings.ToLower(x.r.URL.RawQuery), "reject") {
			o = device.OutcomeReject
		}
		methods[http.MethodDelete], name[http.MethodDelete] = func() (int, error) { return x.settle(o) }, o.String()
	case len(p) == 4 && word(1, "devicebound") && word(3, "abandon"):
		x.lock = ingest.Unescape(p[2])
		methods[http.MethodPost], name[http.MethodPost] = func() (int, error) { return x.settle(device.OutcomeAbandon) }, "abandon"
	default:
		return nil, errRoute
	}
	handle, ok := methods[x.r.Method]
	if !ok {
		for m := range methods {
			x.w.Header().Set("Allow", m)
		}
		return nil, errMethod
	}
	x.operation = name[x.r.Method]
	return handle, nil
}

// apiVersion accepts the versions of azure-iot-wire 0.
func apiVersion(v string) error {
	switch v {
	case "2016-02-03", "2016-11-14", "2018-06-30", "2019-03-30", "2019-10-01", "2020-03-13",
		"2020-05-31-preview", "2020-09-30", "2021-04-12":
		return nil
	}
	return errAPIVersion
}

// admit verifies the credential. Java does not encode ids: when the decoded one
// has no such credential and the text as it came is another, that one is meant.
func (x *exchange) admit() error {
	c := ingest.Credentials{
		Protocol: "https", DeviceID: x.ref.Device, ModuleID: x.ref.Module, Host: x.r.Host,
		Agent: x.r.UserAgent(), Token: x.r.Header.Get("Authorization"),
	}
	c.Remote, _ = netip.ParseAddrPort(x.r.RemoteAddr)
	if x.r.TLS != nil {
		c.PeerCertificates = x.r.TLS.PeerCertificates
	}
	var err error
	x.device, err = x.hub.Admit(x.ctx, c)
	if errors.Is(err, ingest.ErrUnauthorized) && x.literal != x.ref {
		c.DeviceID, c.ModuleID = x.literal.Device, x.literal.Module
		if d, e := x.hub.Admit(x.ctx, c); e == nil {
			x.device, x.ref, err = d, x.literal, nil
		}
	}
	return err
}

// body reads the request's body of at most limit bytes; the caller calls free
// when it does not need it any more.
func (x *exchange) body(limit int64) (b []byte, free func(), err error) {
	size := x.r.ContentLength
	if size > limit {
		return nil, nil, fmt.Errorf("%w: the body has %d bytes, %d are allowed", ingest.ErrTooLarge, size, limit)
	}
	if size < 0 {
		size = limit
	}
	if x.bytes.Add(size) > x.limits.Bytes {
		x.bytes.Add(-size)
		return nil, nil, errFull
	}
	free = func() { x.bytes.Add(-size) }
	if deadline, ok := x.ctx.Deadline(); ok {
		// A handler under test may have no connection.
		http.NewResponseController(x.w).SetReadDeadline(deadline)
	}
	b, err = io.ReadAll(http.MaxBytesReader(x.w, x.r.Body, limit))
	if err == nil {
		return b, free, nil
	}
	free()
	var tooLong *http.MaxBytesError
	if errors.As(err, &tooLong) {
		return nil, nil, fmt.Errorf("%w: the body is longer than the %d bytes allowed", ingest.ErrTooLarge, limit)
	}
	return nil, nil, fmt.Errorf("%w: the body broke off", ingest.ErrInvalid)
}
