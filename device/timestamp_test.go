package device

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestTimestampsAreThoseOfPackageTime(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	times := []time.Time{{}, time.Unix(0, 0), time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC), time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(2024, 2, 29, 12, 0, 0, 100, time.FixedZone("", 3600)), time.Date(2024, 1, 1, 0, 0, 0, 120_000_000, time.UTC)}
	for range 10_000 {
		times = append(times, time.Unix(random.Int64N(4e9), random.Int64N(1e9)))
	}
	for _, at := range times {
		if got, want := string(AppendTimestamp(nil, at)), at.UTC().Format("2006-01-02T15:04:05.0000000Z"); got != want {
			t.Fatalf("timestamp %s, want %s", got, want)
		}
		if got, want := string(appendTime(nil, at)), at.UTC().Format(`"2006-01-02T15:04:05.9999999Z"`); got != want {
			t.Fatalf("time %s, want %s", got, want)
		}
	}
}
