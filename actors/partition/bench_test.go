package partition

import (
	"fmt"
	"testing"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/windows"
)

// benchKeys is a partition's share of 100,000 devices over 8 partitions.
const benchKeys = 12500

// BenchmarkApply is the whole way of a record through the core: scan, policies,
// windows, rows out. The stream has a record a device and second.
func BenchmarkApply(b *testing.B) {
	const columns = "SELECT deviceId, COUNT(*) AS n, AVG(temperature) AS avgTemperature, MIN(temperature) AS lo, MAX(temperature) AS hi, System.Timestamp() AS windowEnd INTO o "
	for _, c := range []struct{ name, query string }{
		{"tumbling", columns + "FROM s TIMESTAMP BY DATEADD(millisecond, ts, '1970-01-01T00:00:00Z') GROUP BY deviceId, TumblingWindow(second, 10)"},
		{"hopping", columns + "FROM s TIMESTAMP BY DATEADD(millisecond, ts, '1970-01-01T00:00:00Z') GROUP BY deviceId, HoppingWindow(second, 60, 5)"},
		{"arrival", columns + "FROM devices GROUP BY deviceId, TumblingWindow(second, 10)"},
		{"projection", "SELECT deviceId, temperature, System.Timestamp() AS at INTO o FROM devices WHERE temperature > 21"},
	} {
		b.Run(c.name, func(b *testing.B) {
			devices := c.name == "arrival" || c.name == "projection"
			core := NewPipelines(PipelinesOptions{Source: "s", FromDevices: devices, State: memory{}, DeadLetter: "dead", Late: "late"}, 0)
			def := Definition{Name: "p", Query: c.query, Late: DefaultLate, OutOfOrder: windows.Second, Early: DefaultEarly}
			if _, err := core.Switch([]Definition{def}, 1, nil); err != nil {
				b.Fatal(err)
			}
			start := base / windows.Millisecond
			payload := fmt.Appendf(nil, `{"deviceId":"device-000001","ts":%d,"temperature":21.37,"humidity":55.1,"status":"ok","seq":17}`, start)
			id, ts := payload[len(`{"deviceId":"device-`):][:6], payload[len(`{"deviceId":"device-000001","ts":`):][:13]
			r := Record{Key: []byte("device-000001"), Value: payload, Headers: []Header{{device.HeaderKind, []byte(device.KindTelemetry)}, {device.HeaderGeneration, []byte("g")}}}
			effects, rows, out := &Effects{}, 0, 0
			n := 0
			step := func() {
				put(id, n*7919%benchKeys)
				copy(r.Key[7:], id)
				put(ts, int(start)+n*1000/benchKeys)
				r.Offset, r.Arrival = int64(n), base+windows.Tick(n)*windows.Second/benchKeys
				if err := core.Apply(&r); err != nil {
					b.Fatal(err)
				}
				n++
				if n%8192 == 0 {
					e := core.Take(effects)
					rows += e.Len()
					out += e.Bytes()
					e.Reset()
					effects = e
				}
			}
			for n < 70*benchKeys {
				step()
			}
			b.ReportAllocs()
			b.SetBytes(int64(len(payload)))
			rows, out = 0, 0
			for b.Loop() {
				step()
			}
			if rows > 0 {
				b.ReportMetric(float64(rows)/float64(b.N), "rows/op")
			}
			if f := core.pipes[0].figures; f.RowErrors+f.DeadLetters+f.Dropped+f.Adjusted > 0 || f.In == 0 {
				b.Fatalf("%+v", f)
			}
		})
	}
}

// put writes n in decimal over all of b.
func put(b []byte, n int) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = byte('0' + n%10)
		n /= 10
	}
}
