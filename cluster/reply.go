package cluster

import "github.com/asynkron/protoactor-go/actor"

// reply is the process that a request names as its sender. Unlike the library's
// future it has no timer and no lock, and the one who waits can give up.
type reply struct {
	answer chan any    // one slot; answers after the first are dropped
	on     *activation // who will answer; guarded by Cluster.mu
}

var _ actor.Process = (*reply)(nil)

// failure is an answer of this package itself.
type failure struct{ err error }

func newReply() *reply { return &reply{answer: make(chan any, 1)} }

// SendUserMessage takes the answer; it never blocks.
func (r *reply) SendUserMessage(_ *actor.PID, message any) {
	_, msg, _ := actor.UnwrapEnvelope(message)
	select {
	case r.answer <- msg:
	default:
	}
}

// SendSystemMessage does nothing: nobody watches or stops a reply.
func (r *reply) SendSystemMessage(*actor.PID, any) {}

// Stop does nothing.
func (r *reply) Stop(*actor.PID) {}

func (r *reply) fail(err error) { r.SendUserMessage(nil, failure{err}) }
