package devices

import (
	"math"
	"math/rand/v2"
	"strconv"
	"time"
)

// weather makes the readings of one device: a daily wave, an offset of the
// device's own and a little drift, so that averages differ and are plausible.
type weather struct {
	rng         *rand.Rand
	base, drift float64
}

// newWeather is the same for the same number on every run.
func newWeather(number int) *weather {
	rng := rand.New(rand.NewPCG(uint64(number), 0x9e3779b97f4a7c15))
	return &weather{rng: rng, base: 17 + 8*rng.Float64()}
}

// appendReading appends one message as JSON.
func (w *weather) appendReading(dst []byte, deviceID string, seq int64, at time.Time) []byte {
	w.drift = 0.98*w.drift + 0.15*w.rng.NormFloat64()
	day := 2 * math.Pi * float64(at.UnixMilli()%86_400_000) / 86_400_000
	temperature := w.base + w.drift - 4*math.Cos(day)
	humidity := min(max(70-1.2*(temperature-15)+w.rng.NormFloat64(), 0), 100)
	dst = append(dst, `{"deviceId":`...)
	dst = strconv.AppendQuote(dst, deviceID) // ids are ASCII without control characters
	dst = append(dst, `,"time":"`...)
	dst = at.UTC().AppendFormat(dst, "2006-01-02T15:04:05.000Z")
	dst = append(dst, `","temperature":`...)
	dst = strconv.AppendFloat(dst, temperature, 'f', 2, 64)
	dst = append(dst, `,"humidity":`...)
	dst = strconv.AppendFloat(dst, humidity, 'f', 1, 64)
	dst = append(dst, `,"seq":`...)
	dst = strconv.AppendInt(dst, seq, 10)
	return append(dst, '}')
}
