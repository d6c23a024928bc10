package partition

import (
	"errors"
	"testing"

	"github.com/gemello/gemello/device"
)

func TestAReportedPatchMayDependOnTheVersionItKnows(t *testing.T) {
	f := newFleet(t)
	f.apply(device.KindIdentity, "d1", change(t, "d1", "", 0))
	for i, tt := range []struct {
		version string
		want    int64 // 0: refused
	}{
		{"1", 2}, {"1", 0}, {"3", 0}, {"02", 0}, {"2", 3}, {"", 4},
	} {
		r := f.apply(device.KindReported, "d1", `{"n":1}`, device.HeaderIfMatch, tt.version)
		if r.Version != tt.want || (tt.want == 0) != errors.Is(r.Err, device.ErrPrecondition) {
			t.Errorf("patch %d of version %q: %d, %v; want %d", i, tt.version, r.Version, r.Err, tt.want)
		}
	}
}
