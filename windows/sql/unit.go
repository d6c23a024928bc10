package sql

import (
	"strings"

	"github.com/gemello/gemello/windows"
)

// unit is a date part.
type unit uint8

const (
	noUnit unit = iota
	unitYear
	unitQuarter
	unitMonth
	unitDayOfYear
	unitDay
	unitWeek
	unitISOWeek
	unitWeekday
	unitHour
	unitMinute
	unitSecond
	unitMillisecond
	unitMicrosecond
	unitNanosecond
)

var unitNames = [...]string{"", "year", "quarter", "month", "dayofyear", "day", "week", "iso_week",
	"weekday", "hour", "minute", "second", "millisecond", "microsecond", "nanosecond"}

func (u unit) String() string { return unitNames[u] }

// unitOf returns the date part of a name or of one of T-SQL's abbreviations,
// noUnit for any other word.
func unitOf(name string) unit {
	switch strings.ToLower(name) {
	case "year", "yy", "yyyy":
		return unitYear
	case "quarter", "qq", "q":
		return unitQuarter
	case "month", "mm", "m":
		return unitMonth
	case "dayofyear", "dy", "y":
		return unitDayOfYear
	case "day", "dd", "d":
		return unitDay
	case "week", "wk", "ww":
		return unitWeek
	case "iso_week", "isowk", "isoww":
		return unitISOWeek
	case "weekday", "dw", "w":
		return unitWeekday
	case "hour", "hh":
		return unitHour
	case "minute", "mi", "n":
		return unitMinute
	case "second", "ss", "s":
		return unitSecond
	case "millisecond", "ms":
		return unitMillisecond
	case "microsecond", "mcs":
		return unitMicrosecond
	case "nanosecond", "ns":
		return unitNanosecond
	}
	return noUnit
}

// fixed returns the length of a unit that is the same everywhere on the
// timeline, 0 for the others and for those below a tick.
func (u unit) fixed() windows.Tick {
	switch u {
	case unitWeek:
		return 7 * windows.Day
	case unitDay, unitDayOfYear, unitWeekday:
		return windows.Day
	case unitHour:
		return windows.Hour
	case unitMinute:
		return windows.Minute
	case unitSecond:
		return windows.Second
	case unitMillisecond:
		return windows.Millisecond
	case unitMicrosecond:
		return windows.Microsecond
	}
	return 0
}

// ofWindow reports whether spans of windows may be written in the unit
// (semantics 4.3).
func (u unit) ofWindow() bool {
	return u == unitDay || u >= unitHour && u <= unitMicrosecond
}

// ticks returns the length of a span, false when it does not fit.
func (s span) ticks() (windows.Tick, bool) {
	f := s.unit.fixed()
	const most = 1 << 62
	if f == 0 || s.n > most/int64(f) || s.n < -most/int64(f) {
		return 0, false
	}
	return f * windows.Tick(s.n), true
}
