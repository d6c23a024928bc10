package device

import (
	"testing"
)

func BenchmarkApplyReported(b *testing.B) {
	tw := NewTwin()
	if _, err := tw.ApplyReported([]byte(`{"fw":{"version":"1.2.3","state":"idle"},"battery":81,"temperature":{"avg":20.5,"max":31},"uptime":1000}`), noon); err != nil {
		b.Fatal(err)
	}
	patch := []byte(`{"battery":80,"temperature":{"avg":21.5}}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tw.ApplyReported(patch, noon); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPatchOfAStoredTwin(b *testing.B) {
	tw := NewTwin()
	if _, err := tw.ApplyReported([]byte(`{"fw":{"version":"1.2.3","state":"idle"},"battery":81,"temperature":{"avg":20.5,"max":31},"uptime":1000}`), noon); err != nil {
		b.Fatal(err)
	}
	stored, _ := tw.AppendBinary(nil)
	patch := []byte(`{"battery":80,"temperature":{"avg":21.5}}`)
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		var t Twin
		if err := t.UnmarshalBinary(stored); err != nil {
			b.Fatal(err)
		}
		if _, err := t.ApplyReported(patch, noon); err != nil {
			b.Fatal(err)
		}
		out, _ = t.AppendBinary(out[:0])
	}
}
