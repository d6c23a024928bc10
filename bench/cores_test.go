package bench

import (
	"bytes"
	"regexp"
	"strconv"
	"testing"
	"time"
)

// figure finds name=value in a report.
func figure(t *testing.T, out, name string) float64 {
	t.Helper()
	m := regexp.MustCompile(`\b` + name + `=([0-9.]+)`).FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("no %s in %s", name, out)
	}
	v, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Overlap fails by itself where a size does not make a row a record.
func TestOverlapMakesARowARecord(t *testing.T) {
	var out bytes.Buffer
	o := OverlapOptions{Dir: t.TempDir(), Devices: 10, Records: 1000, Rounds: 1, Sizes: []time.Duration{5 * time.Second, time.Minute}}
	if err := Overlap(t.Context(), o, &out); err != nil {
		t.Fatal(err)
	}
	if figure(t, out.String(), "max_over_min") < 1 {
		t.Errorf("report %s", out.String())
	}
}

func TestMemoryIsBackWhenAllWindowsHaveExpired(t *testing.T) {
	var out bytes.Buffer
	if err := Memory(t.Context(), MemoryOptions{Dir: t.TempDir(), Devices: 500, Records: 10_000, Partitions: 2}, &out); err != nil {
		t.Fatal(err)
	}
	before, after := figure(t, out.String(), "state_bytes_before"), figure(t, out.String(), "state_bytes_after")
	if before != after {
		t.Errorf("%v bytes of state after all windows, %v before the first", after, before)
	}
}

func TestSensorWritesJSONOfItsDevice(t *testing.T) {
	s := newSensor()
	s.set(42, benchStart)
	if got, want := string(s.buf), `{"deviceId":"d000042","ts":1700006400000,"temperature":22.`; got[:len(want)] != want {
		t.Errorf("message %s, want it to begin with %s", got, want)
	}
	if string(s.key()) != "d000042" {
		t.Errorf("key %s", s.key())
	}
}
