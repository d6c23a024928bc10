package api

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gemello/gemello/device"
)

// Methods has devices and modules run direct methods. InvokeMethod blocks until the device
// has answered or the call's time-outs are over; the errors wrap those of package
// device or of this one.
type Methods interface {
	InvokeMethod(ctx context.Context, ref device.Ref, c device.MethodCall) (device.MethodResult, error)
}

const (
	// maxMethodBody holds the greatest payload, the greatest name and the rest.
	maxMethodBody = device.MaxMethodPayload + 8<<10
	// methodMargin is how much earlier than its time-out a call is answered:
	// Node closes its socket at that very moment.
	methodMargin = 500 * time.Millisecond
	// methodGrace is how long past its time-outs a call may still wait for the
	// hub, which keeps them itself.
	methodGrace = 10 * time.Second
)

// methodInput is the body of a call (azure-iot-wire 5.4).
type methodInput struct {
	MethodName               string
	Payload                  json.RawMessage
	ResponseTimeoutInSeconds *int
	ConnectTimeoutInSeconds  *int
}

func (in *methodInput) call() (device.MethodCall, error) {
	c := device.MethodCall{Name: in.MethodName, Payload: in.Payload}
	var err error
	c.ConnectTimeout, c.ResponseTimeout, err = methodTimes(in.ConnectTimeoutInSeconds, in.ResponseTimeoutInSeconds)
	if err != nil {
		return c, err
	}
	return c, c.Check()
}

// methodTimes checks time-outs in seconds; nil, and 0 for the response, mean the
// default.
func methodTimes(connect, response *int) (time.Duration, time.Duration, error) {
	c, r := time.Duration(0), device.DefaultMethodResponse
	if connect != nil {
		if limit := int(device.MaxConnectTimeout / time.Second); *connect < 0 || *connect > limit {
			return 0, 0, fmt.Errorf("%w: connectTimeoutInSeconds %d, allowed is 0 to %d", device.ErrArgument, *connect, limit)
		}
		c = time.Duration(*connect) * time.Second
	}
	if response != nil && *response != 0 {
		least, limit := int(device.MinResponseTimeout/time.Second), int(device.MaxResponseTimeout/time.Second)
		if *response < least || *response > limit {
			return 0, 0, fmt.Errorf("%w: responseTimeoutInSeconds %d, allowed is %d to %d", device.ErrArgument, *response, least, limit)
		}
		r = time.Duration(*response) * time.Second
	}
	return c, r - methodMargin, nil
}

func (s *Service) invokeMethod(ctx context.Context, c *call) error {
	return invokeMethod(c, s.methods, &s.open, c.forRef)
}

func (a *Admin) invokeMethod(ctx context.Context, c *call) error {
	return invokeMethod(c, a.o.Methods, &a.open, func(f func(device.Ref) error) error {
		ref, err := c.adminRef()
		if err != nil {
			return err
		}
		return f(ref)
	})
}

// invokeMethod answers {"status":…,"payload":…}.
func invokeMethod(c *call, hub Methods, open *openCalls, forRef func(func(device.Ref) error) error) error {
	if hub == nil {
		return ErrNotYet
	}
	raw, err := c.body(maxMethodBody)
	if err != nil {
		return err
	}
	var in methodInput
	if err := decodeJSON(raw, &in); err != nil {
		return err
	}
	m, err := in.call()
	if err != nil {
		return err
	}
	return forRef(func(ref device.Ref) error {
		r, err := open.invoke(c, hub, ref, m, raw)
		if err != nil {
			return err
		}
		body := strconv.AppendInt([]byte(`{"status":`), int64(r.Status), 10)
		body = append(body, `,"payload":`...)
		body = append(body, r.Payload...)
		return c.reply(http.StatusOK, append(body, '}'))
	})
}

// openCalls are the calls of methods that wait for their device. A client that
// repeats a request because its connection broke must not make the device act
// twice: the same request, by its id and all that is in it, joins the first while
// that is open. Azure's SDK for Java counts its request ids from one, so the id
// alone says little.
type openCalls struct {
	mu sync.Mutex // guards m
	m  map[openKey]*openCall
}

type openKey struct {
	actor, host, requestID string
	ref                    device.Ref
	body                   [sha256.Size]byte
}

type openCall struct {
	done   chan struct{} // closed when the following are set
	result device.MethodResult
	err    error
}

func (o *openCalls) invoke(c *call, hub Methods, ref device.Ref, m device.MethodCall, raw []byte) (device.MethodResult, error) {
	limit := m.ConnectTimeout + m.ResponseTimeout + methodGrace
	if c.r.Header.Get("Request-Id") == "" {
		ctx, cancel := context.WithTimeout(c.r.Context(), limit)
		defer cancel()
		return hub.InvokeMethod(ctx, ref, m)
	}
	host, _, err := net.SplitHostPort(c.r.RemoteAddr)
	if err != nil {
		host = c.r.RemoteAddr
	}
	key := openKey{c.audit.Actor, host, c.requestID, ref, sha256.Sum256(raw)}
	o.mu.Lock()
	first := o.m[key]
	if first != nil {
		o.mu.Unlock()
		select {
		case <-first.done:
			return first.result, first.err
		case <-c.r.Context().Done():
			return device.MethodResult{}, c.r.Context().Err()
		}
	}
	mine := &openCall{done: make(chan struct{}), err: ErrUnavailable}
	if o.m == nil {
		o.m = make(map[openKey]*openCall)
	}
	o.m[key] = mine
	o.mu.Unlock()
	defer func() {
		o.mu.Lock()
		delete(o.m, key)
		o.mu.Unlock()
		close(mine.done)
	}()
	// The call goes on when its client has gone: the one that repeats it takes
	// the answer.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.r.Context()), limit)
	defer cancel()
	mine.result, mine.err = hub.InvokeMethod(ctx, ref, m)
	return mine.result, mine.err
}
