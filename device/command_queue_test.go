package device

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var queueStart = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func at(seconds int) time.Time { return queueStart.Add(time.Duration(seconds) * time.Second) }

func sendN(t *testing.T, q *CommandQueue, n int) {
	t.Helper()
	for i := range n {
		if err := q.Send(Command{Sequence: int64(i), Size: 10, Ack: AckFull}, at(0)); err != nil {
			t.Fatal(err)
		}
	}
}

func tokens(prefix string) func(int) string {
	return func(i int) string { return fmt.Sprint(prefix, i) }
}

func sequences(list []Command) (out []int64) {
	for _, c := range list {
		out = append(out, c.Sequence)
	}
	return out
}

func TestCommandsAreDeliveredInTheOrderOfSending(t *testing.T) {
	var q CommandQueue
	sendN(t, &q, 5)
	if got := sequences(q.Receive("s", at(1), CommandLock, 2, 1000, tokens("a"))); !slices.Equal(got, []int64{0, 1}) {
		t.Fatalf("received %v", got)
	}
	if got := sequences(q.Receive("s", at(1), CommandLock, 10, 25, tokens("b"))); !slices.Equal(got, []int64{2, 3}) {
		t.Fatalf("received %v within 25 bytes", got)
	}
	if got := sequences(q.Receive("s", at(1), CommandLock, 10, 1, tokens("c"))); !slices.Equal(got, []int64{4}) {
		t.Fatalf("one command is always given, got %v", got)
	}
	if _, err := q.Settle("s", "a0", OutcomeAbandon); err != nil {
		t.Fatal(err)
	}
	got := q.Receive("s", at(2), CommandLock, 10, 1000, tokens("d"))
	if !slices.Equal(sequences(got), []int64{0}) || got[0].Deliveries != 2 {
		t.Fatalf("after abandon %+v", got)
	}
}

func TestTheFiftyFirstCommandIsRefused(t *testing.T) {
	var q CommandQueue
	sendN(t, &q, MaxCommands)
	if err := q.Send(Command{}, at(0)); !errors.Is(err, ErrQueueFull) {
		t.Fatalf("err %v", err)
	}
	q.Receive("", at(0), CommandLock, 1, 1, tokens("l"))
	if err := q.Send(Command{}, at(0)); !errors.Is(err, ErrQueueFull) {
		t.Fatalf("a locked command still counts: %v", err)
	}
	if _, err := q.Settle("", "l0", OutcomeComplete); err != nil {
		t.Fatal(err)
	}
	if err := q.Send(Command{}, at(0)); err != nil {
		t.Fatal(err)
	}
}

func TestExpiryOfACommand(t *testing.T) {
	for name, c := range map[string]struct{ asked, want time.Time }{
		"none is the default":      {time.Time{}, at(3600)},
		"the message's own":        {at(7), at(7)},
		"later than allowed":       {at(1_000_000), at(48 * 3600)},
		"in the past ends at once": {at(-5), at(-5)},
	} {
		var q CommandQueue
		if err := q.Send(Command{Expires: c.asked}, at(0)); err != nil {
			t.Fatal(err)
		}
		if got := q.Commands()[0].Expires; !got.Equal(c.want) || !q.Next().Equal(c.want) {
			t.Errorf("%s: expires %v, next %v, want %v", name, got, q.Next(), c.want)
		}
		if ended := q.Advance(c.want.Add(-1)); len(ended) > 0 {
			t.Errorf("%s: ended early: %v", name, ended)
		}
		if ended := q.Advance(c.want); len(ended) != 1 || ended[0].End != EndExpired || q.Len() != 0 {
			t.Errorf("%s: ended %v", name, ended)
		}
	}
}

