package partition

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gemello/gemello/device"
)

// Random messages and twin changes under random routes go exactly where a model
// that keeps tags in a map says, once to each endpoint.
func TestRoutingAgainstModel(t *testing.T) {
	for seed := range uint64(30) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		type rule struct {
			field, value string // property p or tag t; "" is always
			endpoints    []string
			disabled     bool
		}
		var rules []rule
		var r Routing
		r.NoFallback = rnd.IntN(2) == 0
		for i := range rnd.IntN(6) {
			x := rule{value: fmt.Sprint(rnd.IntN(3)), disabled: rnd.IntN(5) == 0}
			condition := ""
			switch rnd.IntN(3) {
			case 1:
				x.field, condition = "p", fmt.Sprintf("p = '%s'", x.value)
			case 2:
				x.field, condition = "t", fmt.Sprintf("$twin.tags.t = '%s'", x.value)
			}
			for range 1 + rnd.IntN(3) {
				x.endpoints = append(x.endpoints, []string{"events", "topic:a", "topic:b", "topic:c"}[rnd.IntN(4)])
			}
			rules = append(rules, x)
			r.Routes = append(r.Routes, Route{Name: fmt.Sprint("r", i), Source: SourceTelemetry, Condition: condition, Endpoints: x.endpoints, Disabled: x.disabled})
		}
		f := routedFleet(t, r)
		tags := map[string]string{}
		for _, id := range []string{"d1", "d2"} {
			f.apply(device.KindIdentity, id, change(t, id, "", 0))
		}
		for step := range 60 {
			id := []string{"d1", "d2"}[rnd.IntN(2)]
			if rnd.IntN(3) == 0 {
				tags[id] = fmt.Sprint(rnd.IntN(3))
				f.apply(device.KindTwin, id, fmt.Sprintf(`{"tags":{"t":"%s"}}`, tags[id]))
				continue
			}
			p := fmt.Sprint(rnd.IntN(3))
			want := map[string]bool{}
			for _, x := range rules {
				if !x.disabled && (x.field == "" || x.field == "p" && x.value == p || x.field == "t" && tags[id] == x.value) {
					for _, e := range x.endpoints {
						want[strings.TrimPrefix(e, "topic:")] = true
					}
				}
			}
			if len(want) == 0 && !r.NoFallback {
				want["events"] = true
			}
			got := strings.Fields(topics(f.tell(id, "p="+p, "x")))
			slices.Sort(got)
			if !slices.Equal(got, slices.Sorted(maps.Keys(want))) {
				t.Fatalf("seed %d step %d: copies to %v, want %v by %+v with tags %v and p=%s", seed, step, got, want, r.Routes, tags, p)
			}
		}
	}
}
