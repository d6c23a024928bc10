package sql

import (
	"testing"

	"github.com/gemello/gemello/windows"
)

const benchPayload = `{"deviceId":"device-000001","ts":1700000000123,"temperature":21.37,"humidity":55.1,"status":"ok","seq":17}`

func BenchmarkScan(b *testing.B) {
	s := NewScanner(ScanOptions{}, compileOne(b, hoppingQuery))
	data := []byte(benchPayload)
	e := &Envelope{}
	b.ReportAllocs()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if err := s.Scan(data, e); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRecord is all that a windowed query asks of this package for a
// record: scan, time, key and arguments.
func BenchmarkRecord(b *testing.B) {
	q := compileOne(b, hoppingQuery)
	s := NewScanner(ScanOptions{}, q)
	env := s.Env(0)
	data := []byte(benchPayload)
	e := &Envelope{}
	var key []byte
	var args []windows.Value
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Scan(data, e); err != nil {
			b.Fatal(err)
		}
		if !q.Accept(env) {
			b.Fatal("refused")
		}
		if _, ok := q.EventTime(env); !ok {
			b.Fatal("no time")
		}
		key = q.AppendKey(key[:0], env)
		args = q.AppendArgs(args[:0], env)
	}
}

func BenchmarkAppendRow(b *testing.B) {
	for _, c := range []struct {
		name   string
		floats [3]float64
	}{
		{"decimal", [3]float64{256.44, 20.01, 22.5}},
		{"full", [3]float64{256.44000000000005, 20.012345678912345, 22.512345678912345}},
	} {
		b.Run(c.name, func(b *testing.B) {
			q := compileOne(b, hoppingQuery)
			env := q.NewEnv()
			key := windows.AppendTuple(nil, windows.StringOf("device-000001"))
			results := []windows.Value{windows.BigintOf(12), windows.FloatOf(c.floats[0]), windows.FloatOf(c.floats[1]), windows.FloatOf(c.floats[2])}
			end := windows.TickOfMillis(1700000005000)
			var row []byte
			b.ReportAllocs()
			for b.Loop() {
				if err := env.SetResult(key, results, end-60*windows.Second, end); err != nil {
					b.Fatal(err)
				}
				row = q.AppendRow(row[:0], env)
				row = q.AppendRowKey(row, env)
			}
		})
	}
}

func BenchmarkWhere(b *testing.B) {
	q := compileOne(b, "SELECT deviceId INTO hot FROM tele WHERE temperature > 20 AND status = 'ok' AND seq BETWEEN 1 AND 100")
	s := NewScanner(ScanOptions{}, q)
	env := s.Env(0)
	if err := s.Scan([]byte(benchPayload), &Envelope{}); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if !q.Accept(env) {
			b.Fatal("refused")
		}
	}
}
