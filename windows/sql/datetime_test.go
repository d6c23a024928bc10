package sql

import (
	"testing"

	"github.com/gemello/gemello/windows"
)

func TestPartsAndDifferencesAgreeWithTheClockLibrary(t *testing.T) {
	// Every 11 days and some hours from 0001 to 9999.
	for tick := windows.MinTick; tick < windows.MaxTick-windows.Day*400; tick += 11*windows.Day + 7*windows.Hour + 31*windows.Second + 1234567 {
		want := tick.Time()
		year, week := want.ISOWeek()
		_ = year
		for _, c := range []struct {
			u    unit
			want int
		}{
			{unitYear, want.Year()}, {unitMonth, int(want.Month())}, {unitDay, want.Day()}, {unitDayOfYear, want.YearDay()},
			{unitHour, want.Hour()}, {unitMinute, want.Minute()}, {unitSecond, want.Second()}, {unitNanosecond, want.Nanosecond()},
			{unitISOWeek, week}, {unitWeekday, int(want.Weekday()) + 1},
		} {
			if got := partOf(c.u, tick); got != int64(c.want) {
				t.Fatalf("%v of %v is %d, want %d", c.u, tick, got, c.want)
			}
		}
		text := string(appendDatetime(nil, tick))
		if text != tick.String() {
			t.Fatalf("%v is written %s", tick, text)
		}
		if back, ok := parseDatetime(text); !ok || back != tick {
			t.Fatalf("%s is read as %v", text, back)
		}
		if later, ok := addUnits(unitMonth, 1, tick); !ok || diffMonths(tick, later) != 1 {
			t.Fatalf("a month after %v is %v", tick, later)
		}
	}
}

func diffMonths(a, b windows.Tick) int64 { n, _ := diffUnits(unitMonth, a, b); return n }

func TestDatetimeTexts(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"2024-05-01", "2024-05-01T00:00:00.0000000Z"},
		{"2024-05-01T10:20", "2024-05-01T10:20:00.0000000Z"},
		{"2024-05-01 10:20:30", "2024-05-01T10:20:30.0000000Z"},
		{"2024-05-01T10:20:30.1Z", "2024-05-01T10:20:30.1000000Z"},
		{"2024-05-01T10:20:30.123456789Z", "2024-05-01T10:20:30.1234567Z"},
		{"2024-05-01T10:20:30+02:00", "2024-05-01T08:20:30.0000000Z"},
		{"2024-05-01T10:20:30-0330", "2024-05-01T13:50:30.0000000Z"},
		{"2024-05-01T10:20+02", "2024-05-01T08:20:00.0000000Z"},
		{"0001-01-01T00:00:00Z", "0001-01-01T00:00:00.0000000Z"},
		{"9999-12-31T23:59:59.9999999Z", "9999-12-31T23:59:59.9999999Z"},
		{"0001-01-01T00:00:00+01:00", ""}, {"9999-12-31T23:59:59-01:00", ""},
		{"2023-02-29", ""}, {"2024-13-01", ""}, {"2024-00-01", ""}, {"2024-05-01T24:00", ""}, {"2024-05-01T10:60", ""}, {"0000-01-01", ""},
		{"2024-05-01T10:20:60Z", ""}, {"2024-05-01T10", ""}, {"2024-05-01T10:20:30.", ""}, {"2024-05-01X10:20", ""}, {"2024-05-01T10:20:30+15:00", ""},
		{"24-05-01", ""}, {"1700000000", ""}, {"", ""}, {"2024-05-01T10:20:30Zx", ""}, {"2024-05-01T1:20", ""}, {"2024-05-01T10:20:3", ""},
	} {
		got := ""
		if tick, ok := parseDatetime(c.text); ok {
			got = tick.String()
		}
		if got != c.want {
			t.Errorf("%q is %q, want %q", c.text, got, c.want)
		}
	}
}
