package bench

import (
	"fmt"
	"runtime"
	"time"
)

// runPaced sends patches at a rate, to one device after the other. A patch's
// time counts from when it was due, so that a node that stands still is not sent
// less; one that is due while all of a device's window is in flight goes to the
// next device that has room, and waits when none has.
func (l *patchLoad) runPaced(rate float64) (*loadResult, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	p := &pacing{load: l, rate: rate, start: time.Now(), free: make([][]int, len(l.x.clients))}
	for i := range p.free {
		for slot := range l.o.Window {
			p.free[i] = append(p.free[i], slot)
		}
	}
	return p.run()
}

type pacing struct {
	load   *patchLoad
	rate   float64
	start  time.Time
	free   [][]int // slots by device
	next   int     // device
	issued int64
	open   int
}

func (p *pacing) run() (*loadResult, error) {
	l, r := p.load, &loadResult{}
	warm, end := l.o.Warm.Nanoseconds(), (l.o.Warm + l.o.Measured).Nanoseconds()
	cpu := threadCPU()
	for quiet := time.Now(); ; {
		now := time.Since(p.start).Nanoseconds()
		if now < end {
			if err := p.send(now); err != nil {
				return nil, err
			}
		} else if r.elapsed == 0 {
			r.elapsed, r.cpu = l.o.Measured, threadCPU()-cpu
		}
		if now >= end && p.open == 0 {
			return r, nil
		}
		n, err := l.x.poll(1, func(i int, kind byte, body []byte) error {
			slot, err := l.answered(i, kind, body)
			if err != nil {
				return err
			}
			p.free[i] = append(p.free[i], slot)
			p.open--
			if due := l.sent[i*l.o.Window+slot]; due >= warm && due < end {
				r.acked++
				r.lat.add(time.Since(p.start) - time.Duration(due))
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		if n > 0 || p.open == 0 {
			quiet = time.Now()
		} else if time.Since(quiet) > 10*time.Second {
			return nil, fmt.Errorf("no answer for 10 s, %d patches are in flight", p.open)
		}
	}
}

// send sends what is due.
func (p *pacing) send(now int64) error {
	l := p.load
	for due := int64(p.rate * float64(now) / 1e9); p.issued < due; p.issued++ {
		tried := 0
		for len(p.free[p.next]) == 0 {
			if tried++; tried > len(p.free) {
				return nil
			}
			p.next = (p.next + 1) % len(p.free)
		}
		i := p.next
		p.next = (i + 1) % len(p.free)
		slot := p.free[i][len(p.free[i])-1]
		p.free[i] = p.free[i][:len(p.free[i])-1]
		l.queue(i, slot, int64(float64(p.issued)/p.rate*1e9))
		p.open++
		if err := l.x.flush(i); err != nil {
			return err
		}
	}
	return nil
}
