package partition

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gemello/gemello/device"
)

// randomChange applies a record of nearly any kind to one of a few devices and
// modules.
func (f *fleet) randomChange(g *rand.Rand) {
	f.t.Helper()
	id := fmt.Sprintf("d%02d", g.IntN(4))
	module := []string{device.HeaderModule, fmt.Sprintf("m%d", g.IntN(3))}[:2*g.IntN(2)]
	switch g.IntN(9) {
	case 0:
		f.apply(device.KindIdentity, id, edgeChange(f.t, id, "*", g.IntN(2) == 0))
	case 1:
		f.apply(device.KindIdentity, id, edgeChange(f.t, id, "", g.IntN(2) == 0))
	case 2:
		m := fmt.Sprintf("m%d", g.IntN(3))
		c := device.Change{Wanted: device.Identity{DeviceID: id, ModuleID: m, Auth: device.Auth{Type: device.AuthNone}}}
		b, err := c.AppendBinary(nil)
		if err != nil {
			f.t.Fatal(err)
		}
		f.apply(device.KindIdentity, id, string(b), device.HeaderModule, m)
	case 3:
		f.apply(device.KindTwin, id, fmt.Sprintf(`{"tags":{"ring":%d}}`, g.IntN(3)), module...)
	case 4:
		f.apply(device.KindReported, id, fmt.Sprintf(`{"v":%d}`, g.IntN(9)), module...)
	case 5:
		f.apply([]string{device.KindConnected, device.KindDisconnected}[g.IntN(2)], id, "", append(module, device.HeaderSession, "s")...)
	case 6:
		if g.IntN(3) == 0 {
			f.apply(device.KindDelete, id, "", module...)
		}
	case 7:
		f.apply(device.KindTelemetry, id, `{"t":1}`, module...)
	default:
		f.randomCommand(g)
	}
}

// What a record changes lies within its reach, and what is noted of it is what the
// core holds then.
func TestChangesAreNotedAndWithinTheReachOfTheirRecord(t *testing.T) {
	for seed := range uint64(8) {
		f := newFleet(t)
		f.core.Watch(0)
		g := rand.New(rand.NewPCG(seed, 9))
		f.configuration("edge", 1, 1, "tags.ring = 1", `{"modulesContent":{"m2":{"properties.desired.a":{"x":1}},"m4":{"properties.desired.b":{"y":1}}}}`)
		seen := map[Reach]int{}
		for len(f.log) < 400 {
			f.core.Changes(func(Change) {})
			from := len(f.log)
			f.randomChange(g)
			for _, r := range f.log[from:] {
				reach := ReachOf(&r)
				ref := refOf(&r)
				f.core.Changes(func(c Change) {
					seen[reach]++
					changed := device.ParseKey(c.Key)
					within := map[Reach]bool{
						ReachEntity:  changed == ref || changed == device.Ref{Device: ref.Device},
						ReachModules: changed.Device == ref.Device && c.Doc != nil,
						ReachGone:    changed.Device == ref.Device,
						ReachAll:     true,
					}[reach]
					if !within {
						t.Errorf("seed %d: record %d of kind %s about %s changes %s, gone %v", seed, r.Offset, r.Header(device.HeaderKind), ref, changed, c.Doc == nil)
					}
					now, err := f.core.Get(changed)
					if err != nil || now != c.Doc || c.Next != r.Offset+1 {
						t.Errorf("seed %d: record %d: %s is noted as of %d, another one than is kept (%v)", seed, r.Offset, changed, c.Next, err)
					}
				})
			}
			if g.IntN(20) == 0 {
				f.flush()
			}
		}
		if seen[ReachEntity] == 0 || seen[ReachModules] == 0 || seen[ReachGone] == 0 {
			t.Errorf("seed %d: reaches seen: %v", seed, seen)
		}
	}
}

func TestChangesAreNotedFromAnOffsetOnAndOnlyWhileWatched(t *testing.T) {
	f := newFleet(t)
	noted := func() string {
		var b strings.Builder
		f.core.Changes(func(c Change) { fmt.Fprintf(&b, "%s@%d ", c.Key, c.Next) })
		return b.String()
	}
	f.apply(device.KindIdentity, "d1", change(t, "d1", "", 0))
	if f.core.Watching() || noted() != "" {
		t.Error("noted while nobody watches")
	}
	f.core.Watch(2)
	f.apply(device.KindReported, "d1", `{"a":1}`) // offset 1
	if got := noted(); got != "" {
		t.Errorf("noted below the offset: %s", got)
	}
	f.apply(device.KindReported, "d1", `{"a":2}`)
	f.apply(device.KindIdentity, "d2", change(t, "d2", "", 0))
	f.apply(device.KindReported, "d1", `{"a":3}`)
	if got := noted(); got != "d1@5 d2@4 " {
		t.Errorf("noted %s", got)
	}
	if got := noted(); got != "" {
		t.Errorf("noted twice: %s", got)
	}
	f.apply(device.KindReported, "d1", `{"a":4}`)
	f.core.Unwatch()
	if got := noted(); got != "" || f.core.Watching() {
		t.Errorf("after the watch: %s", got)
	}
	f.core.Watch(0)
	f.core.Suppress(true)
	f.core.Suppress(false)
	f.apply(device.KindDelete, "d1", "")
	var docs []*Device
	f.core.Changes(func(c Change) { docs = append(docs, c.Doc) })
	if !slices.Equal(docs, []*Device{nil}) {
		t.Errorf("a deletion is noted as %v", docs)
	}
}
