package actors

import (
	"cmp"
	"runtime"
	"sync"

	"github.com/asynkron/protoactor-go/actor"
)

// Busy is the answer of an actor whose mailbox is full: the message was not
// taken, and it may be sent again later. It is an error, for those who wait for
// an answer, and can be compared.
type Busy struct{}

func (Busy) Error() string { return "busy: the actor's mailbox is full" }

// Unwrap lets errors.Is find ErrBusy.
func (Busy) Unwrap() error { return ErrBusy }

// Busy answers true; packages that may not import this one recognise it by that.
func (Busy) Busy() bool { return true }

// MailboxOptions bound a mailbox.
type MailboxOptions struct {
	Items int // messages waiting; 0 means 256

	// Bytes is the sum of Size() of those messages that have a method Size() int;
	// 0 means 1 MiB. A message that alone exceeds it is refused always.
	Bytes int

	// Refused is called for each message refused, from the sender's goroutine; it
	// must not block. nil is allowed.
	Refused func()
}

// BoundedMailbox makes mailboxes that refuse what they have no room for: they
// answer a request with Busy, drop a message without a sender, and count both.
// Posting never blocks. The library's own choices are an unbounded one, one that
// spins while it is full, and one that drops the oldest in silence.
//
// *actor.PoisonPill and *actor.ReceiveTimeout are taken beyond the bounds, since
// a full actor must be able to end, and so are system messages. Once the actor
// has begun to stop, the messages still waiting are answered with
// *actor.DeadLetterResponse and the actor sees none of them: who asked learns at
// once that it may ask again. Message batches are not unpacked.
func BoundedMailbox(o MailboxOptions) actor.MailboxProducer {
	o.Items = cmp.Or(o.Items, 256)
	o.Bytes = cmp.Or(o.Bytes, 1<<20)
	return func() actor.Mailbox { return &boundedMailbox{limits: o} }
}

type boundedMailbox struct {
	limits MailboxOptions

	mu         sync.Mutex // guards the following; neither actors nor answers run under it
	user       mailQueue
	bytes      int
	system     []any // bounded by what the actor watches and supervises
	scheduled  bool  // a goroutine runs process
	suspended  bool  // by a failure, until supervision has decided
	stopping   bool  // the actor has been told to stop
	invoker    actor.MessageInvoker
	dispatcher actor.Dispatcher // nil until the actor is ready
}

var _ actor.Mailbox = (*boundedMailbox)(nil)

// mail is a message with the bytes it is counted with.
type mail struct {
	message any
	size    int
}

func (m *boundedMailbox) PostUserMessage(message any) {
	_, inner, sender := actor.UnwrapEnvelope(message)
	size := 0
	if s, ok := inner.(interface{ Size() int }); ok {
		size = s.Size()
	}
	beyond := false
	switch inner.(type) {
	case *actor.PoisonPill, *actor.ReceiveTimeout:
		beyond = true
	}
	m.mu.Lock()
	if !beyond && (m.user.len() >= m.limits.Items || m.bytes+size > m.limits.Bytes) {
		m.mu.Unlock()
		if m.limits.Refused != nil {
			m.limits.Refused()
		}
		m.answer(sender, Busy{})
		return
	}
	m.user.push(mail{message, size})
	m.bytes += size
	m.scheduleAndUnlock()
}

func (m *boundedMailbox) PostSystemMessage(message any) {
	m.mu.Lock()
	m.system = append(m.system, message)
	m.scheduleAndUnlock()
}

func (m *boundedMailbox) RegisterHandlers(invoker actor.MessageInvoker, dispatcher actor.Dispatcher) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.invoker, m.dispatcher = invoker, dispatcher
}

// Start does nothing: the library posts *actor.Started before it calls it.
func (m *boundedMailbox) Start() {}

func (m *boundedMailbox) UserMessageCount() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.user.len()
}

// scheduleAndUnlock starts a run unless there is one.
func (m *boundedMailbox) scheduleAndUnlock() {
	start := !m.scheduled && m.dispatcher != nil
	if start {
		m.scheduled = true
	}
	d := m.dispatcher
	m.mu.Unlock()
	if start {
		d.Schedule(m.process)
	}
}

// process works until nothing is left to do; a failure of the actor does not end it.
func (m *boundedMailbox) process() {
	for m.run() {
	}
}

func (m *boundedMailbox) run() (again bool) {
	var message any
	defer func() {
		if r := recover(); r != nil {
			m.invoker.EscalateFailure(r, message)
			again = true
		}
	}()
	throughput := m.dispatcher.Throughput()
	for i := 1; ; i++ {
		if i%max(throughput, 1) == 0 {
			runtime.Gosched()
		}
		var kind mailKind
		switch message, kind = m.next(); kind {
		case mailNone:
			return false
		case mailSystem:
			m.invoker.InvokeSystemMessage(message)
		case mailUser:
			m.invoker.InvokeUserMessage(message)
		case mailDead:
			if _, inner, sender := actor.UnwrapEnvelope(message); inner != nil {
				m.answer(sender, &actor.DeadLetterResponse{})
			}
		}
	}
}

// mailKind says what to do with a message.
type mailKind uint8

const (
	mailNone    mailKind = iota // nothing to do; the run is over
	mailControl                 // for the mailbox itself, which has heeded it
	mailSystem                  // for the actor's life cycle
	mailUser                    // for the actor
	mailDead                    // for an actor that is no more
)

// next takes the message that is due: system messages come first.
func (m *boundedMailbox) next() (any, mailKind) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.system) > 0 {
		message := m.system[0]
		m.system[0] = nil
		if m.system = m.system[1:]; len(m.system) == 0 {
			m.system = nil
		}
		switch message.(type) {
		case *actor.SuspendMailbox:
			m.suspended = true
			return nil, mailControl
		case *actor.ResumeMailbox:
			m.suspended = false
			return nil, mailControl
		case *actor.Stop:
			m.stopping = true
		}
		return message, mailSystem
	}
	if m.user.len() == 0 || m.suspended && !m.stopping {
		m.scheduled = false
		return nil, mailNone
	}
	due := m.user.pop()
	m.bytes -= due.size
	if m.stopping {
		return due.message, mailDead
	}
	return due.message, mailUser
}

// answer replies to a sender in the actor's name.
func (m *boundedMailbox) answer(sender *actor.PID, response any) {
	if sender == nil {
		return
	}
	m.mu.Lock()
	i := m.invoker
	m.mu.Unlock()
	if ctx, ok := i.(interface{ ActorSystem() *actor.ActorSystem }); ok {
		ctx.ActorSystem().Root.Send(sender, response)
	}
}

// mailQueue is a queue that gives its memory back when it runs empty, for a node
// holds many actors that rarely have mail.
type mailQueue struct {
	items []mail
	head  int
}

func (q *mailQueue) len() int { return len(q.items) - q.head }

func (q *mailQueue) push(m mail) {
	if len(q.items) == cap(q.items) && q.head > len(q.items)/2 {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, m)
}

func (q *mailQueue) pop() mail {
	m := q.items[q.head]
	q.items[q.head] = mail{}
	q.head++
	if q.head == len(q.items) {
		const keep = 16
		if q.items, q.head = q.items[:0], 0; cap(q.items) > keep {
			q.items = nil
		}
	}
	return m
}
