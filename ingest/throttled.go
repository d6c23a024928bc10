package ingest

import (
	"fmt"
	"time"
)

// Throttled is ErrBusy for a client that is over a rate.
type Throttled struct {
	What string        // the rate
	Wait time.Duration // after which there is room
}

func (t *Throttled) Error() string {
	return fmt.Sprintf("the rate of %s is used up, try again in %v", t.What, t.Wait.Round(time.Millisecond))
}

// Unwrap makes it ErrBusy for those to whom all reasons are one.
func (t *Throttled) Unwrap() error { return ErrBusy }
