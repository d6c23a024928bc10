package partition

import (
	"testing"
	"time"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/windows"
)

// Records of the fleet come a second apart.
func TestLastActivityFollowsTelemetryOnceAMinute(t *testing.T) {
	f := newFleet(t)
	f.apply(device.KindIdentity, "d1", change(t, "d1", "", 0))
	last := func(id string) time.Time {
		t.Helper()
		doc, err := f.core.Get(device.Ref{Device: id})
		if err != nil || doc == nil {
			t.Fatalf("%s: %v, %v", id, doc, err)
		}
		return doc.Presence.LastActivity
	}
	f.core.Take(&Effects{})
	writes := 0
	for i := range 150 {
		before := last("d1")
		f.apply(device.KindTelemetry, "d1", "{}")
		at := (base + windows.Tick(len(f.log)-1)*windows.Second).Time()
		if now := last("d1"); !now.Equal(before) {
			if writes++; !now.Equal(at) {
				t.Errorf("message %d: %v, want %v", i, now, at)
			}
		} else if at.Sub(now) >= time.Minute {
			t.Errorf("message %d at %v leaves %v", i, at, now)
		}
	}
	if writes != 3 {
		t.Errorf("%d writes in 150 s, want 3", writes)
	}
	// What is not there is not made, and what is made again starts anew.
	f.apply(device.KindTelemetry, "d2", "{}")
	f.apply(device.KindIdentity, "d2", change(t, "d2", "", 0))
	if !last("d2").IsZero() {
		t.Error(last("d2"))
	}
	f.apply(device.KindTelemetry, "d2", "{}", device.HeaderGeneration, "of the one before")
	if !last("d2").IsZero() {
		t.Error("a message of an identity that is gone")
	}
	f.apply(device.KindTelemetry, "d2", "{}")
	if last("d2").IsZero() {
		t.Error("a message of a device that was unknown before")
	}
}
