package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gemello/gemello/device/credential"
)

// sender is one simulated device. Like a real one it sends again what was not
// acknowledged when its connection broke.
type sender struct {
	id     string
	key    credential.Key
	at     *atomic.Pointer[endpoint]
	ledger *ledger
	rng    *rand.Rand
	spread time.Duration

	seq, patches, rid int64
	current           atomic.Pointer[session]
}

const (
	window       = 8 // messages that wait for their acknowledgement at a time
	patchEvery   = 8 // messages between reported patches
	reconnect    = 15 * time.Millisecond
	answerWithin = 3 * time.Second
)

// reading is a payload of telemetry.
func reading(seq int64, t time.Time, v int64) []byte {
	return fmt.Appendf(nil, `{"seq":%d,"t":%q,"v":%d}`, seq, t.Format("2006-01-02T15:04:05.000Z"), v)
}

// outgoing is a message of the batch at hand.
type outgoing struct {
	name    message
	payload []byte
	sends   int
	acked   atomic.Bool
}

// batch sends n messages with event times in [from, from+roundSpan) and returns
// when all are acknowledged.
func (d *sender) batch(ctx context.Context, from time.Time, n int) error {
	todo := make([]*outgoing, n)
	for i := range todo {
		d.seq++
		t := from.Add(time.Duration(d.rng.Int64N(int64(roundSpan/time.Millisecond)) * int64(time.Millisecond)))
		todo[i] = &outgoing{name: message{d.id, d.seq}, payload: reading(d.seq, t, d.rng.Int64N(1000)-500)}
	}
	return d.send(ctx, todo, d.spread/time.Duration(n))
}

// send sends messages at a pace and patches in between.
func (d *sender) send(ctx context.Context, todo []*outgoing, pace time.Duration) error {
	acked := make(chan struct{}, len(todo)*2)
	next, waiting := 0, 0
	var last *session
	for done := 0; done < len(todo); {
		s, err := d.connected(ctx)
		if err != nil {
			return err
		}
		if s != last {
			// Everything that is not acknowledged goes out again.
			last, next, waiting = s, 0, 0
		}
		for next < len(todo) && waiting < window {
			o := todo[next]
			next++
			if o.acked.Load() {
				continue
			}
			if d.hand(s, o, acked) != nil {
				s.close()
				break
			}
			waiting++
			if next%patchEvery == 0 {
				d.patch(ctx, s)
			}
			if pace > 0 && !pause(ctx, upTo(d.rng, 2*pace)) {
				return ctx.Err()
			}
		}
		select {
		case <-acked:
			waiting--
		case <-s.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		done = 0
		for _, o := range todo {
			if o.acked.Load() {
				done++
			}
		}
	}
	return nil
}

// hand gives a message to the connection.
func (d *sender) hand(s *session, o *outgoing, acked chan<- struct{}) error {
	d.ledger.sent(o.name)
	o.sends++
	return s.publish(d.id, o.payload, o.sends > 1, func() {
		if !o.acked.Swap(true) {
			d.ledger.acked(o.name)
		}
		select {
		case acked <- struct{}{}:
		default:
		}
	})
}

// patch reports a property and waits for the answer. One that gets none is not
// repeated: it may have been applied or not, and both are right.
func (d *sender) patch(ctx context.Context, s *session) {
	d.patches++
	d.rid++
	name := message{d.id, d.patches}
	answered := make(chan struct{})
	d.ledger.patchSent(name)
	err := s.patch(fmt.Sprint(d.rid), patchOf(d.patches), func(status int, version int64, _ []byte) {
		if status == 204 {
			d.ledger.patchAcked(name, version)
		}
		close(answered)
	})
	if err != nil {
		return
	}
	select {
	case <-answered:
	case <-s.done:
	case <-time.After(answerWithin):
	case <-ctx.Done():
	}
}

// patchOf is the n-th patch of a device: a counter and one of a few members that
// later patches change or remove.
func patchOf(n int64) []byte {
	if n%5 == 4 {
		return fmt.Appendf(nil, `{"n":%d,"k%d":null}`, n, n%3)
	}
	return fmt.Appendf(nil, `{"n":%d,"k%d":{"at":%d}}`, n, n%3, n)
}

// connected returns the session, trying until there is one.
func (d *sender) connected(ctx context.Context) (*session, error) {
	for {
		if s := d.current.Load(); s != nil {
			select {
			case <-s.done:
			default:
				return s, nil
			}
		}
		if at := d.at.Load(); at != nil {
			if s, err := dial(ctx, at, d.id, d.key, hearing{}); err == nil {
				d.current.Store(s)
				continue
			}
		}
		if !pause(ctx, reconnect) {
			return nil, ctx.Err()
		}
	}
}

// leave ends the session so that the device connects to where it is sent next.
func (d *sender) leave() {
	if s := d.current.Load(); s != nil {
		s.close()
		<-s.done
	}
}

// fleet is all devices of a run.
type fleet struct {
	at      atomic.Pointer[endpoint]
	senders []*sender
}

// batch lets all devices send; it returns the first error.
func (f *fleet) batch(ctx context.Context, from time.Time, n int) error {
	errs := make(chan error, len(f.senders))
	var all sync.WaitGroup
	for _, d := range f.senders {
		all.Go(func() {
			if err := d.batch(ctx, from, n); err != nil {
				errs <- fmt.Errorf("device %s: %w", d.id, err)
			}
		})
	}
	all.Wait()
	close(errs)
	return <-errs
}

// leave ends all sessions; devices that send connect anew.
func (f *fleet) leave() {
	for _, d := range f.senders {
		d.leave()
	}
}

// pause waits for d and reports whether ctx is still alive.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// upTo draws a duration in [0, limit).
func upTo(rng *rand.Rand, limit time.Duration) time.Duration {
	return time.Duration(rng.Int64N(max(1, int64(limit))))
}
