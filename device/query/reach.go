package query

import (
	"slices"
	"strings"

	"github.com/gemello/gemello/device"
)

// Reach says where the rows lie that can pass a condition, so that not all need
// to be looked at: every row that passes is in it, others may be. It is exactly
// one of four: an index's Spans, entity Keys, All or Any. A nil Reach is
// everywhere.
type Reach struct {
	// Path is what is indexed, as PathText gives it, and Spans are the values in
	// its index; none: no row passes.
	Path  string
	Spans []Span
	dates bool // the spans are of a date

	// Keys are ranges of entity keys (device.Ref.Key), in order and apart.
	Keys  []Span
	Exact bool // each of Keys holds one key, its Lo

	// moduleIDs is of a condition on the module id, which leads nowhere without
	// one on the device id.
	moduleIDs []string

	All []*Reach // each of them alone holds every row
	Any []*Reach // they do so together
}

// Reach returns where the rows of the query lie, nil for everywhere. It is made
// anew by each call.
func (q *Query) Reach() *Reach { return reachOf(q.Where, q.From) }

// Paths visits the paths whose indexes could be of use.
func (r *Reach) Paths(visit func(path string)) {
	if r == nil {
		return
	}
	if r.Path != "" {
		visit(r.Path)
	}
	for _, list := range [...][]*Reach{r.All, r.Any} {
		for _, x := range list {
			x.Paths(visit)
		}
	}
}