func TestALockedCommandExpiresWhenItsLockEnds(t *testing.T) {
	var q CommandQueue
	if err := q.Send(Command{Expires: at(10)}, at(0)); err != nil {
		t.Fatal(err)
	}
	q.Receive("s", at(9), CommandLock, 1, 1, tokens("l"))
	if ended := q.Advance(at(68)); len(ended) > 0 {
		t.Fatalf("ended under its lock: %v", ended)
	}
	if ended := q.Advance(at(69)); len(ended) != 1 || ended[0].End != EndExpired {
		t.Fatalf("ended %v", ended)
	}
	if _, err := q.Settle("s", "l0", OutcomeComplete); !errors.Is(err, ErrLockLost) {
		t.Fatalf("err %v", err)
	}
}

func TestADeliveryEndsOnlyWithItsOwnLockAndSession(t *testing.T) {
	for name, c := range map[string]struct {
		session, lock string
		lost          bool
	}{
		"its own":         {"s", "l0", false},
		"another session": {"t", "l0", true},
		"another lock":    {"s", "l1", true},
		"no lock":         {"s", "", true},
	} {
		var q CommandQueue
		sendN(t, &q, 1)
		q.Receive("s", at(0), CommandLock, 1, 1, tokens("l"))
		_, err := q.Settle(c.session, c.lock, OutcomeComplete)
		if errors.Is(err, ErrLockLost) != c.lost || (q.Len() == 0) == c.lost {
			t.Errorf("%s: %v, %d left", name, err, q.Len())
		}
	}
}

func TestDeliveriesAreLimitedHoweverTheyEnd(t *testing.T) {
	for name, undo := range map[string]func(*CommandQueue, time.Time) []EndedCommand{
		"abandon": func(q *CommandQueue, _ time.Time) []EndedCommand {
			ended, err := q.Settle("s", "l0", OutcomeAbandon)
			if err != nil {
				t.Fatal(err)
			}
			return ended
		},
		"lock time-out":   func(q *CommandQueue, now time.Time) []EndedCommand { return q.Advance(now.Add(CommandLock)) },
		"lost connection": func(q *CommandQueue, _ time.Time) []EndedCommand { return q.Release("next") },
	} {
		var q CommandQueue
		sendN(t, &q, 1)
		for i := range MaxDeliveries {
			now := at(i * 61)
			if got := q.Receive("s", now, CommandLock, 1, 1, tokens("l")); len(got) != 1 || got[0].Deliveries != i+1 {
				t.Fatalf("%s: delivery %d: %+v", name, i, got)
			}
			ended := undo(&q, now)
			if last := i == MaxDeliveries-1; last != (len(ended) == 1) {
				t.Fatalf("%s: after delivery %d ended %v", name, i+1, ended)
			} else if last && (ended[0].End != EndDeliveries || !ended[0].Feedback()) {
				t.Fatalf("%s: ended %+v", name, ended[0])
			}
		}
	}
}

func TestALostConnectionKeepsTheLocksOfPollsAndOfItself(t *testing.T) {
	var q CommandQueue
	sendN(t, &q, 3)
	q.Receive("", at(0), CommandLock, 1, 1, tokens("poll"))
	q.Receive("old", at(0), CommandLock, 1, 1, tokens("old"))
	q.Receive("new", at(0), CommandLock, 1, 1, tokens("new"))
	q.Release("new")
	if got := q.Receive("new", at(0), CommandLock, 10, 1000, tokens("again")); !slices.Equal(sequences(got), []int64{1}) {
		t.Fatalf("released %v", got)
	}
}

