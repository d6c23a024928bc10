package sql

import (
	"strconv"

	"github.com/gemello/gemello/windows"
)

var timeFunctions = []function{
	{name: "DAY", min: 1, max: 1, eval: part(unitDay)},
	{name: "MONTH", min: 1, max: 1, eval: part(unitMonth)},
	{name: "YEAR", min: 1, max: 1, eval: part(unitYear)},
	{name: "DATETIMEFROMPARTS", min: 7, max: 7, eval: datetimeFromParts},
}

func part(u unit) func(*Env, expr, []windows.Value) windows.Value {
	return func(e *Env, expr expr, a []windows.Value) windows.Value {
		t, ok := e.datetime(expr, &a[0])
		if !ok {
			return windows.Value{}
		}
		return windows.BigintOf(partOf(u, t))
	}
}

// partName is DATENAME: months and weekdays by their English names.
func partName(u unit, t windows.Tick) string {
	n := partOf(u, t)
	switch u {
	case unitMonth:
		return monthNames[n-1]
	case unitWeekday:
		return dayNames[n-1]
	}
	return strconv.FormatInt(n, 10)
}

func datetimeFromParts(e *Env, expr expr, a []windows.Value) windows.Value {
	var n [7]int64
	for i := range a {
		var ok bool
		if n[i], ok = e.whole(expr, &a[i]); !ok {
			return windows.Value{}
		}
	}
	limits := [7][2]int64{{1, 9999}, {1, 12}, {1, 31}, {0, 23}, {0, 59}, {0, 59}, {0, 999}}
	for i, l := range limits {
		if n[i] < l[0] || n[i] > l[1] {
			return e.fail(expr, a[i], "no such date or time")
		}
	}
	if n[2] > daysInMonth(n[0], n[1]) {
		return e.fail(expr, a[2], "no such date or time")
	}
	t := windows.Tick(daysFromCivil(n[0], n[1], n[2]))*windows.Day +
		windows.Tick(n[3])*windows.Hour + windows.Tick(n[4])*windows.Minute +
		windows.Tick(n[5])*windows.Second + windows.Tick(n[6])*windows.Millisecond
	return windows.DatetimeOf(t)
}
