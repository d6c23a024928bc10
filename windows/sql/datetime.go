package sql

import "github.com/gemello/gemello/windows"

// daysFromCivil counts days from 1970-01-01 in the proleptic Gregorian
// calendar; month may lie outside 1 to 12 by whole years before the call only.
func daysFromCivil(year, month, day int64) int64 {
	if month <= 2 {
		year--
		month += 12
	}
	era := floorDiv(year, 400)
	yoe := year - era*400
	doy := (153*(month-3)+2)/5 + day - 1
	doe := yoe*365 + yoe/4 - yoe/100 + doy
	return era*146097 + doe - 719468
}

// civilFromDays is the inverse of daysFromCivil.
func civilFromDays(days int64) (year, month, day int64) {
	days += 719468
	era := floorDiv(days, 146097)
	doe := days - era*146097
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	day = doy - (153*mp+2)/5 + 1
	month = mp + 3
	if month > 12 {
		month -= 12
	}
	year = yoe + era*400
	if month <= 2 {
		year++
	}
	return year, month, day
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func daysInMonth(year, month int64) int64 {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// splitDay splits an instant into its day since 1970 and the ticks within it.
func splitDay(t windows.Tick) (days int64, within windows.Tick) {
	days = floorDiv(int64(t), int64(windows.Day))
	return days, t - windows.Tick(days)*windows.Day
}

func inRange(t windows.Tick) bool { return windows.MinTick <= t && t <= windows.MaxTick }

// parseDatetime reads ISO-8601: a date, or a date and a time with T or a blank
// between, seconds and fraction optional, digits beyond 100 ns cut off, an
// offset converted to UTC, no zone meaning UTC (semantics 1.5, 6.8).
func parseDatetime(s string) (windows.Tick, bool) {
	if len(s) < 10 || s[4] != '-' || s[7] != '-' {
		return 0, false
	}
	year, ok1 := digits(s[0:4])
	month, ok2 := digits(s[5:7])
	day, ok3 := digits(s[8:10])
	if !ok1 || !ok2 || !ok3 || year < 1 || month < 1 || month > 12 || day < 1 || day > daysInMonth(year, month) {
		return 0, false
	}
	t := windows.Tick(daysFromCivil(year, month, day)) * windows.Day
	if len(s) == 10 {
		return t, true
	}
	if s[10] != 'T' && s[10] != 't' && s[10] != ' ' {
		return 0, false
	}
	s = s[11:]
	if len(s) < 5 || s[2] != ':' {
		return 0, false
	}
	hour, ok1 := digits(s[0:2])
	minute, ok2 := digits(s[3:5])
	if !ok1 || !ok2 || hour > 23 || minute > 59 {
		return 0, false
	}
	t += windows.Tick(hour)*windows.Hour + windows.Tick(minute)*windows.Minute
	s = s[5:]
	if len(s) >= 3 && s[0] == ':' {
		second, ok := digits(s[1:3])
		if !ok || second > 59 {
			return 0, false
		}
		t += windows.Tick(second) * windows.Second
		s = s[3:]
		if len(s) > 1 && (s[0] == '.' || s[0] == ',') && isDigit(s[1]) {
			s = s[1:]
			unit := windows.Second
			for s != "" && isDigit(s[0]) {
				unit /= 10
				t += windows.Tick(s[0]-'0') * unit
				s = s[1:]
			}
		}
	}
	offset, ok := parseZone(s)
	t -= offset
	return t, ok && inRange(t)
}

// parseZone reads "", Z, ±hh, ±hhmm or ±hh:mm.
func parseZone(s string) (windows.Tick, bool) {
	if s == "" || s == "Z" || s == "z" {
		return 0, true
	}
	sign := windows.Tick(1)
	switch s[0] {
	case '-':
		sign = -1
	case '+':
	default:
		return 0, false
	}
	s = s[1:]
	minutes := "00"
	switch {
	case len(s) == 2:
	case len(s) == 4:
		s, minutes = s[:2], s[2:]
	case len(s) == 5 && s[2] == ':':
		s, minutes = s[:2], s[3:]
	default:
		return 0, false
	}
	h, ok1 := digits(s)
	m, ok2 := digits(minutes)
	if !ok1 || !ok2 || h > 14 || m > 59 {
		return 0, false
	}
	return sign * (windows.Tick(h)*windows.Hour + windows.Tick(m)*windows.Minute), true
}

func digits(s string) (int64, bool) {
	n := int64(0)
	for i := 0; i < len(s); i++ {
		if !isDigit(s[i]) {
			return 0, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n, s != ""
}

// appendDatetime writes ISO-8601 UTC with seven fractional digits and Z.
func appendDatetime(dst []byte, t windows.Tick) []byte {
	days, within := splitDay(t)
	year, month, day := civilFromDays(days)
	dst = appendPadded(dst, year, 4)
	dst = append(dst, '-')
	dst = appendPadded(dst, month, 2)
	dst = append(dst, '-')
	dst = appendPadded(dst, day, 2)
	dst = append(dst, 'T')
	dst = appendPadded(dst, int64(within/windows.Hour), 2)
	dst = append(dst, ':')
	dst = appendPadded(dst, int64(within/windows.Minute%60), 2)
	dst = append(dst, ':')
	dst = appendPadded(dst, int64(within/windows.Second%60), 2)
	dst = append(dst, '.')
	dst = appendPadded(dst, int64(within%windows.Second), 7)
	return append(dst, 'Z')
}

func appendPadded(dst []byte, n int64, width int) []byte {
	var b [20]byte
	i := len(b)
	for ; n > 0 || len(b)-i < width; n /= 10 {
		i--
		b[i] = byte('0' + n%10)
	}
	return append(dst, b[i:]...)
}

// addUnits is DATEADD: months and longer keep the day, or take the last of
// the month. It reports false outside the range of datetime.
func addUnits(u unit, n int64, t windows.Tick) (windows.Tick, bool) {
	if f := u.fixed(); f != 0 {
		const span = windows.MaxTick - windows.MinTick
		if n > int64(span/f) || n < -int64(span/f) {
			return 0, false
		}
		t += windows.Tick(n) * f
		return t, inRange(t)
	}
	if u == unitNanosecond {
		t += windows.Tick(floorDiv(n, 100))
		return t, inRange(t)
	}
	const centuries = 12 * 10000
	if n > centuries || n < -centuries {
		return 0, false
	}
	switch u {
	case unitYear:
		n *= 12
	case unitQuarter:
		n *= 3
	}
	days, within := splitDay(t)
	year, month, day := civilFromDays(days)
	m := year*12 + month - 1 + n
	year, month = floorDiv(m, 12), m-floorDiv(m, 12)*12+1
	if year < 1 || year > 9999 {
		return 0, false
	}
	day = min(day, daysInMonth(year, month))
	return windows.Tick(daysFromCivil(year, month, day))*windows.Day + within, true
}

// boundary numbers the unit that an instant lies in, so that the difference
// of two is the number of boundaries crossed. Weeks begin on Sunday.
func boundary(u unit, t windows.Tick) int64 {
	days, _ := splitDay(t)
	switch u {
	case unitYear, unitQuarter, unitMonth:
		year, month, _ := civilFromDays(days)
		switch u {
		case unitYear:
			return year
		case unitQuarter:
			return year*4 + (month-1)/3
		}
		return year*12 + month - 1
	case unitWeek:
		return floorDiv(days+4, 7)
	case unitISOWeek:
		return floorDiv(days+3, 7)
	case unitNanosecond:
		return int64(t) * 100
	}
	return floorDiv(int64(t), int64(u.fixed()))
}

// diffUnits is DATEDIFF: the boundaries of the unit crossed from a to b.
func diffUnits(u unit, a, b windows.Tick) (int64, bool) {
	if u == unitNanosecond {
		d := int64(b - a)
		return d * 100, d <= (1<<63-1)/100 && d >= -(1<<63-1)/100
	}
	return boundary(u, b) - boundary(u, a), true
}

// partOf is DATEPART. Weeks begin on Sunday, the week with January 1 is the
// first; ISO weeks begin on Monday, the week with January 4 is the first.
func partOf(u unit, t windows.Tick) int64 {
	days, within := splitDay(t)
	year, month, day := civilFromDays(days)
	switch u {
	case unitYear:
		return year
	case unitQuarter:
		return (month-1)/3 + 1
	case unitMonth:
		return month
	case unitDayOfYear:
		return days - daysFromCivil(year, 1, 1) + 1
	case unitDay:
		return day
	case unitWeek:
		first := daysFromCivil(year, 1, 1)
		return floorDiv(days+4, 7) - floorDiv(first+4, 7) + 1
	case unitISOWeek:
		thursday := floorDiv(days+3, 7)*7 - 3 + 3
		y, _, _ := civilFromDays(thursday)
		return (thursday-daysFromCivil(y, 1, 1))/7 + 1
	case unitWeekday:
		return days + 4 - floorDiv(days+4, 7)*7 + 1
	case unitHour:
		return int64(within / windows.Hour)
	case unitMinute:
		return int64(within / windows.Minute % 60)
	case unitSecond:
		return int64(within / windows.Second % 60)
	case unitMillisecond:
		return int64(within % windows.Second / windows.Millisecond)
	case unitMicrosecond:
		return int64(within % windows.Second / windows.Microsecond)
	}
	return int64(within%windows.Second) * 100
}

var (
	monthNames = [...]string{"January", "February", "March", "April", "May", "June", "July",
		"August", "September", "October", "November", "December"}
	dayNames = [...]string{"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"}
)
