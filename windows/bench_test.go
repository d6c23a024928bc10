package windows

import (
	"math/rand/v2"
	"testing"
)

// benchKeys is a partition's share of 100,000 devices over 8 partitions.
const benchKeys = 12500

var benchAggregates = []Aggregate{{Kind: CountAll}, {Kind: Sum}, {Kind: Min}, {Kind: Max}}

type benchInput struct {
	keys   [][]byte
	order  []uint32
	values []Value
}

func newBenchInput() *benchInput {
	r := rand.New(rand.NewPCG(1, 2))
	in := &benchInput{}
	for i := range benchKeys {
		in.keys = append(in.keys, testKey(i))
	}
	for range 1 << 16 {
		in.order = append(in.order, uint32(r.IntN(benchKeys)))
		in.values = append(in.values, FloatOf(20+10*r.Float64()))
	}
	return in
}

func benchOperator(b *testing.B, size, hop Tick) *Operator {
	o, err := New(Options{Window: Window{Size: size, Hop: hop, Origin: Origin}, Aggregates: benchAggregates})
	if err != nil {
		b.Fatal(err)
	}
	return o
}

// BenchmarkAdd is a record a device and second into windows of a minute, with
// their firing.
func BenchmarkAdd(b *testing.B) {
	in := newBenchInput()
	o := benchOperator(b, Minute, Minute)
	rows := 0
	emit := func(*Result) error { rows++; return nil }
	args := make([]Value, 1)
	ts := Tick(0)
	key := []byte("\x18device-00000\x00") // as fresh from the scanner: in the cache
	add := func(n int) {
		for i := range n {
			j := i & (1<<16 - 1)
			ts += Second / benchKeys
			args[0] = in.values[j&1023]
			for d, k := len(key)-2, in.order[j]; d > len(key)-7; d, k = d-1, k/10 {
				key[d] = byte('0' + k%10)
			}
			o.Add(int64(i), ts, key, args)
			if i&255 == 0 {
				o.Fire(ts, emit)
			}
		}
	}
	add(3 * 60 * benchKeys)
	b.ReportAllocs()
	b.ResetTimer()
	add(b.N)
}

// BenchmarkFire is the cost of a row of hopping windows: merging and finishing
// without adding, which is not timed. Filled says how many keys have a record
// in each hop.
func BenchmarkFire(b *testing.B) {
	for _, c := range []struct {
		name      string
		size, hop Tick
		percent   int
	}{
		{"tumbling60", 60, 60, 100},
		{"hopping60by5", 60, 5, 100},
		{"hopping60by1fill11", 60, 1, 11},
		{"hopping10by5", 10, 5, 100},
	} {
		b.Run(c.name, func(b *testing.B) {
			in := newBenchInput()
			o := benchOperator(b, c.size*Second, c.hop*Second)
			rows := 0
			emit := func(*Result) error { rows++; return nil }
			args := make([]Value, 1)
			ts := Tick(0)
			n := 0
			fill := func() {
				for k := range in.keys {
					if n++; n*2654435761>>7%100 < c.percent {
						args[0] = in.values[k]
						o.Add(int64(n), ts+1+Tick(k), in.keys[k], args)
					}
				}
				ts += c.hop * Second
			}
			for range 4 * c.size / c.hop {
				fill()
				o.Fire(ts+1, emit)
			}
			b.ReportAllocs()
			b.ResetTimer()
			rows = 0
			for rows < b.N {
				b.StopTimer()
				fill()
				b.StartTimer()
				o.Fire(ts+1, emit)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(rows), "ns/row")
			b.ReportMetric(float64(o.StateBytes())/float64(max(1, o.OpenKeys())), "B/key")
		})
	}
}
