package access

import "time"

// Throttle makes guessing slow: each wrong guess from a host doubles how long
// the next one from there waits for its answer. A right password never waits,
// and forgives nothing: who has one could otherwise guess another.
// It is not safe for concurrent use.
type Throttle struct {
	hosts map[string]guesses
}

type guesses struct {
	count int
	last  time.Time
}

// The first wrong guess waits as long as with Apache Kafka
// (connection.failed.authentication.delay.ms). The longest is short of what
// clients wait for a response, so that they are told the reason. A host is
// forgiven after a while; of more hosts than maxHosts the longest quiet one is.
const (
	firstDelay = 100 * time.Millisecond
	maxDelay   = 5 * time.Second
	forgiven   = time.Minute
	maxHosts   = 1024
)

// Wrong counts a wrong guess and returns how long its answer has to wait.
func (t *Throttle) Wrong(host string, now time.Time) time.Duration {
	g, known := t.hosts[host]
	if known && now.Sub(g.last) > forgiven {
		g = guesses{}
	}
	if !known {
		t.room(now)
	}
	delay := maxDelay
	if g.count < 6 {
		delay = min(maxDelay, firstDelay<<g.count)
	}
	g.count++
	g.last = now
	if t.hosts == nil {
		t.hosts = map[string]guesses{}
	}
	t.hosts[host] = g
	return delay
}

// room drops who is forgiven, or else the longest quiet, when there are too
// many.
func (t *Throttle) room(now time.Time) {
	if len(t.hosts) < maxHosts {
		return
	}
	oldest := ""
	for host, g := range t.hosts {
		if now.Sub(g.last) > forgiven {
			delete(t.hosts, host)
		} else if oldest == "" || g.last.Before(t.hosts[oldest].last) {
			oldest = host
		}
	}
	if len(t.hosts) >= maxHosts {
		delete(t.hosts, oldest)
	}
}
