package api

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/gemello/gemello/device/throttle"
)

// Throttle counts operations against the rates of the hub. It must not block.
type Throttle interface {
	// Take counts n operations and returns 0, or counts none and returns when
	// to try again.
	Take(c throttle.Class, n int) time.Duration
}

// throttled is ErrThrottled with the time after which there is room.
type throttled struct {
	class throttle.Class
	wait  time.Duration
}

func (t *throttled) Error() string {
	return fmt.Sprintf("%v: the rate of %s is used up, try again in %v", ErrThrottled, t.class, t.wait.Round(time.Millisecond))
}

func (t *throttled) Unwrap() error { return ErrThrottled }

// take counts n operations of a class.
func (s *Service) take(c throttle.Class, n int) error {
	if s.throttle == nil || c == "" || n <= 0 {
		return nil
	}
	if wait := s.throttle.Take(c, n); wait > 0 {
		return &throttled{c, wait}
	}
	return nil
}

// methodUnit is what direct methods are metered in (azure-iot-wire 11), bytes.
const methodUnit = 4 << 10

// cost is the class of an operation and how much of it a request counts for.
// The class follows from the operation's name, so that a new one has its own.
func cost(operation string, bodyBytes int64) (throttle.Class, int) {
	has := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(operation, w) {
				return true
			}
		}
		return false
	}
	switch {
	case has("job"):
		return throttle.Jobs, 1
	case has("configuration"):
		return throttle.Configurations, 1
	case has("query"):
		return throttle.Queries, 1
	case has("method", "invoke", "digital_twin_c"):
		return throttle.Methods, 1 + int(max(bodyBytes, 0)/methodUnit)
	case has("command", "feedback"):
		return throttle.C2D, 1
	case has("twin") && strings.HasPrefix(operation, "get"):
		return throttle.TwinReads, 1
	case has("twin"):
		return throttle.TwinUpdates, 1
	}
	return throttle.Registry, 1
}

// remote is the address of the connection that a request came by. Headers such
// as X-Forwarded-For are what the client says, and not looked at.
func (c *call) remote() netip.Addr {
	a, err := netip.ParseAddrPort(c.r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr()
}
