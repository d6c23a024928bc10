package throttle

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Rate allows N in every Per, and N at once after a pause. The zero Rate allows
// everything.
type Rate struct {
	N   int
	Per time.Duration
}

// maxRate keeps the time between two events above a nanosecond.
const maxRate = 100_000_000

// ParseRate reads "100/min", "50/s" or "off", which is the zero Rate.
func ParseRate(text string) (Rate, error) {
	if text == "off" {
		return Rate{}, nil
	}
	count, unit, _ := strings.Cut(text, "/")
	n, err := strconv.Atoi(count)
	per := map[string]time.Duration{"s": time.Second, "min": time.Minute, "h": time.Hour}[unit]
	if err != nil || n < 1 || n > maxRate || per == 0 {
		return Rate{}, fmt.Errorf("rate %.40q: allowed are N/s, N/min, N/h with N from 1 to %d, and off", text, maxRate)
	}
	return Rate{n, per}, nil
}

// String is what ParseRate reads.
func (r Rate) String() string {
	if r.N == 0 {
		return "off"
	}
	unit := map[time.Duration]string{time.Second: "s", time.Minute: "min", time.Hour: "h"}[r.Per]
	return strconv.Itoa(r.N) + "/" + unit
}

// each is the time that one event takes.
func (r Rate) each() time.Duration { return r.Per / time.Duration(r.N) }
