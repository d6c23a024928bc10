package actors

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/ingest"
)

// Reasons that a device actor closes a session for.
const (
	ClosedTakenOver = "taken_over" // a newer connection of the same device
	ClosedDisabled  = "disabled"   // the credential is no longer good
)

// Session is the live connection of a device as its actor sees it. The methods
// never block and are called from the actor's goroutine.
type Session interface {
	Close(reason string)
	DesiredChanged(version int64, patch []byte)
	// Method sends a method's request; false: it can't reach the client.
	Method(rid, name string, payload []byte) bool
	// Command sends a command; false: it can't reach the client for now.
	Command(ingest.Command) bool
}

// Attachment asks to make a connection the device's session.
type Attachment struct {
	ID      string // of the session, unique over all nodes and restarts
	Session Session
	// Check verifies the connection's credential against the identity, whose
	// keys are sealed. It runs again whenever the identity changes.
	Check func(*device.Identity) error
}

// mailboxItems bounds what waits for one device actor.
const mailboxItems = 256

type attach struct {
	Attachment
	ctx context.Context
}

type detach struct{ id string }

// deviceActor is the virtual actor of one device or module: it lives on the node that
// owns the device's partition, is made by the first message and goes when idle.
// It holds the live session; all else can be read again from the partition.
type deviceActor struct {
	node     *Node
	ref      device.Ref
	current  *Attachment
	ready    [featureCount]bool // what the current session's client has subscribed to
	methods  methodQueue
	commands commandFlow
}

func (n *Node) deviceProps(id string) *actor.Props {
	return actor.PropsFromProducer(func() actor.Actor { return &deviceActor{node: n, ref: device.ParseRef(id)} },
		actor.WithMailbox(BoundedMailbox(MailboxOptions{Items: mailboxItems})))
}

// Idle says that the actor may be passivated.
func (d *deviceActor) Idle() bool { return d.current == nil && len(d.methods.calls) == 0 }

// Receive handles one message; protoactor calls it from one goroutine at a time.
func (d *deviceActor) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *attach:
		ctx.Respond(d.attach(m))
	case *detach:
		if d.current != nil && d.current.ID == m.id {
			d.endSession()
		}
	case *featureChange:
		d.feature(m)
	case *invoke:
		d.invoke(ctx, m)
	case *canCall:
		ctx.Respond(d.current != nil && d.ready[featureMethods])
	case *methodAnswer:
		d.answered(m)
	case *methodDue:
		d.due(m)
	case *commandsReceived:
		d.commandsReceived(m)
	case *commandSettle:
		d.settleCommand(m)
	case partition.Notice:
		d.notice(m)
	case *actor.Stopping:
		d.methods.stop()
		if d.current != nil {
			d.current.Session.Close(ClosedTakenOver)
		}
	}
}

// attached answers an attach.
type attached struct{ err error }

// attach verifies the credential and makes the connection the session; the one
// before it is closed (azure-iot-wire 2.1).
func (d *deviceActor) attach(m *attach) *attached {
	id, err := d.node.identity(m.ctx, d.ref)
	if err != nil {
		return &attached{err}
	}
	if err := m.Check(id); err != nil {
		return &attached{err}
	}
	if d.current != nil {
		d.current.Session.Close(ClosedTakenOver)
		d.endSession()
	}
	d.current = &m.Attachment
	return &attached{}
}

func (d *deviceActor) notice(m partition.Notice) {
	if d.current == nil {
		return
	}
	switch m.Kind {
	case partition.NoticeDesired:
		d.current.Session.DesiredChanged(m.Version, m.Patch)
	case partition.NoticeCommands:
		d.askCommands()
	case partition.NoticeIdentity:
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		id, err := d.node.identity(ctx, d.ref)
		if err == nil {
			err = d.current.Check(id)
		} else if !errors.Is(err, device.ErrNotFound) && !errors.Is(err, device.ErrModuleNotFound) {
			return // the partition moves; the session checks again when it reconnects
		}
		if err != nil {
			d.current.Session.Close(ClosedDisabled)
			d.endSession()
		}
	}
}

// identity reads an identity, or ErrNotFound or ErrModuleNotFound. A module's
// has the status of its device, which decides whether it may connect.
func (n *Node) identity(ctx context.Context, ref device.Ref) (*device.Identity, error) {
	var found *device.Identity
	var err error
	if e := n.devicesDo(ctx, ref.Device, func(d *partition.Devices) {
		var kept, owner *partition.Device
		if kept, err = d.Get(ref); err != nil || kept == nil {
			return
		}
		copied := kept.Identity
		if ref.Module != "" {
			if owner, err = d.Get(device.Ref{Device: ref.Device}); err != nil || owner == nil {
				return
			}
			copied.Status = owner.Identity.Status
		}
		found = &copied
	}); e != nil {
		return nil, e
	}
	if err == nil && found == nil {
		err = ref.NotFound()
	}
	return found, err
}

// SealedIdentity reads an identity with its keys sealed, to verify a credential
// that comes without a session; ErrNotFound or ErrModuleNotFound.
func (n *Node) SealedIdentity(ctx context.Context, ref device.Ref) (*device.Identity, error) {
	return n.identity(ctx, ref)
}

// Attach makes a connection the session of a device or module after its
// credential has been verified against the identity; the errors are Check's,
// ErrNotFound, ErrModuleNotFound, ErrUnavailable or ErrBusy.
func (n *Node) Attach(ctx context.Context, ref device.Ref, a Attachment) error {
	answer, err := n.cluster.Request(ctx, ref.String(), &attach{Attachment: a, ctx: ctx})
	if err != nil {
		return fmt.Errorf("attach %s: %w", ref, err)
	}
	if r, ok := answer.(*attached); ok {
		return r.err
	}
	return fmt.Errorf("attach %s: %w", ref, ErrUnavailable)
}

// Detach ends a session; it does nothing when a newer one has taken its place.
func (n *Node) Detach(ref device.Ref, session string) {
	n.sendLater(ref.String(), &detach{session}, 0)
}