// Devices returns the only devices that rows can be of, or be modules of; false
// when it can be any.
func (r *Reach) Devices() (ids []string, ok bool) {
	switch {
	case r == nil:
		return nil, false
	case r.Path != "":
		return nil, false
	case r.Any != nil:
		for _, x := range r.Any {
			some, ok := x.Devices()
			if !ok {
				return nil, false
			}
			ids = append(ids, some...)
		}
	case r.All != nil:
		for _, x := range r.All {
			if some, found := x.Devices(); found && (!ok || len(some) < len(ids)) {
				ids, ok = some, true
			}
		}
		return ids, ok
	default:
		for _, k := range r.Keys {
			id := device.ParseKey(k.Lo).Device
			if k.Hi > id+"\x01" {
				return nil, false // a prefix
			}
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), true
}

// reachOf is the one of a condition over a collection.
func reachOf(e Expr, from Collection) *Reach {
	if e == nil || from == Jobs {
		return nil
	}
	return (&reacher{modules: from == Modules}).of(e).useful()
}

// useful returns the reach without what leads nowhere.
func (r *Reach) useful() *Reach {
	switch {
	case r == nil || r.moduleIDs != nil:
		return nil
	case r.All == nil:
		return r
	}
	var all []*Reach
	for _, x := range r.All {
		if x.moduleIDs == nil {
			all = append(all, x)
		}
	}
	switch len(all) {
	case 0:
		return nil
	case 1:
		return all[0]
	}
	return &Reach{All: all}
}

type reacher struct{ modules bool }

func (r *reacher) of(e Expr) *Reach {
	switch x := e.(type) {
	case *Path:
		t := OfBool(true)
		return r.compared(x, Equal, &t)
	case *In:
		if p, ok := x.X.(*Path); ok && !x.Not {
			return r.in(p, x.List)
		}
	case *Call:
		return r.prefix(x)
	case *Binary:
		switch x.Op {
		case And:
			return r.both(r.of(x.X), r.of(x.Y))
		case Or:
			return either(r.of(x.X), r.of(x.Y))
		case Equal, Less, LessEqual, Greater, GreaterEqual:
			if p, ok := x.X.(*Path); ok {
				if c, ok := x.Y.(*Const); ok {
					return r.compared(p, x.Op, &c.Value)
				}
			}
			if p, ok := x.Y.(*Path); ok {
				if c, ok := x.X.(*Const); ok {
					return r.compared(p, turned(x.Op), &c.Value)
				}
			}
		}
	}
	return nil
}

// turned is the operator of the comparison with its sides exchanged.
func turned(op Op) Op {
	switch op {
	case Less:
		return Greater
	case LessEqual:
		return GreaterEqual
	case Greater:
		return Less
	case GreaterEqual:
		return LessEqual
	}
	return op
}

func (r *reacher) compared(p *Path, op Op, c *Value) *Reach {
	if isID(p) && op == Equal {
		return r.ids(p, []Value{*c})
	}
	text, ok := p.IndexText()
	if !ok {
		return nil
	}
	spans, dates := c.spans(op)
	return &Reach{Path: text, Spans: spans, dates: dates}
}

func (r *reacher) in(p *Path, list []Value) *Reach {
	if isID(p) {
		return r.ids(p, list)
	}
	text, ok := p.IndexText()
	if !ok {
		return nil
	}
	out := &Reach{Path: text}
	for i := range list {
		spans, dates := list[i].spans(Equal)
		out.Spans = append(out.Spans, spans...)
		out.dates = out.dates || dates
	}
	slices.SortFunc(out.Spans, func(a, b Span) int { return strings.Compare(a.Lo, b.Lo) })
	out.Spans = slices.Compact(out.Spans)
	return out
}

func isID(p *Path) bool {
	return len(p.Steps) == 1 && (p.field == FieldDeviceID || p.field == FieldModuleID)
}

// ids is where entities with the given ids lie. Two ids that are dates are equal
// when the instants are, so such a one leads nowhere in particular.
func (r *reacher) ids(p *Path, list []Value) *Reach {
	var ids []string
	for i := range list {
		s, ok := list[i].Text()
		if !ok || s == "" || strings.IndexByte(s, 0) >= 0 {
			continue // no id is like this
		}
		if _, date := parseDateOf(s); date {
			return nil
		}
		ids = append(ids, s)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	out := &Reach{Exact: !r.modules, Keys: []Span{}}
	if p.field == FieldModuleID {
		if r.modules {
			return &Reach{moduleIDs: append([]string{}, ids...)}
		}
		return out // a device has no module id
	}
	for _, id := range ids {
		if r.modules {
			out.Keys = append(out.Keys, Span{id + "\x00", id + "\x01"})
		} else {
			out.Keys = append(out.Keys, Span{id, id + "\x00"})
		}
	}
	return out
}

// both is where the rows of two conditions lie that both hold.
func (r *reacher) both(a, b *Reach) *Reach {
	var keys *Reach
	var modules []string
	var rest []*Reach
	for _, x := range append(a.parts(), b.parts()...) {
		switch {
		case x.moduleIDs != nil && modules == nil:
			modules = x.moduleIDs
		case x.moduleIDs != nil:
			modules = slices.DeleteFunc(slices.Clone(modules), func(m string) bool { return !slices.Contains(x.moduleIDs, m) })
		case x.Keys != nil && keys == nil:
			keys = x
		case x.Keys != nil:
			keys = &Reach{Keys: append([]Span{}, common(keys.Keys, x.Keys)...), Exact: keys.Exact || x.Exact}
		case x.Path != "":
			i := slices.IndexFunc(rest, func(y *Reach) bool { return y.Path == x.Path && y.dates == x.dates })
			if i < 0 {
				rest = append(rest, x)
				break
			}
			rest[i] = &Reach{Path: x.Path, Spans: common(rest[i].Spans, x.Spans), dates: x.dates}
		default:
			rest = append(rest, x)
		}
	}
	switch {
	case keys != nil && modules != nil && !keys.Exact && len(keys.Keys)*len(modules) <= maxList:
		keys = keys.ofModules(modules)
	case modules != nil:
		rest = append(rest, &Reach{moduleIDs: modules})
	}
	if keys != nil {
		rest = append(rest, keys)
	}
	switch len(rest) {
	case 0:
		return nil
	case 1:
		return rest[0]
	}
	return &Reach{All: rest}
}

// parts are those of a conjunction.
func (r *Reach) parts() []*Reach {
	switch {
	case r == nil:
		return nil
	case r.All != nil:
		return slices.Clone(r.All)
	}
	return []*Reach{r}
}

// ofModules narrows keys of all modules of some devices to those with the given
// ids; other keys stay as they are.
func (r *Reach) ofModules(ids []string) *Reach {
	out := &Reach{Keys: []Span{}, Exact: true}
	for _, k := range r.Keys {
		id, whole := strings.CutSuffix(k.Lo, "\x00")
		if !whole || k.Hi != id+"\x01" {
			return r
		}
		for _, m := range ids {
			out.Keys = append(out.Keys, Span{k.Lo + m, k.Lo + m + "\x00"})
		}
	}
	return out
}

// either is where the rows of two conditions lie of which one holds.
func either(a, b *Reach) *Reach {
	a, b = a.useful(), b.useful()
	if a == nil || b == nil {
		return nil
	}
	out := &Reach{}
	for _, x := range []*Reach{a, b} {
		if x.Any != nil {
			out.Any = append(out.Any, x.Any...)
		} else {
			out.Any = append(out.Any, x)
		}
	}
	return out
}

// prefix is where the texts that begin with a constant lie.
func (r *reacher) prefix(c *Call) *Reach {
	if c.Func.Name != "STARTS_WITH" {
		return nil
	}
	p, isPath := c.Args[0].(*Path)
	k, isConst := c.Args[1].(*Const)
	if !isPath || !isConst || k.Value.kind != String {
		return nil
	}
	s := k.Value.str
	if isID(p) {
		if p.field == FieldModuleID || s == "" || strings.IndexByte(s, 0) >= 0 {
			return nil
		}
		return &Reach{Keys: []Span{{s, after(s)}}}
	}
	text, ok := p.IndexText()
	if !ok {
		return nil
	}
	lo := string(appendIndexText([]byte{indexString}, s))
	return &Reach{Path: text, Spans: []Span{{lo, after(lo)}}}
}
