package bench

import (
	"bytes"
	"compress/flate"
	"testing"
)

func TestTelemetryHasItsSizeAndDoesNotRepeatItself(t *testing.T) {
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, v := range telemetry(150) {
		if len(v) != 150 {
			t.Fatalf("%d bytes, want 150: %s", len(v), v)
		}
		total += len(v)
		if _, err := w.Write(v); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if ratio := float64(packed.Len()) / float64(total); ratio < 0.5 {
		t.Fatalf("compresses to %.2f of its size", ratio)
	}
}
