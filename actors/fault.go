package actors

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/persistence/eventlog"
)

// Fault is a guarantee that a node breaks on purpose: a checker is trusted only
// after it has caught each (design 9).
type Fault string

// The faults. The empty one is none.
const (
	FaultAck    Fault = "ack"    // messages and reported patches are acknowledged before the log has them
	FaultFence  Fault = "fence"  // every process has transactional ids of its own, so nobody is fenced
	FaultCommit Fault = "commit" // outputs are committed in a transaction before that of their checkpoint
	FaultNotice Fault = "notice" // clients are told of each change of desired properties twice
)

// Faults lists them.
func Faults() []Fault { return []Fault{FaultAck, FaultFence, FaultCommit, FaultNotice} }

// ParseFault checks a name; empty is no fault.
func ParseFault(name string) (Fault, error) {
	if f := Fault(name); name == "" || slices.Contains(Faults(), f) {
		return f, nil
	}
	return "", fmt.Errorf("fault %q: want one of %v", name, Faults())
}

const (
	// faultLinger is how long FaultAck keeps acknowledged messages to itself.
	faultLinger = 100 * time.Millisecond
	// faultGap lies between the two transactions of FaultCommit.
	faultGap = 50 * time.Millisecond
	// faultTimeout keeps what a killed process left open from holding up
	// readers long, since with FaultFence nobody aborts it.
	faultTimeout = 2 * time.Second
)

// newTerm begins a term of the core.
func (h *host) newTerm(ctx context.Context) (*eventlog.Term, error) {
	if h.node.options.Break == FaultFence {
		own := make([]byte, 4)
		rand.Read(own)
		return h.node.log.NewTerm(ctx, h.name+"."+hex.EncodeToString(own), eventlog.TermOptions{Timeout: faultTimeout})
	}
	return h.node.log.NewTerm(ctx, h.name, eventlog.TermOptions{})
}

// patchAhead answers a reported patch with the version that it should get, before
// the log has it.
func (n *Node) patchAhead(ctx context.Context, ref device.Ref, done func(int64, error)) {
	doc, err := n.Twin(ctx, ref)
	done(doc.Twin.Reported.Version+1, err)
}

// commitRecords writes rows, journal and checkpoint; the first n are rows.
func (t *term) commitRecords(ctx context.Context, slab []eventlog.Record, n int) error {
	if t.node.options.Break == FaultCommit && n > 0 {
		if err := t.producer.Commit(ctx, slab[:n]); err != nil {
			return err
		}
		pause(ctx, faultGap)
		slab = slab[n:]
	}
	return t.producer.Commit(ctx, slab)
}
