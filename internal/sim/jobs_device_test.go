package sim

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gemello/gemello/device/credential"
)

// jobDevice is a device that answers methods and counts how often it has run
// each of them.
type jobDevice struct {
	id  string
	key credential.Key

	mu  sync.Mutex // guards the following
	ran map[string]int
}

// count returns how often a method has been run.
func (d *jobDevice) count(method string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ran[method]
}

// method runs a method. The answer names the device and its count, so that a row
// can't hold that of another device or call.
func (d *jobDevice) method(s *session, rid, name string, _ []byte) {
	d.mu.Lock()
	d.ran[name]++
	n := d.ran[name]
	d.mu.Unlock()
	answer := func() { _ = s.answer(rid, 200, []byte(answerOf(d.id, n))) } // a connection that breaks is the reader's matter
	if name == slowMethod {
		time.AfterFunc(slowAnswer, answer) // so that a kill finds calls under way
	} else {
		answer()
	}
}

const (
	slowMethod = "reboot"
	slowAnswer = 200 * time.Millisecond
)

func answerOf(id string, n int) string { return fmt.Sprintf(`{"device":%q,"n":%d}`, id, n) }

// stay keeps the device connected until ctx ends. At most cap(dialing) devices
// connect at a time; online counts those that are.
func (d *jobDevice) stay(ctx context.Context, at *atomic.Pointer[endpoint], dialing chan struct{}, online *atomic.Int64) {
	for ctx.Err() == nil {
		dialing <- struct{}{}
		s, err := dial(ctx, at.Load(), d.id, d.key, hearing{method: d.method})
		<-dialing
		if err != nil {
			pause(ctx, 20*reconnect)
			continue
		}
		online.Add(1)
		select {
		case <-s.done:
		case <-ctx.Done():
			s.close()
			<-s.done
		}
		online.Add(-1)
	}
}
