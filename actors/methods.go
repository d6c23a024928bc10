package actors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/gemello/gemello/device"
)

// methodsPerDevice bounds the calls of one device, waiting for it or under way.
// It is below the device actor's mailbox, so that their answers fit.
const methodsPerDevice = 64

// methodBytes bounds the payloads of all calls that this node holds.
const methodBytes = 64 << 20

// methodOverhead is what a call counts for beside its payload, in bytes.
const methodOverhead = 512

// invoke asks a device actor to have a method run; invoked is its answer.
type invoke struct{ device.MethodCall }

// Size is what the actor's mailbox counts.
func (m *invoke) Size() int { return len(m.Payload) + methodOverhead }

type invoked struct {
	status  int
	payload []byte
	err     error
}

// methodAnswer is what the device says.
type methodAnswer struct {
	rid     string
	status  int
	payload []byte
}

// Size is what the actor's mailbox counts.
func (m *methodAnswer) Size() int { return len(m.payload) + methodOverhead }

// methodDue says that the time of a call is over: of its waiting, or once it was
// sent, of the device's answer.
type methodDue struct {
	rid  string
	sent bool
}

// methodCall is one call in a device actor.
type methodCall struct {
	invoke
	rid   string
	sent  bool // to the session; else it waits for one
	timer *time.Timer
	reply func(*invoked)
}

// methodQueue holds the calls of one device. It belongs to the actor's goroutine.
type methodQueue struct {
	calls   map[string]*methodCall // by rid
	waiting []*methodCall          // those of calls that were not sent, in order
}

// invoke takes a call: it is sent at once when the client has subscribed, waits
// when it may, and is refused otherwise.
func (d *deviceActor) invoke(ctx actor.Context, m *invoke) {
	sender, root := ctx.Sender(), ctx.ActorSystem().Root
	c := &methodCall{invoke: *m, rid: d.node.nextRID(), reply: func(r *invoked) { root.Send(sender, r) }}
	q := &d.methods
	if len(q.calls) >= methodsPerDevice {
		c.reply(&invoked{err: fmt.Errorf("%w: %s has %d calls of methods under way", ErrBusy, d.ref, methodsPerDevice)})
		return
	}
	if d.sendMethod(c) {
		q.put(c)
		return
	}
	if c.ConnectTimeout <= 0 {
		c.reply(&invoked{err: device.ErrNotOnline})
		return
	}
	q.put(c)
	q.waiting = append(q.waiting, c)
	d.arm(c, c.ConnectTimeout)
}

func (q *methodQueue) put(c *methodCall) {
	if q.calls == nil {
		q.calls = make(map[string]*methodCall)
	}
	q.calls[c.rid] = c
}

// sendMethod hands a call to the session.
func (d *deviceActor) sendMethod(c *methodCall) bool {
	if d.current == nil || !d.ready[featureMethods] || !d.current.Session.Method(c.rid, c.Name, c.Payload) {
		return false
	}
	c.sent, c.Payload = true, nil
	d.arm(c, c.ResponseTimeout)
	return true
}

// arm sets the time that the call's present step may take.
func (d *deviceActor) arm(c *methodCall, after time.Duration) {
	if c.timer != nil {
		c.timer.Stop()
	}
	node, id, due := d.node, d.ref.String(), &methodDue{c.rid, c.sent}
	c.timer = time.AfterFunc(after, func() { node.sendLater(id, due, 0) })
}

// sendWaiting sends what has waited for the client to subscribe.
func (d *deviceActor) sendWaiting() {
	q := &d.methods
	q.waiting = slices.DeleteFunc(q.waiting, d.sendMethod)
}

// answered takes the device's answer. One that comes too late finds no call.
func (d *deviceActor) answered(m *methodAnswer) {
	c := d.methods.calls[m.rid]
	if c == nil || !c.sent {
		d.node.metrics.methods.dropped.WithLabelValues("late").Inc()
		return
	}
	d.methods.end(c, &invoked{status: m.status, payload: m.payload})
}

// due ends a call whose time is over.
func (d *deviceActor) due(m *methodDue) {
	c := d.methods.calls[m.rid]
	if c == nil || c.sent != m.sent {
		return
	}
	err := device.ErrNoAnswer
	if !c.sent {
		err = device.ErrNotOnline
	}
	d.methods.end(c, &invoked{err: err})
}

func (q *methodQueue) end(c *methodCall, r *invoked) {
	if c.timer != nil {
		c.timer.Stop()
	}
	delete(q.calls, c.rid)
	if !c.sent {
		q.waiting = slices.DeleteFunc(q.waiting, func(w *methodCall) bool { return w == c })
	}
	c.reply(r)
}

// sessionEnded fails the calls that the session will not answer any more.
func (q *methodQueue) sessionEnded() {
	for _, c := range q.calls {
		if c.sent {
			q.end(c, &invoked{err: device.ErrConnection})
		}
	}
}

