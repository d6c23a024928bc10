package windows

import (
	"errors"
	"fmt"
	"math"
)

// Action is what a policy does with a record that breaks its bound
// (semantics 2.2).
type Action uint8

// The actions. Default is Adjust for late and out-of-order records and Drop
// for early ones. Accept (late and out-of-order only) lets the record keep its
// own time; it is then a matter of grace. Clamp (early only) moves the record
// back to its arrival plus the early tolerance.
const (
	Default Action = iota
	Adjust
	Drop
	SideOutput
	Accept
	Clamp
)

var actionNames = [...]string{"default", "adjust", "drop", "side_output", "accept", "clamp"}

func (a Action) String() string { return actionNames[a] }

// Unlimited as the early tolerance switches the early policy off. It is
// refused on a shared timeline, where one wild clock would make every other
// device late (semantics 2.6).
const Unlimited Tick = math.MaxInt64

// ErrPolicy is wrapped by the errors of Policy.Validate.
var ErrPolicy = errors.New("invalid time policy")

// Policy holds the tolerances of an input and what happens beyond them. The
// zero Policy tolerates nothing, adjusts late and out-of-order records and
// drops early ones.
type Policy struct {
	// Late bounds how far event time may lie behind arrival, OutOfOrder how far
	// behind the newest event time, Early how far ahead of arrival.
	Late, OutOfOrder, Early Tick

	OnLate, OnOutOfOrder, OnEarly Action

	// RisesByEarly lets the arrival clock rise by at most Early a record, the
	// first one excepted. It is for topics whose timestamps come from producers:
	// one wrong clock must not end every window (design 5).
	RisesByEarly bool
}

// Validate reports settings that can't be kept. perKey says that the input
// has a timeline a key (OVER).
func (p *Policy) Validate(perKey bool) error {
	for _, b := range []struct {
		name string
		v    Tick
	}{{"late", p.Late}, {"out_of_order", p.OutOfOrder}, {"early", p.Early}} {
		if b.v < 0 || b.v > MaxSpan && !(b.name == "early" && b.v == Unlimited) {
			return fmt.Errorf("%s tolerance %d must lie between 0 and %d days: %w", b.name, b.v, MaxSpan/Day, ErrPolicy)
		}
	}
	if p.Early == Unlimited && !perKey {
		return fmt.Errorf("early tolerance can be unlimited only with a timeline a key (TIMESTAMP BY … OVER): %w", ErrPolicy)
	}
	if p.RisesByEarly && (p.Early == Unlimited || p.Early == 0) {
		return fmt.Errorf("early tolerance must be positive and limited on a topic with producers' timestamps: %w", ErrPolicy)
	}
	if p.OnLate > Accept || p.OnOutOfOrder > Accept {
		return fmt.Errorf("late and out_of_order take adjust, drop, side_output or accept: %w", ErrPolicy)
	}
	if p.OnEarly == Adjust || p.OnEarly == Accept || p.OnEarly > Clamp {
		return fmt.Errorf("early takes drop, side_output or clamp: %w", ErrPolicy)
	}
	return nil
}

// Reason says why a record was moved, dropped or put aside (semantics 2.9).
type Reason uint8

// The reasons. PastGrace is found by an Operator, TimestampInvalid by
// whoever evaluates TIMESTAMP BY.
const (
	NoReason Reason = iota
	Late
	OutOfOrder
	Early
	PastGrace
	TimestampInvalid
)

var reasonNames = [...]string{"", "late", "out_of_order", "early", "past_grace", "ts_invalid"}

func (r Reason) String() string { return reasonNames[r] }

// Ruling is what became of a record.
type Ruling uint8

// The rulings. Accepted and later ones up to Clamped are processed; Dropped
// and Aside are not.
const (
	Accepted Ruling = iota
	Adjusted
	Clamped
	Dropped
	Aside
)

// Verdict is the outcome of the policies for one record.
type Verdict struct {
	Ruling Ruling
	// Reason is the policy that decided, NoReason for a record in time. An
	// Accepted record with a reason is late or out of order and was let through.
	Reason Reason
	// IsLate and IsOutOfOrder say which bounds were broken, both when the
	// policies applied one after the other.
	IsLate, IsOutOfOrder bool
}

// Processed reports whether the record goes on to the operators.
func (v Verdict) Processed() bool { return v.Ruling <= Clamped }