func TestFeedbackIsMadeWhenItWasAskedFor(t *testing.T) {
	for _, c := range []struct {
		ack  string
		want []CommandEnd
	}{
		{"", nil}, {"none", nil}, {"Positive", []CommandEnd{EndSuccess}},
		{"negative", []CommandEnd{EndExpired, EndDeliveries, EndRejected, EndPurged}},
		{"FULL", []CommandEnd{EndSuccess, EndExpired, EndDeliveries, EndRejected, EndPurged}},
	} {
		a, err := ParseAck(c.ack)
		if err != nil {
			t.Fatal(err)
		}
		for _, end := range []CommandEnd{EndSuccess, EndExpired, EndDeliveries, EndRejected, EndPurged} {
			e := EndedCommand{Command{Ack: a}, end}
			if e.Feedback() != slices.Contains(c.want, end) {
				t.Errorf("ack %q: feedback of %s is %v", c.ack, end, e.Feedback())
			}
		}
	}
	if _, err := ParseAck("maybe"); !errors.Is(err, ErrArgument) {
		t.Errorf("err %v", err)
	}
}

// modelQueue is the queue written down as a plain list of cases.
type modelQueue struct {
	waiting []int64 // sequences, ascending
	locks   map[string]int64
	session map[string]string
	until   map[string]time.Time
	count   map[int64]int
	expires map[int64]time.Time
	ended   map[int64]CommandEnd
}

func (m *modelQueue) back(lock string) {
	seq := m.locks[lock]
	delete(m.locks, lock)
	if m.count[seq] >= MaxDeliveries {
		m.ended[seq] = EndDeliveries
		return
	}
	m.waiting = append(m.waiting, seq)
	slices.Sort(m.waiting)
}

func (m *modelQueue) advance(now time.Time) {
	for lock := range m.locks {
		if !m.until[lock].After(now) {
			m.back(lock)
		}
	}
	m.waiting = slices.DeleteFunc(m.waiting, func(seq int64) bool {
		if m.expires[seq].After(now) {
			return false
		}
		m.ended[seq] = EndExpired
		return true
	})
}

func TestARandomRunEndsLikeAPlainModel(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 5))
		var q CommandQueue
		m := &modelQueue{locks: map[string]int64{}, session: map[string]string{}, until: map[string]time.Time{},
			count: map[int64]int{}, expires: map[int64]time.Time{}, ended: map[int64]CommandEnd{}}
		ended := map[int64]CommandEnd{}
		note := func(list []EndedCommand) {
			for _, e := range list {
				if _, twice := ended[e.Sequence]; twice {
					t.Fatalf("seed %d: command %d ended twice", seed, e.Sequence)
				}
				ended[e.Sequence] = e.End
			}
		}
		now, seq, lock := at(0), int64(0), 0
		var given []string
		for range 400 {
			now = now.Add(time.Duration(r.IntN(12)) * time.Second)
			note(q.Advance(now))
			m.advance(now)
			session := []string{"", "a", "b"}[r.IntN(3)]
			switch r.IntN(7) {
			case 0, 1, 2:
				expires := now.Add(time.Duration(1+r.IntN(600)) * time.Second)
				err := q.Send(Command{Sequence: seq, Expires: expires, Size: 1}, now)
				if full := len(m.waiting)+len(m.locks) >= MaxCommands; full != errors.Is(err, ErrQueueFull) {
					t.Fatalf("seed %d: send: %v", seed, err)
				} else if !full {
					m.waiting = append(m.waiting, seq)
					m.expires[seq] = expires
				}
				seq++
			case 3, 4:
				want := m.waiting[:min(len(m.waiting), 1+r.IntN(3))]
				got := q.Receive(session, now, CommandLock, max(1, len(want)), 1000, func(int) string {
					lock++
					given = append(given, fmt.Sprint(lock))
					return fmt.Sprint(lock)
				})
				if !slices.Equal(sequences(got), slices.Clone(want)) && len(want) > 0 {
					t.Fatalf("seed %d: received %v, want %v", seed, sequences(got), want)
				}
				for _, c := range got {
					m.locks[c.Lock], m.session[c.Lock], m.until[c.Lock] = c.Sequence, session, now.Add(CommandLock)
					m.count[c.Sequence]++
				}
				m.waiting = slices.Clone(m.waiting[len(got):])
			case 5:
				if len(given) == 0 {
					continue
				}
				l, o := given[r.IntN(len(given))], Outcome(r.IntN(3))
				list, err := q.Settle(session, l, o)
				note(list)
				s, open := m.locks[l]
				if open = open && m.session[l] == session; open != (err == nil) {
					t.Fatalf("seed %d: settle: %v", seed, err)
				}
				if !open {
					continue
				}
				switch o {
				case OutcomeComplete:
					m.ended[s] = EndSuccess
					delete(m.locks, l)
				case OutcomeReject:
					m.ended[s] = EndRejected
					delete(m.locks, l)
				default:
					m.back(l)
				}
			case 6:
				note(q.Release(session))
				for l := range m.locks {
					if m.session[l] != "" && m.session[l] != session {
						m.back(l)
					}
				}
			}
			if q.Len() != len(m.waiting)+len(m.locks) || q.Waiting() != len(m.waiting) {
				t.Fatalf("seed %d: %d queued, %d waiting; want %d and %d", seed, q.Len(), q.Waiting(), len(m.waiting)+len(m.locks), len(m.waiting))
			}
			b, err := q.AppendBinary(nil)
			if err != nil {
				t.Fatal(err)
			}
			var again CommandQueue
			if err := again.UnmarshalBinary(b); err != nil {
				t.Fatal(err)
			}
			q = again
		}
		for s, e := range m.ended {
			if ended[s] != e {
				t.Fatalf("seed %d: command %d ended %q, want %q", seed, s, ended[s], e)
			}
		}
		if len(ended) != len(m.ended) {
			t.Fatalf("seed %d: %d ended, want %d", seed, len(ended), len(m.ended))
		}
	}
}

