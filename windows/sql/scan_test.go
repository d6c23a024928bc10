package sql

import (
	"strings"
	"testing"
)

func scannerOf(paths ...string) *Scanner {
	q := &Query{}
	for _, p := range paths {
		f := field{}
		if p != "*" {
			f.path = strings.Split(p, ".")
		}
		q.fields = append(q.fields, f)
	}
	return NewScanner(ScanOptions{}, q)
}

const benchPayload = `{"deviceId":"device-000001","ts":1700000000123,"temperature":21.37,"humidity":55.1,"status":"ok","seq":17}`

func BenchmarkScan(b *testing.B) {
	s := scannerOf("deviceId", "ts", "temperature")
	data := []byte(benchPayload)
	e := &Envelope{}
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Scan(data, e); err != nil {
			b.Fatal(err)
		}
	}
}
