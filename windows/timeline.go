package windows

// Timeline turns the event times of one partition into engine time: it
// applies the policies record by record and keeps the watermark (semantics 2).
// The watermark promises that no later record has a smaller time, except
// records let through by Accept. It is either shared by the partition or, for
// TIMESTAMP BY … OVER, one a key above a common floor (2.5).
//
// Keys whose watermark is not above the floor are forgotten: made anew at the
// floor they behave the same, so the memory is bounded by the keys that ran
// ahead of the floor since the last sweep.
type Timeline struct {
	policy Policy
	mode   TimeMode

	arrival Tick // A: never goes back
	clock   clock
	keys    map[string]clock
	sweepAt int
}

// clock is one timeline: the newest time M and the watermark W.
type clock struct{ newest, mark Tick }

// TimeMode says where the time of records comes from.
type TimeMode uint8

// ByArrival is the mode without TIMESTAMP BY: arrival counts, the policies
// don't (semantics 1.3). ByEvent is one event timeline for the partition,
// ByEventPerKey one a key.
const (
	ByArrival TimeMode = iota
	ByEvent
	ByEventPerKey
)

const leastKeySweep = 1024

// NewTimeline returns a timeline that has seen nothing. The policy must be
// valid.
func NewTimeline(p Policy, m TimeMode) *Timeline {
	return &Timeline{
		policy:  p,
		mode:    m,
		arrival: Unset,
		clock:   clock{Unset, Unset},
		keys:    map[string]clock{},
		sweepAt: leastKeySweep,
	}
}

// Admit takes the next record of the partition: its event time e, its arrival
// a and, in mode ByEventPerKey, the key of its timeline. It returns the time
// the record has in windows and joins; for a record that is not processed, the
// time it would have been moved to. Times beyond the range of datetimes count
// as its bounds.
func (t *Timeline) Admit(key []byte, e, a Tick) (Tick, Verdict) {
	a = min(max(a, MinTick), MaxTick)
	if t.policy.RisesByEarly && t.arrival != Unset {
		a = min(a, t.arrival+t.policy.Early)
	}
	t.arrival = max(t.arrival, a)
	if t.mode == ByArrival {
		t.clock = clock{t.arrival, t.arrival}
		return t.arrival, Verdict{}
	}
	e = min(max(e, MinTick), MaxTick)
	floor := t.Floor()
	t.clock.mark = max(t.clock.mark, floor)

	ts, v := e, Verdict{}
	if p := &t.policy; p.Early != Unlimited && e > a+p.Early {
		ts = a + p.Early
		v.Reason = Early
		switch p.OnEarly {
		case Clamp:
			v.Ruling = Clamped
		case SideOutput:
			v.Ruling = Aside
			return ts, v
		default:
			v.Ruling = Dropped
			return ts, v
		}
	}
	c, kept := t.clock, true
	if t.mode == ByEventPerKey {
		if c, kept = t.keys[string(key)]; !kept {
			c = clock{Unset, Unset}
		}
		c.mark = max(c.mark, floor)
	}
	if bound := a - t.policy.Late; ts < bound {
		v.IsLate = true
		if ts = t.rule(t.policy.OnLate, Late, ts, bound, &v); !v.Processed() {
			return max(ts, c.mark), v
		}
	}
	if ts < c.mark {
		v.IsOutOfOrder = true
		if ts = t.rule(t.policy.OnOutOfOrder, OutOfOrder, ts, c.mark, &v); !v.Processed() {
			return ts, v
		}
	}
	c.newest = max(c.newest, ts)
	c.mark = max(c.mark, c.newest-t.policy.OutOfOrder)
	if t.mode == ByEvent {
		t.clock = c
		return ts, v
	}
	if c.mark > floor {
		t.keys[string(key)] = c
		t.sweep()
	} else if kept {
		delete(t.keys, string(key))
	}
	return ts, v
}

// rule applies one of the late and out-of-order actions.
func (t *Timeline) rule(a Action, r Reason, ts, bound Tick, v *Verdict) Tick {
	switch a {
	case Accept:
		if v.Ruling == Accepted {
			v.Reason = r
		}
		return ts
	case Drop:
		v.Ruling, v.Reason = Dropped, r
	case SideOutput:
		v.Ruling, v.Reason = Aside, r
	default:
		v.Ruling, v.Reason = Adjusted, r
	}
	return bound
}

// Advance moves the arrival clock while the partition is idle (semantics 3.1).
// The caller has clamped the estimate and journals it; an instant that lies
// back changes nothing.
func (t *Timeline) Advance(a Tick) {
	t.arrival = max(t.arrival, min(a, MaxTick))
	if t.mode == ByArrival {
		t.clock = clock{t.arrival, t.arrival}
		return
	}
	t.clock.mark = max(t.clock.mark, t.Floor())
	t.sweep()
}

// Arrival is the arrival clock A, Unset before the first record.
func (t *Timeline) Arrival() Tick { return t.arrival }

// Floor is the instant no timeline of the partition trails: A - L, or A when
// arrival is the time.
func (t *Timeline) Floor() Tick {
	if t.arrival == Unset || t.mode == ByArrival {
		return t.arrival
	}
	return t.arrival - t.policy.Late
}

// Watermark is the watermark of the partition or, in mode ByEventPerKey, of a
// key; there a nil key asks for the floor.
func (t *Timeline) Watermark(key []byte) Tick {
	if t.mode != ByEventPerKey || key == nil {
		return t.clock.mark
	}
	if c, ok := t.keys[string(key)]; ok {
		return max(c.mark, t.clock.mark)
	}
	return t.clock.mark
}

// Keys counts the keys whose timelines are kept.
func (t *Timeline) Keys() int { return len(t.keys) }

// sweep forgets what trails the floor once the map has doubled.
func (t *Timeline) sweep() {
	if len(t.keys) < t.sweepAt {
		return
	}
	floor := t.Floor()
	for k, c := range t.keys {
		if c.mark <= floor {
			delete(t.keys, k)
		}
	}
	t.sweepAt = max(leastKeySweep, 2*len(t.keys))
}
