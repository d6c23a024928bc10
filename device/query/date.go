package query

import "time"

// maybeDate is a cheap look: four digits, a dash, and room for a date.
func maybeDate(s string) bool {
	return len(s) >= 10 && len(s) <= maxDate && s[4] == '-' && s[7] == '-' && '0' <= s[0] && s[0] <= '9'
}

// maxDate is the longest date: nine digits of a fraction and a zone.
const maxDate = len("2006-01-02T15:04:05.999999999+00:00")

// parseDate reads an ISO 8601 date, with or without time, fraction and zone; a
// time without zone is UTC.
func parseDate(s string) (time.Time, bool) {
	d := dateReader{in: s}
	year := d.digits(4)
	d.expect('-')
	month := d.digits(2)
	d.expect('-')
	day := d.digits(2)
	hour, minute, second, nano, east := 0, 0, 0, 0, 0
	if d.take('T') || d.take('t') || d.take(' ') {
		hour = d.digits(2)
		d.expect(':')
		minute = d.digits(2)
		if d.take(':') {
			second = d.digits(2)
			if d.take('.') {
				nano = d.fraction()
			}
		}
		east = d.zone()
	}
	if d.bad || d.in != "" || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 59 {
		return time.Time{}, false
	}
	t := time.Date(year, time.Month(month), day, hour, minute, second, nano, time.UTC)
	if t.Day() != day {
		return time.Time{}, false
	}
	return t.Add(-time.Duration(east) * time.Minute), true
}

type dateReader struct {
	in  string
	bad bool
}

func (d *dateReader) take(c byte) bool {
	if d.in != "" && d.in[0] == c {
		d.in = d.in[1:]
		return true
	}
	return false
}

func (d *dateReader) expect(c byte) {
	if !d.take(c) {
		d.bad = true
	}
}

func (d *dateReader) digits(n int) int {
	v := 0
	for range n {
		if d.in == "" || d.in[0] < '0' || d.in[0] > '9' {
			d.bad = true
			return 0
		}
		v = v*10 + int(d.in[0]-'0')
		d.in = d.in[1:]
	}
	return v
}

func (d *dateReader) fraction() int {
	v, scale := 0, 100_000_000
	n := 0
	for d.in != "" && '0' <= d.in[0] && d.in[0] <= '9' {
		v += int(d.in[0]-'0') * scale
		scale /= 10
		d.in = d.in[1:]
		n++
	}
	d.bad = d.bad || n == 0
	return v
}

// zone returns minutes east of UTC.
func (d *dateReader) zone() int {
	sign := 0
	switch {
	case d.take('Z'), d.take('z'):
		return 0
	case d.take('+'):
		sign = 1
	case d.take('-'):
		sign = -1
	default:
		return 0
	}
	hours := d.digits(2)
	d.take(':')
	minutes := d.digits(2)
	d.bad = d.bad || hours > 23 || minutes > 59
	return sign * (hours*60 + minutes)
}

func parseDateOf(s string) (time.Time, bool) {
	if !maybeDate(s) {
		return time.Time{}, false
	}
	return parseDate(s)
}
