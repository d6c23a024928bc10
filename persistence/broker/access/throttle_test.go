package access

import (
	"strconv"
	"testing"
	"time"
)

func TestThrottleMakesGuessingSlow(t *testing.T) {
	var th Throttle
	now := time.Unix(0, 0)
	for i, want := range []time.Duration{100, 200, 400, 800, 1600, 3200, 5000, 5000} {
		if got := th.Wrong("1.2.3.4", now); got != want*time.Millisecond {
			t.Errorf("guess %d waits %v", i+1, got)
		}
	}
	if got := th.Wrong("5.6.7.8", now); got != firstDelay {
		t.Errorf("another host waits %v", got)
	}
	if got := th.Wrong("1.2.3.4", now.Add(forgiven)); got != maxDelay {
		t.Errorf("within the minute it waits %v", got)
	}
	if got := th.Wrong("1.2.3.4", now.Add(3*forgiven)); got != firstDelay {
		t.Errorf("after a quiet while it waits %v", got)
	}
}

func TestThrottleIsBounded(t *testing.T) {
	var th Throttle
	now := time.Unix(0, 0)
	for i := range 3 * maxHosts {
		th.Wrong(strconv.Itoa(i), now.Add(time.Duration(i)*time.Millisecond))
	}
	if len(th.hosts) != maxHosts {
		t.Errorf("%d hosts", len(th.hosts))
	}
	if _, ok := th.hosts[strconv.Itoa(3*maxHosts-1)]; !ok {
		t.Error("the newest is not among them")
	}
	th.Wrong("later", now.Add(time.Hour))
	if len(th.hosts) != 1 {
		t.Errorf("%d hosts after an hour", len(th.hosts))
	}
}