// stop fails all calls: the actor ends.
func (q *methodQueue) stop() {
	for _, c := range q.calls {
		q.end(c, &invoked{err: ErrUnavailable})
	}
}

// canCall asks a device actor whether a method would reach the client now.
type canCall struct{}

// callable reports whether a call of a method would be sent at once. The error is
// device.ErrNotFound, ErrModuleNotFound, or that of asking.
func (n *Node) callable(ctx context.Context, ref device.Ref) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	answer, err := n.cluster.Request(ctx, ref.String(), &canCall{})
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if yes, ok := answer.(bool); ok && yes {
		return true, nil
	}
	_, err = n.identity(ctx, ref)
	return false, err
}

// InvokeMethod has a device or module run a method and returns its answer. The errors are
// those of MethodCall.Check, device.ErrNotFound, ErrNotOnline, ErrConnection,
// ErrNoAnswer, ErrBadAnswer, or ErrBusy and ErrUnavailable. When ctx ends first
// the device may have run the method all the same.
func (n *Node) InvokeMethod(ctx context.Context, ref device.Ref, c device.MethodCall) (device.MethodResult, error) {
	start := n.now()
	n.metrics.methods.inFlight.Inc()
	r, err := n.invokeMethod(ctx, ref, c)
	n.metrics.methods.inFlight.Dec()
	n.metrics.methods.calls.WithLabelValues(methodResult(err)).Inc()
	if err != nil {
		return device.MethodResult{}, fmt.Errorf("method of %s: %w", ref, err)
	}
	n.metrics.methods.seconds.Observe(n.now().Sub(start).Seconds())
	return r, nil
}

func (n *Node) invokeMethod(ctx context.Context, ref device.Ref, c device.MethodCall) (device.MethodResult, error) {
	none := device.MethodResult{}
	if err := c.Check(); err != nil {
		return none, err
	}
	size := int64(len(c.Payload) + methodOverhead)
	if n.methodBytes.Add(size) > methodBytes {
		n.methodBytes.Add(-size)
		return none, fmt.Errorf("%w: too many calls of methods under way on this node", ErrBusy)
	}
	defer n.methodBytes.Add(-size)
	if c.ConnectTimeout > 0 {
		// Nobody waits for a device that does not exist.
		if _, err := n.identity(ctx, ref); err != nil {
			return none, err
		}
	}
	// The actor keeps the time; this is for the case that its messages are lost.
	limit, cancel := context.WithTimeout(ctx, c.ConnectTimeout+c.ResponseTimeout+methodGrace)
	defer cancel()
	answer, err := n.cluster.Request(limit, ref.String(), &invoke{c})
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return none, ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		return none, device.ErrNoAnswer
	case isBusy(err):
		return none, fmt.Errorf("%w: the device's actor has too much to do", ErrBusy)
	default:
		return none, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	r, ok := answer.(*invoked)
	if !ok {
		return none, ErrUnavailable
	}
	if errors.Is(r.err, device.ErrNotOnline) && c.ConnectTimeout <= 0 {
		if _, err := n.identity(ctx, ref); err != nil {
			return none, err
		}
	}
	if r.err != nil {
		return none, r.err
	}
	return device.ReadMethodResult(r.status, r.payload)
}

// methodGrace is how much later than the device actor its caller gives up.
const methodGrace = 5 * time.Second

// MethodResponse is a device's answer to a method.
func (n *Node) MethodResponse(ref device.Ref, rid string, status int, payload []byte) {
	if len(payload) > device.MaxMethodPayload {
		payload = payload[:device.MaxMethodPayload+1] // enough to be refused
	}
	if err := n.cluster.Send(ref.String(), &methodAnswer{rid, status, payload}); err != nil {
		n.metrics.methods.dropped.WithLabelValues("busy").Inc()
	}
}

// nextRID makes the id of a call, which no earlier call of this or another life
// of a node is likely to have had: a device may answer after a restart.
func (n *Node) nextRID() string {
	return strconv.FormatUint(n.methodBase+n.methodSeq.Add(1), 36)
}

// methodResult is the label of a call's end.
func methodResult(err error) string {
	for _, r := range [...]struct {
		err  error
		name string
	}{
		{device.ErrNotOnline, "not_online"}, {device.ErrConnection, "connection_closed"}, {device.ErrNoAnswer, "no_answer"},
		{device.ErrBadAnswer, "bad_answer"}, {device.ErrNotFound, "not_found"}, {device.ErrModuleNotFound, "not_found"}, {ErrBusy, "busy"},
		{device.ErrArgument, "invalid"}, {device.ErrFormat, "invalid"}, {device.ErrTooLarge, "invalid"},
		{context.Canceled, "canceled"}, {context.DeadlineExceeded, "canceled"},
	} {
		if errors.Is(err, r.err) {
			return r.name
		}
	}
	if err != nil {
		return "unavailable"
	}
	return "answered"
}
