package device

import (
	"bytes"
	"time"
)

// timestampSize is the length of AppendTimestamp's text without quotes.
const timestampSize = len("2006-01-02T15:04:05.0000000Z")

// AppendTimestamp appends a time in ISO 8601 and UTC with seven digits, as 100 ns
// is the unit of the wire. Twins and events hold so many that package time's
// layouts were a tenth of what a change costs.
func AppendTimestamp(dst []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	if year < 0 || year > 9999 {
		return t.AppendFormat(dst, "2006-01-02T15:04:05.0000000Z")
	}
	hour, minute, second := t.Clock()
	fraction := t.Nanosecond() / 100
	var b [timestampSize]byte
	twoDigits(b[0:], year/100)
	twoDigits(b[2:], year%100)
	b[4] = '-'
	twoDigits(b[5:], int(month))
	b[7] = '-'
	twoDigits(b[8:], day)
	b[10] = 'T'
	twoDigits(b[11:], hour)
	b[13] = ':'
	twoDigits(b[14:], minute)
	b[16] = ':'
	twoDigits(b[17:], second)
	b[19] = '.'
	for i := 26; i > 19; i-- {
		b[i] = byte('0' + fraction%10)
		fraction /= 10
	}
	b[27] = 'Z'
	return append(dst, b[:]...)
}

func twoDigits(b []byte, n int) {
	b[0], b[1] = byte('0'+n/10), byte('0'+n%10)
}

// appendTime appends a quoted time without zeros at its end, as twins have it.
func appendTime(dst []byte, t time.Time) []byte {
	dst = AppendTimestamp(append(dst, '"'), t)
	dst = bytes.TrimRight(dst[:len(dst)-1], "0")
	if dst[len(dst)-1] == '.' {
		dst = dst[:len(dst)-1]
	}
	return append(dst, 'Z', '"')
}
