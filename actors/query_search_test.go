package actors_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/persistence/eventlog"
)

// puts makes n devices as put does, some at a time.
func (h *harness) puts(n int) {
	h.t.Helper()
	var wg sync.WaitGroup
	next := make(chan int)
	for range 32 {
		wg.Go(func() {
			for i := range next {
				id := fmt.Sprintf("d%05d", i)
				_, err := h.node.PutIdentity(h.t.Context(), device.Change{Wanted: device.Identity{DeviceID: id, Auth: device.Auth{Type: device.AuthCA}}})
				if err == nil {
					_, err = h.node.PatchTwin(h.t.Context(), device.TwinChange{DeviceID: id, Body: fmt.Appendf(nil, `{"tags":{"n":%d,"rare":%t}}`, i, i%97 == 0)})
				}
				if err != nil {
					h.t.Error(err)
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}

// Partitions are searched beside each other, and rows come in the order of the
// partitions all the same.
func TestRowsComeByPartitionAndIdHoweverManyAreLookedAt(t *testing.T) {
	h := newHarness(t)
	h.start()
	defer func() { h.stop() }()
	h.ready()
	const devices = 3000
	h.puts(devices)
	for _, c := range []struct {
		where string
		holds func(i int) bool
	}{
		{"tags.rare = true", func(i int) bool { return i%97 == 0 }},
		{"tags.n >= 1000 AND tags.n % 2 = 0", func(i int) bool { return i >= 1000 && i%2 == 0 }},
		{"tags.n = -1", func(int) bool { return false }},
		{"deviceId IN ['d00001','d00002','d02999'] OR STARTSWITH(deviceId, 'd000')", func(i int) bool { return i < 100 || i == 2999 }},
	} {
		var want []string
		for p := range int32(2) {
			for i := range devices {
				if id := fmt.Sprintf("d%05d", i); c.holds(i) && eventlog.Partition([]byte(id), 2) == p {
					want = append(want, fmt.Sprintf(`{"deviceId":%q}`, id))
				}
			}
		}
		for _, limit := range []int{1000, 100, 9} {
			if got := h.ask("SELECT deviceId FROM devices WHERE "+c.where, limit, nil); !slices.Equal(got, want) {
				t.Errorf("%s in pages of %d: %d rows, want %d", c.where, limit, len(got), len(want))
			}
		}
		top := want[:min(len(want), 11)]
		if got := h.ask("SELECT TOP 11 deviceId FROM devices WHERE "+c.where, 4, nil); !slices.Equal(got, top) {
			t.Errorf("the first of %s: %v, want %v", c.where, got, top)
		}
	}
}
