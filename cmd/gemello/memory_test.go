package main

import "testing"

func TestMemoryLimitFollowsWhatIsInUse(t *testing.T) {
	const mb = 1 << 20
	for _, c := range []struct{ least, live, want int64 }{
		{256 * mb, 0, 256 * mb},
		{256 * mb, 170 * mb, 256 * mb},
		{256 * mb, 200 * mb, 304 * mb},
		{256 * mb, 201 * mb, 304 * mb},
		{256 * mb, 1000 * mb, 1504 * mb},
	} {
		if got := memoryLimit(c.least, c.live); got != c.want {
			t.Errorf("memoryLimit(%d, %d) = %d MiB, want %d", c.least/mb, c.live/mb, got/mb, c.want/mb)
		}
	}
}
