package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gemello/gemello/device/credential"
)

// twinDevice is one device of a run of twins and what its two writers know.
type twinDevice struct {
	id  string
	key credential.Key
	at  *atomic.Pointer[endpoint]

	reported, desired section // each belongs to its one writer

	mu       sync.Mutex // guards the following; held while connecting
	current  *session
	sessions int
	rid      int64

	hearing sync.Mutex // guards heard
	heard   []notification
}

var errNoAnswer = errors.New("no answer")

// connected returns the session, trying until there is one.
func (d *twinDevice) connected(ctx context.Context) (*session, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		if d.current != nil {
			select {
			case <-d.current.done:
			default:
				return d.current, nil
			}
		}
		d.sessions++
		number := d.sessions
		s, err := dial(ctx, d.at.Load(), d.id, d.key, hearing{desired: func(version int64, patch []byte) { d.hear(number, version, patch) }})
		if err == nil {
			d.current = s
			return s, nil
		}
		if !pause(ctx, reconnect) {
			return nil, fmt.Errorf("connect: %w", errors.Join(err, ctx.Err()))
		}
	}
}

func (d *twinDevice) hear(session int, version int64, patch []byte) {
	var p struct{ N int64 }
	if json.Unmarshal(patch, &p) != nil {
		p.N = -1 // which no patch is
	}
	d.hearing.Lock()
	defer d.hearing.Unlock()
	d.heard = append(d.heard, notification{session, version, p.N})
}

// patchReported reports properties; the error says that what became of the patch
// is not known.
func (d *twinDevice) patchReported(ctx context.Context, _ *twinDevice, patch []byte) (int64, error) {
	version, _, err := d.ask(ctx, reportedRequest, patch, 204)
	return version, err
}

func (d *twinDevice) readReported(ctx context.Context, _ *twinDevice) (view, error) {
	var got sections
	_, body, err := d.ask(ctx, twinRequest, nil, 200)
	if err == nil {
		err = json.Unmarshal(body, &got)
	}
	return got.Reported, err
}

// ask sends a twin request and waits for the answer with the status that is
// good.
func (d *twinDevice) ask(ctx context.Context, topic string, body []byte, good int) (int64, []byte, error) {
	s, err := d.connected(ctx)
	if err != nil {
		return 0, nil, err
	}
	d.mu.Lock()
	d.rid++
	rid := fmt.Sprint(d.rid)
	d.mu.Unlock()
	type answer struct {
		status  int
		version int64
		body    []byte
	}
	answered := make(chan answer, 1)
	err = s.request(topic, rid, body, func(status int, version int64, body []byte) { answered <- answer{status, version, body} })
	if err != nil {
		return 0, nil, err
	}
	timer := time.NewTimer(answerWithin)
	defer timer.Stop()
	select {
	case a := <-answered:
		if a.status != good {
			return 0, nil, fmt.Errorf("status %d: %s", a.status, a.body)
		}
		return a.version, a.body, nil
	case <-s.done:
	case <-timer.C:
	case <-ctx.Done():
	}
	return 0, nil, errNoAnswer
}

// leave ends the session.
func (d *twinDevice) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.current != nil {
		d.current.close()
		<-d.current.done
	}
}
