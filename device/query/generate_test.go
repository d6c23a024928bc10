package query

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/gemello/gemello/device"
)

// generator makes twins and queries that meet each other often: few names, few
// values, all types.
type generator struct{ *rand.Rand }

func newGenerator(seed uint64) *generator { return &generator{rand.New(rand.NewPCG(seed, 7))} }

func (g *generator) pick(s ...string) string { return s[g.IntN(len(s))] }

var genNames = []string{"a", "b", "site", "fw-1", "Ver", "é"}

func (g *generator) name() string { return g.pick(genNames...) }

func (g *generator) scalar() any {
	switch g.IntN(6) {
	case 0:
		return g.IntN(2) == 0
	case 1:
		return float64(g.IntN(7) - 3)
	case 2:
		return float64(g.IntN(20)) / 4
	case 3:
		return g.pick("2026-01-02", "2026-01-02T00:00:00Z", "2026-01-02T01:00:00+01:00", "2026-01-02T00:00:00.5Z", "2026-13-02")
	}
	return g.pick("", "x", "X", "xy", `q"\'`, "é", "line\nfeed", "10")
}

func (g *generator) document(depth int) map[string]any {
	out := map[string]any{}
	for range g.IntN(4) {
		out[g.name()] = g.node(depth)
	}
	return out
}

func (g *generator) node(depth int) any {
	switch n := g.IntN(10); {
	case n < 3 && depth > 0:
		return g.document(depth - 1)
	case n == 3 && depth > 0:
		list := []any{}
		for range g.IntN(4) {
			list = append(list, g.node(depth-2))
		}
		if g.IntN(4) == 0 {
			list = append(list, nil)
		}
		return list
	}
	return g.scalar()
}

