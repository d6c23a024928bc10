package windows

import "time"

// Tick is an instant or a span of engine time in units of 100 ns. As an
// instant it counts from 1970-01-01T00:00:00Z, so the years 0001 to 9999 fit
// without loss (semantics 1.1). It is not nanoseconds: those end in 2262.
type Tick int64

// Spans of engine time.
const (
	Microsecond Tick = 10
	Millisecond      = 1000 * Microsecond
	Second           = 1000 * Millisecond
	Minute           = 60 * Second
	Hour             = 60 * Minute
	Day              = 24 * Hour
)

// MinTick and MaxTick bound datetimes: 0001-01-01T00:00:00Z and
// 9999-12-31T23:59:59.9999999Z. Unset is below every instant; it is the
// watermark of a timeline that has seen nothing.
const (
	MinTick Tick = -62135596800 * Second
	MaxTick Tick = 253402300800*Second - 1
	Unset   Tick = -1 << 63
)

// Origin is the instant that windows align to: 0001-01-01T00:00:00Z, a Monday
// (semantics 4.2).
const Origin = MinTick

// TickOf converts a wall-clock time; it truncates below 100 ns.
func TickOf(t time.Time) Tick {
	return Tick(t.Unix())*Second + Tick(t.Nanosecond()/100)
}

// TickOfMillis converts Unix milliseconds, the unit of Kafka timestamps.
func TickOfMillis(ms int64) Tick { return Tick(ms) * Millisecond }

// Millis converts to Unix milliseconds, rounding towards the past.
func (t Tick) Millis() int64 { return int64(floorDiv(t, Millisecond)) }

// Time converts to a UTC time.
func (t Tick) Time() time.Time {
	s := floorDiv(t, Second)
	return time.Unix(int64(s), int64(t-s*Second)*100).UTC()
}

// String formats as ISO-8601 UTC with seven fractional digits (semantics 6.8).
func (t Tick) String() string { return t.Time().Format("2006-01-02T15:04:05.0000000Z") }

// floorDiv and ceilDiv round towards minus and plus infinity; Go's / truncates
// towards zero, which puts instants before the origin into wrong windows
// (semantics 4.3). b must be positive.
func floorDiv(a, b Tick) Tick {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func ceilDiv(a, b Tick) Tick {
	q := a / b
	if a%b > 0 {
		q++
	}
	return q
}
