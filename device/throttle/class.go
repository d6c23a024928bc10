package throttle

import (
	"fmt"
	"slices"
	"time"
)

// Class is a kind of operation with a rate of its own (azure-iot-wire 11).
type Class string

// The classes. Methods are counted in units of 4 KiB of payload begun.
const (
	Registry       Class = "registry"
	Connections    Class = "connections"
	D2C            Class = "d2c"
	C2D            Class = "c2d"
	C2DReceive     Class = "c2d_receive"
	Methods        Class = "methods"
	Queries        Class = "queries"
	TwinReads      Class = "twin_reads"
	TwinUpdates    Class = "twin_updates"
	Jobs           Class = "jobs"
	Configurations Class = "configurations"
)

// Classes returns all classes in a fixed order.
func Classes() []Class {
	return []Class{Registry, Connections, D2C, C2D, C2DReceive, Methods, Queries, TwinReads, TwinUpdates, Jobs, Configurations}
}

// Rates are the rates of a hub by class; a class that is missing is not limited.
type Rates map[Class]Rate

// MaxUnits bounds the units of a preset.
const MaxUnits = 200

// Preset returns the rates of azure-iot-wire 11 for a tier (s1, s2, s3) and a
// number of units; the empty tier has none.
func Preset(tier string, units int) (Rates, error) {
	tiers := []string{"s1", "s2", "s3"}
	column := slices.Index(tiers, tier)
	switch {
	case tier == "":
		return Rates{}, nil
	case column < 0:
		return nil, fmt.Errorf("preset %.20q: allowed are s1, s2, s3", tier)
	case units < 1 || units > MaxUnits:
		return nil, fmt.Errorf("%d units: allowed are 1 to %d", units, MaxUnits)
	}
	pick := func(s1, s2, s3 int) int { return [...]int{s1, s2, s3}[column] }
	return Rates{
		Registry:       {pick(100, 100, 5000) * units, time.Minute},
		Connections:    {pick(max(100, 12*units), 120*units, 6000*units), time.Second},
		D2C:            {pick(max(100, 12*units), 120*units, 6000*units), time.Second},
		C2D:            {pick(100, 100, 5000) * units, time.Minute},
		C2DReceive:     {pick(1000, 1000, 50_000) * units, time.Minute},
		Methods:        {pick(160, 480, 24*1024) / 4 * units, time.Second},
		Queries:        {pick(20, 20, 1000) * units, time.Minute},
		TwinReads:      {pick(100, max(100, 10*units), 500*units), time.Second},
		TwinUpdates:    {pick(50, max(50, 5*units), 250*units), time.Second},
		Jobs:           {pick(100, 100, 5000) * units, time.Minute},
		Configurations: {20 * units, time.Minute},
	}, nil
}

// Limits count the hub's operations against its rates.
type Limits struct {
	rates   Rates
	buckets map[Class]*Bucket
}

// NewLimits returns limits that nothing has been taken from.
func NewLimits(rates Rates) *Limits {
	l := &Limits{rates, map[Class]*Bucket{}}
	for c := range rates {
		l.buckets[c] = new(Bucket)
	}
	return l
}

// Take is Bucket.Take of a class.
func (l *Limits) Take(c Class, now time.Time, n int) time.Duration {
	if b := l.buckets[c]; b != nil {
		return b.Take(l.rates[c], now, n)
	}
	return 0
}

// Reserve is Bucket.Reserve of a class.
func (l *Limits) Reserve(c Class, now time.Time, n int) time.Duration {
	if b := l.buckets[c]; b != nil {
		return b.Reserve(l.rates[c], now, n)
	}
	return 0
}
