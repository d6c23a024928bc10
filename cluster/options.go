package cluster

import (
	"cmp"
	"errors"
	"log/slog"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/prometheus/client_golang/prometheus"
)

// Options of a Cluster. Node, Partitions and DeviceProps are required.
type Options struct {
	// Node is this member's name, unique in the cluster and the same over restarts.
	Node string

	// Partitions gives the partition of a device id; a negative number means that
	// the id is not valid. It is called from many goroutines.
	Partitions func(deviceID string) int32

	// DeviceProps makes the actor of a device. It and the props' producer run once
	// an activation, outside all locks, and must return soon. A mailbox in
	// the props must take *actor.PoisonPill at any time, and answers a request it
	// has no room for with an error that has a method Busy() bool. Dispatcher and
	// guardian of the props are replaced.
	//
	// An actor with a method Idle() bool is asked before it is passivated, from its
	// own goroutine, and stays when it answers false. It should, as long as it
	// holds a live session. Requests that wait for its answer keep it as well.
	DeviceProps func(deviceID string) *actor.Props

	// IdleTimeout is how long after its last message an actor is passivated;
	// 0 means 5 minutes. The sweep runs four times in that time.
	IdleTimeout time.Duration

	// RequestTimeout bounds requests whose context has no deadline; 0 means 30 s.
	RequestTimeout time.Duration

	// MaxActivations bounds the device actors of this node; 0 means 200,000,
	// each of which takes 1.7 KB and what it holds. Over it a message for another
	// device is refused with ErrBusy, and the actors that were idle longest are
	// asked to make room.
	MaxActivations int

	// MaxHeld bounds the messages held for one device while its actor starts or
	// stops; 0 means 128.
	MaxHeld int

	// Now is the clock for idle times; nil means time.Now.
	Now func() time.Time

	Logger     *slog.Logger          // nil discards
	Registerer prometheus.Registerer // nil: metrics are kept but not exported
}

func (o Options) withDefaults() (Options, error) {
	var missing []error
	if o.Node == "" {
		missing = append(missing, errors.New("Node is empty; give this member a name"))
	}
	if o.Partitions == nil {
		missing = append(missing, errors.New("Partitions is nil; give the log's partitioner"))
	}
	if o.DeviceProps == nil {
		missing = append(missing, errors.New("DeviceProps is nil; give the maker of device actors"))
	}
	if o.IdleTimeout < 0 || o.RequestTimeout < 0 || o.MaxActivations < 0 || o.MaxHeld < 0 {
		missing = append(missing, errors.New("limits and time-outs can't be negative; 0 takes the default"))
	}
	o.IdleTimeout = cmp.Or(o.IdleTimeout, 5*time.Minute)
	o.RequestTimeout = cmp.Or(o.RequestTimeout, 30*time.Second)
	o.MaxActivations = cmp.Or(o.MaxActivations, 200_000)
	o.MaxHeld = cmp.Or(o.MaxHeld, 128)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, errors.Join(missing...)
}
