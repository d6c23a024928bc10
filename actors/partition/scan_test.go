package partition

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/gemello/gemello/device"
)

func TestScanPassesEveryDeviceOnceWhateverWasSaved(t *testing.T) {
	fl := newFleet(t)
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 40 {
		for range 5 {
			id := fmt.Sprintf("d%02d", r.IntN(40))
			if r.IntN(3) == 0 {
				fl.apply(device.KindDelete, id, "")
			} else {
				fl.apply(device.KindIdentity, id, change(t, id, "", 0))
			}
		}
		if r.IntN(4) == 0 {
			fl.flush()
		}
		want, err := fl.core.List("", 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, limit := range []int{1, 3, 1000} {
			var got []string
			after, more := "", true
			for more {
				if after, more, err = fl.core.Scan(after, limit, func(d *Device) error {
					got = append(got, d.Identity.DeviceID)
					return nil
				}); err != nil {
					t.Fatal(err)
				}
			}
			if len(got) != len(want) {
				t.Fatalf("round %d, slices of %d: %d devices, want %d", round, limit, len(got), len(want))
			}
			for i := range got {
				if got[i] != want[i].Identity.DeviceID {
					t.Fatalf("round %d, slices of %d: %v", round, limit, got)
				}
			}
		}
	}
}
