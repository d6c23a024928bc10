package cluster

import "errors"

// Errors that callers branch on.
var (
	// ErrBusy: a bound is reached (the actor's mailbox, the messages held for its
	// next activation, or Options.MaxActivations). The message was not taken; try
	// again later. It has a method Busy() bool that answers true, so that packages
	// which may not import this one can recognise it.
	ErrBusy error = busy{}
	// ErrStopped: the cluster is stopping or has stopped.
	ErrStopped = errors.New("cluster is stopped")
	// ErrFailed: the device actor ended before it answered, most often because it
	// panicked. Whether the message took effect is not known.
	ErrFailed = errors.New("device actor ended before it answered")
	// ErrElsewhere: the device's partition is placed on a member that can't be
	// reached from here.
	ErrElsewhere = errors.New("device lives on a member that can't be reached")
	// ErrNoPartition: Options.Partitions knows no partition for the device id.
	ErrNoPartition = errors.New("device id belongs to no partition")
)

// errUndelivered: the actor had stopped when the message reached it, so nobody
// has seen the message and it may be sent again.
var errUndelivered = errors.New("device actor had stopped")

type busy struct{}

func (busy) Error() string { return "busy" }
func (busy) Busy() bool    { return true }

// isBusy recognises the answer of a full mailbox, whichever package declares it.
func isBusy(err error) bool {
	var b interface{ Busy() bool }
	return errors.As(err, &b) && b.Busy()
}
