package devices

import (
	"encoding/json"
	"testing"
	"time"
)

func TestReadingsArePlausibleJSON(t *testing.T) {
	for number := range 20 {
		w := newWeather(number)
		for seq := range int64(500) {
			at := t0.Add(time.Duration(seq) * time.Minute)
			b := w.appendReading(nil, `d"1`, seq, at)
			var r struct {
				DeviceID              string
				Time                  time.Time
				Temperature, Humidity float64
				Seq                   int64
			}
			if err := json.Unmarshal(b, &r); err != nil {
				t.Fatalf("%s: %v", b, err)
			}
			if r.DeviceID != `d"1` || !r.Time.Equal(at) || r.Seq != seq || r.Temperature < -10 || r.Temperature > 45 || r.Humidity < 0 || r.Humidity > 100 {
				t.Fatalf("%s", b)
			}
		}
	}
}

func TestADeviceReadsTheSameOnEveryRun(t *testing.T) {
	a, b, other := newWeather(3), newWeather(3), newWeather(4)
	x := string(a.appendReading(nil, "d", 1, t0))
	if y := string(b.appendReading(nil, "d", 1, t0)); x != y {
		t.Errorf("%s and %s", x, y)
	}
	if y := string(other.appendReading(nil, "d", 1, t0)); x == y {
		t.Errorf("two devices read %s", y)
	}
}
