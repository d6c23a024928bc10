package devices

import (
	"testing"
	"time"
)

var t0 = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestMessagesAreSpreadEvenly(t *testing.T) {
	for _, rate := range []float64{0.5, 1, 7, 1000, 33333} {
		p := &pacer{start: t0, rate: rate}
		now, total := t0, int64(0)
		for now.Sub(t0) < 10*time.Second {
			due, next := p.take(now)
			total += due
			if next.Before(now.Add(-time.Microsecond)) {
				t.Fatalf("rate %g: next %s lies before %s", rate, next, now)
			}
			// No instant holds more than what became due since the last.
			if most := int64(rate*0.001) + 2; due > most {
				t.Fatalf("rate %g: %d due at once", rate, due)
			}
			now = now.Add(max(next.Sub(now), time.Millisecond))
		}
		if want := rate * 10; float64(total) < want-rate*0.002-1 || float64(total) > want+1 {
			t.Errorf("rate %g: %d messages in 10 s", rate, total)
		}
	}
}

func TestFirstMessageIsDueAtOnceAndTheNextAfterItsTime(t *testing.T) {
	p := &pacer{start: t0, rate: 2}
	if due, next := p.take(t0); due != 1 || next != t0.Add(500*time.Millisecond) {
		t.Errorf("%d due, next in %s", due, next.Sub(t0))
	}
	if due, next := p.take(t0.Add(499 * time.Millisecond)); due != 0 || next != t0.Add(500*time.Millisecond) {
		t.Errorf("%d due, next in %s", due, next.Sub(t0))
	}
	if due, _ := p.take(t0.Add(500 * time.Millisecond)); due != 1 {
		t.Errorf("%d due", due)
	}
}

func TestAPauseIsNotMadeUpFor(t *testing.T) {
	p := &pacer{start: t0, rate: 100}
	p.take(t0)
	due, next := p.take(t0.Add(time.Hour))
	if due < 99 || due > 102 {
		t.Errorf("%d due after an hour's pause, want a second's", due)
	}
	if now := t0.Add(time.Hour); next.Before(now) || next.After(now.Add(20*time.Millisecond)) {
		t.Errorf("next %s after the pause", next.Sub(now))
	}
}

func TestTimeThatRunsBackGivesNothing(t *testing.T) {
	p := &pacer{start: t0, rate: 100}
	p.take(t0.Add(time.Second))
	if due, _ := p.take(t0.Add(-time.Hour)); due != 0 {
		t.Errorf("%d due", due)
	}
}