func (g *generator) twin(t testing.TB, i int) *Twin {
	at := time.Date(2026, 1, 2, 3, g.IntN(5), 0, g.IntN(2)*500_000_000, time.UTC)
	d := &device.Document{Twin: device.NewTwin()}
	d.Identity = device.Identity{
		DeviceID: fmt.Sprintf("d%05d", i), ETag: g.pick("AA==", "AQ=="), Status: device.Status(g.IntN(2)),
		StatusReason: g.pick("", "broken"), Auth: device.Auth{Type: device.AuthType(g.IntN(4))}, IoTEdge: g.IntN(3) == 0,
	}
	if g.IntN(2) == 0 {
		d.Identity.ParentScopes = []string{"s1"}
		d.Identity.StatusUpdated = at
	}
	d.Presence = device.Presence{Connected: g.IntN(2) == 0, LastActivity: at, Queued: g.IntN(3)}
	service, err := json.Marshal(map[string]any{"tags": g.document(3), "properties": map[string]any{"desired": g.document(3)}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Twin.Apply(&device.TwinChange{Body: service}, at); err != nil {
		t.Fatal(err)
	}
	reported, _ := json.Marshal(g.document(3))
	if _, err := d.Twin.ApplyReported(reported, at); err != nil {
		t.Fatal(err)
	}
	twin := &Twin{Document: d}
	if g.IntN(3) == 0 {
		twin.Configurations = `{"cfg-1":{"status":"` + g.pick("Applied", "Targeted") + `"}}`
	}
	return twin
}

func (g *generator) path() *Path {
	var steps []Step
	add := func(names ...string) {
		for _, n := range names {
			steps = append(steps, Step{Name: n})
		}
	}
	switch g.IntN(5) {
	case 0:
		add(g.pick("deviceId", "DEVICEID", "status", "statusReason", "statusUpdatedTime", "lastActivityTime", "connectionState",
			"version", "etag", "cloudToDeviceMessageCount", "moduleId", "nothing", "parentScopes"))
		if g.IntN(5) == 0 {
			steps = append(steps, Step{IsIndex: true, Index: g.IntN(2)})
		}
	case 1:
		add(g.pick("properties", "capabilities", "x509Thumbprint", "configurations", "tags"))
		if g.IntN(3) > 0 {
			add(g.pick("iotEdge", "primaryThumbprint", "cfg-1", "desired", "reported"))
		}
		if g.IntN(3) == 0 {
			add("status")
		}
	default:
		switch g.IntN(3) {
		case 0:
			add("tags")
		case 1:
			add("properties", "reported")
		default:
			add("properties", "desired")
		}
		if g.IntN(8) == 0 {
			add(g.pick("$version", "$metadata"))
		}
		for range 1 + g.IntN(3) {
			if g.IntN(6) == 0 {
				steps = append(steps, Step{IsIndex: true, Index: g.IntN(3)})
			} else {
				add(g.name())
			}
		}
		if g.IntN(12) == 0 {
			add("$lastUpdated")
		}
	}
	return &Path{Steps: steps, field: fieldOf(strings.ToLower(steps[0].Name))}
}

func (g *generator) constant() Value {
	switch n := g.IntN(20); n {
	case 0:
		return Value{}
	case 1:
		return OfNull()
	case 2:
		return OfString(g.pick("d00003", "enabled", "Connected", "2026-01-02T03:02:00Z", "Applied"))
	}
	switch v := g.scalar().(type) {
	case bool:
		return OfBool(v)
	case float64:
		return OfNumber(v)
	case string:
		return OfString(v)
	}
	return Value{}
}

func (g *generator) operand(depth int) Expr {
	switch n := g.IntN(12); {
	case n < 6:
		return g.path()
	case n < 10 || depth == 0:
		return &Const{g.constant()}
	case n == 10:
		return &Binary{Add + Op(g.IntN(5)), g.operand(depth - 1), g.operand(depth - 1)}
	}
	if g.IntN(2) == 0 {
		x := g.operand(depth - 1)
		if c, ok := x.(*Const); ok && c.Value.kind == Number {
			return &Const{OfNumber(0 - c.Value.num)}
		}
		return &Unary{Negate, x}
	}
	return g.call(depth)
}

func (g *generator) call(depth int) Expr {
	f := &functions[g.IntN(len(functions))]
	c := &Call{Func: f}
	for range f.least + g.IntN(min(f.most, 3)-f.least+1) {
		c.Args = append(c.Args, g.operand(depth-1))
	}
	return c
}

func (g *generator) condition(depth int) Expr {
	if depth > 0 {
		switch g.IntN(6) {
		case 0:
			return &Binary{And, g.condition(depth - 1), g.condition(depth - 1)}
		case 1:
			return &Binary{Or, g.condition(depth - 1), g.condition(depth - 1)}
		case 2:
			return &Unary{Not, g.condition(depth - 1)}
		}
	}
	switch g.IntN(8) {
	case 0:
		x := &In{Not: g.IntN(2) == 0, X: g.operand(0)}
		for range 1 + g.IntN(4) {
			x.List = append(x.List, g.constant())
		}
		return x
	case 1:
		return &Call{Func: functionNamed("is_defined"), Args: []Expr{g.path()}}
	case 2:
		return g.operand(1)
	}
	return &Binary{Equal + Op(g.IntN(6)), g.operand(1), g.operand(1)}
}

func (g *generator) query() *Query {
	q := &Query{From: Devices}
	if g.IntN(4) == 0 {
		q.Top = 1 + g.IntN(20)
	}
	if g.IntN(6) > 0 {
		q.Where = g.condition(3)
	}
	column := func(it Item) {
		it.Alias = fmt.Sprintf("c%d", len(q.Items))
		it.Name = it.Alias
		q.Items = append(q.Items, it)
	}
	switch g.IntN(4) {
	case 0:
	case 1:
		for range 1 + g.IntN(3) {
			column(Item{Path: g.path()})
		}
	default:
		if g.IntN(2) == 0 {
			q.GroupBy = g.path()
			column(Item{Path: q.GroupBy})
		}
		column(Item{Aggregate: Count})
		for range g.IntN(3) {
			column(Item{Aggregate: Avg + Aggregate(g.IntN(4)), Path: g.path()})
		}
	}
	return q
}
