package mqtt

import (
	"net/netip"
	"sync"
	"time"
)

// failureAddresses bounds the table; when it is full and nothing in it is old,
// further addresses are not delayed.
const failureAddresses = 8192

// failures counts refused CONNECTs by address, so that guessing is slow. Only
// the refusals are delayed: devices behind the same address that have the right
// key notice nothing.
type failures struct {
	allowed int
	delay   time.Duration

	mu sync.Mutex
	m  map[netip.Prefix]failure
}

type failure struct {
	minute time.Duration // when the count began
	n      int
}

func newFailures(allowed int, delay time.Duration) *failures {
	return &failures{allowed: allowed, delay: delay, m: make(map[netip.Prefix]failure)}
}

// add counts a failure of the address and returns how long to wait with the
// answer. IPv6 counts by /64, which is what one customer has.
func (f *failures) add(a netip.Addr, now time.Duration) time.Duration {
	a = a.Unmap()
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	key, err := a.Prefix(bits)
	if err != nil {
		return 0
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	e, ok := f.m[key]
	if !ok && len(f.m) >= failureAddresses {
		return 0
	}
	if !ok || now-e.minute >= time.Minute {
		e = failure{minute: now}
	}
	e.n++
	f.m[key] = e
	if e.n <= f.allowed {
		return 0
	}
	return f.delay << min(e.n-f.allowed-1, 5)
}

// forget drops the addresses that have been quiet for a minute.
func (f *failures) forget(now time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for k, e := range f.m {
		if now-e.minute >= time.Minute {
			delete(f.m, k)
		}
	}
}
