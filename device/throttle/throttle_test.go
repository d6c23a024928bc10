package throttle

import (
	"strconv"
	"testing"
	"time"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestBurstThenTheRate(t *testing.T) {
	var b Bucket
	r := Rate{10, time.Second}
	for i := range 10 {
		if w := b.Take(r, start, 1); w != 0 {
			t.Fatalf("event %d of the burst waits %v", i, w)
		}
	}
	if w := b.Take(r, start, 1); w != 100*time.Millisecond {
		t.Errorf("the 11th waits %v", w)
	}
	allowed := 0
	for ms := range 10_000 {
		if b.Take(r, start.Add(time.Duration(ms)*time.Millisecond), 1) == 0 {
			allowed++
		}
	}
	if allowed != 99 { // 9,999 ms make up for 99
		t.Errorf("%d in ten seconds after the burst", allowed)
	}
	if w := b.Take(r, start.Add(time.Hour), 25); w != 0 {
		t.Errorf("more than the burst waits %v for ever", w)
	}
	if w := b.Take(r, start.Add(time.Hour), 1); w != 100*time.Millisecond {
		t.Errorf("after all was taken: %v", w)
	}
	if w := new(Bucket).Take(Rate{}, start, 1000); w != 0 {
		t.Errorf("no rate waits %v", w)
	}
}

func TestReservationsQueueUp(t *testing.T) {
	var b Bucket
	r := Rate{2, time.Second}
	for i, want := range []time.Duration{0, 0, 500 * time.Millisecond, time.Second, 1500 * time.Millisecond} {
		if got := b.Reserve(r, start, 1); got != want {
			t.Errorf("reservation %d waits %v, want %v", i, got, want)
		}
	}
}

func TestPresetsAreAzures(t *testing.T) {
	for _, tt := range []struct {
		tier  string
		units int
		class Class
		want  string
	}{
		{"s1", 1, Registry, "100/min"}, {"s3", 2, Registry, "10000/min"},
		{"s1", 1, Connections, "100/s"}, {"s1", 10, Connections, "120/s"}, {"s2", 1, Connections, "120/s"}, {"s3", 1, D2C, "6000/s"},
		{"s1", 1, C2DReceive, "1000/min"}, {"s1", 1, Methods, "40/s"}, {"s2", 1, Methods, "120/s"}, {"s3", 1, Methods, "6144/s"},
		{"s2", 3, Queries, "60/min"}, {"s1", 50, TwinReads, "100/s"}, {"s2", 20, TwinReads, "200/s"}, {"s1", 50, TwinUpdates, "50/s"},
		{"s3", 1, TwinUpdates, "250/s"}, {"s1", 2, Jobs, "200/min"}, {"s3", 1, Configurations, "20/min"}, {"s3", 1, C2D, "5000/min"},
	} {
		r, err := Preset(tt.tier, tt.units)
		if err != nil {
			t.Fatal(err)
		}
		if got := r[tt.class].String(); got != tt.want {
			t.Errorf("%s × %d %s: %s, want %s", tt.tier, tt.units, tt.class, got, tt.want)
		}
		if len(r) != len(Classes()) {
			t.Errorf("%s has %d classes of %d", tt.tier, len(r), len(Classes()))
		}
	}
	if r, err := Preset("", 1); err != nil || len(r) != 0 {
		t.Errorf("without a preset: %v, %v", r, err)
	}
	for _, bad := range []struct {
		tier  string
		units int
	}{{"s4", 1}, {"s1", 0}, {"s1", 201}} {
		if _, err := Preset(bad.tier, bad.units); err == nil {
			t.Errorf("%v was accepted", bad)
		}
	}
}

func TestTableIsBoundedAndForgetsOnlyTheFull(t *testing.T) {
	table := NewTable(Rate{1, time.Second}, 100)
	for i := range 100 {
		table.Take(strconv.Itoa(i), start, 1)
	}
	if w := table.Take("0", start, 1); w == 0 {
		t.Error("a second connect in the same second was allowed")
	}
	if w := table.Take("new", start, 1); w != 0 || table.Len() != 100 {
		t.Errorf("a key without room: %v, %d", w, table.Len())
	}
	if table.Take("0", start, 1) == 0 {
		t.Error("what is held against a key was forgotten for another")
	}
	table.Take("new", start.Add(time.Minute), 1)
	if table.Len() != 1 {
		t.Errorf("%d keys after a minute of silence", table.Len())
	}
}

func TestRatesAreTexts(t *testing.T) {
	for _, text := range []string{"off", "1/s", "100/min", "5/h", "100000000/s"} {
		r, err := ParseRate(text)
		if err != nil || r.String() != text {
			t.Errorf("%s came back as %s, %v", text, r, err)
		}
	}
	for _, text := range []string{"", "0/s", "-1/s", "1", "1/d", "x/s", "100000001/s", "1/s "} {
		if r, err := ParseRate(text); err == nil {
			t.Errorf("%q is %v", text, r)
		}
	}
}
