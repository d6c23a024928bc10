package embedded

import (
	"sync"
	"time"
)

// writeDoor counts requests that write and are with the broker, and can be
// shut.
type writeDoor struct {
	mu      sync.Mutex // guards what follows
	inside  int
	shut    bool
	changed chan struct{} // closed and replaced at each change
}

// announceLocked wakes all who wait for a change. mu must be held.
func (d *writeDoor) announceLocked() {
	close(d.changed)
	d.changed = make(chan struct{})
}

func (d *writeDoor) enter() {
	for {
		d.mu.Lock()
		if !d.shut {
			d.inside++
			d.mu.Unlock()
			return
		}
		changed := d.changed
		d.mu.Unlock()
		<-changed
	}
}

func (d *writeDoor) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.inside--
	if d.inside == 0 && d.shut {
		d.announceLocked()
	}
}

// close shuts the door and reports whether nobody was left inside within the
// time. open must follow in either case.
func (d *writeDoor) close(within time.Duration) bool {
	timer := time.NewTimer(within)
	defer timer.Stop()
	d.mu.Lock()
	d.shut = true
	for d.inside > 0 {
		changed := d.changed
		d.mu.Unlock()
		select {
		case <-changed:
		case <-timer.C:
			return false
		}
		d.mu.Lock()
	}
	d.mu.Unlock()
	return true
}

func (d *writeDoor) open() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shut = false
	d.announceLocked()
}