func TestAnEarlierCopyOfAQueueStaysAsItWas(t *testing.T) {
	var q CommandQueue
	sendN(t, &q, 3)
	old := q
	q.Receive("s", at(0), CommandLock, 1, 1, tokens("l"))
	if _, err := q.Settle("s", "l0", OutcomeComplete); err != nil {
		t.Fatal(err)
	}
	other := old
	if err := q.Send(Command{Sequence: 7}, at(0)); err != nil {
		t.Fatal(err)
	}
	if err := other.Send(Command{Sequence: 8}, at(0)); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(sequences(old.Commands()), []int64{0, 1, 2}) || old.Commands()[0].Locked() {
		t.Fatalf("the copy became %+v", old.Commands())
	}
}

func FuzzCommandQueueBytes(f *testing.F) {
	var q CommandQueue
	if err := q.Send(Command{Sequence: 41, MessageID: "m", Ack: AckFull, Size: 12}, at(0)); err != nil {
		f.Fatal(err)
	}
	q.Receive("s", at(1), CommandLock, 1, 1, tokens("l"))
	b, err := q.AppendBinary(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var q CommandQueue
		if q.UnmarshalBinary(b) != nil {
			return
		}
		again, err := q.AppendBinary(nil)
		if err != nil || string(again) != string(b) {
			t.Fatalf("%x became %x, %v", b, again, err)
		}
	})
}

func FuzzContentBytes(f *testing.F) {
	f.Add([]byte("\x01\x03a=bbody"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var c Content
		if c.UnmarshalBinary(b) != nil {
			return
		}
		again, err := c.AppendBinary(nil)
		if err != nil || string(again) != string(b) {
			t.Fatalf("%x became %x, %v", b, again, err)
		}
	})
}

func TestTheQueueOfTheFormatPage(t *testing.T) {
	var q CommandQueue
	if err := q.Send(Command{Sequence: 41, MessageID: "m1", Ack: AckFull, Size: 5}, at(0)); err != nil {
		t.Fatal(err)
	}
	b, err := q.AppendBinary(nil)
	if got := documented(t, "queue"); err != nil || string(got) != string(b) {
		t.Errorf("the page has %x\nthe code writes %x, %v", got, b, err)
	}
}
