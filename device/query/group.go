package query

import (
	"crypto/sha256"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/gemello/gemello/device"
)

// Limits of a query with GROUP BY.
const (
	MaxGroups     = 10_000
	MaxGroupBytes = 16 << 20 // of group keys
)

// ErrGroups means that a query has more groups than are kept.
var ErrGroups = errors.Join(errors.New("the query has too many groups; narrow it with WHERE"), device.ErrArgument)

// Groups are the partial results of a query with aggregates. Those of parts of
// the rows merge to those of all, in any order.
type Groups struct {
	query *Query
	byKey map[string]*group
	bytes int
}

type group struct {
	key     Value
	columns []partial
}

// partial is what one aggregate knows of the rows so far.
type partial struct {
	count int64   // rows, or numbers
	sum   float64 // with rest: the sum and what rounding took from it
	rest  float64
	best  Value // of MIN and MAX
}

// NewGroups returns the groups of no rows.
func (q *Query) NewGroups() *Groups {
	g := &Groups{query: q, byKey: map[string]*group{}}
	if q.GroupBy == nil {
		g.byKey[""] = &group{columns: make([]partial, len(q.Items))}
	}
	return g
}

// Len returns the number of groups.
func (g *Groups) Len() int { return len(g.byKey) }

// Add counts a row that the condition let pass. The error is ErrGroups.
func (g *Groups) Add(s Source) error {
	text, key := "", Value{}
	if g.query.GroupBy != nil {
		key = s.Lookup(g.query.GroupBy)
		text = groupKey(&key)
	}
	into, err := g.at(text, key)
	if err != nil {
		return err
	}
	for i := range into.columns {
		it, p := &g.query.Items[i], &into.columns[i]
		switch it.Aggregate {
		case NoAggregate:
		case Count:
			p.count++
		default:
			v := s.Lookup(it.Path)
			p.add(it.Aggregate, &v)
		}
	}
	return nil
}

func (g *Groups) at(text string, key Value) (*group, error) {
	into := g.byKey[text]
	if into != nil {
		return into, nil
	}
	if g.bytes += len(text); len(g.byKey) == MaxGroups || g.bytes > MaxGroupBytes {
		return nil, ErrGroups
	}
	into = &group{key: key.own(), columns: make([]partial, len(g.query.Items))}
	g.byKey[text] = into
	return into, nil
}

// maxKey bounds the texts that groups are kept and continued by.
const maxKey = 256

// groupKey is a text that two keys share exactly when they are equal: 1 and 1.0
// are. Of a long key it is the beginning and a hash.
func groupKey(v *Value) string {
	text := keyText(v)
	if len(text) <= maxKey {
		return text
	}
	sum := sha256.Sum256([]byte(text))
	return text[:maxKey] + string(sum[:])
}

func keyText(v *Value) string {
	switch v.kind {
	case Undefined:
		return ""
	case Number:
		return string(appendNumber(nil, v.num))
	case String:
		return string(appendQuoted(nil, v.str, '"'))
	}
	return string(v.AppendJSON(nil))
}

func (p *partial) add(a Aggregate, v *Value) {
	if a == Min || a == Max {
		p.better(a, v)
		return
	}
	if v.kind == Number {
		p.count++
		p.plus(v.num)
	}
}

// plus adds with compensation (Neumaier), so that the order of rows hardly
// shows.
func (p *partial) plus(x float64) {
	sum := p.sum + x
	if abs(p.sum) >= abs(x) {
		p.rest += (p.sum - sum) + x
	} else {
		p.rest += (x - sum) + p.sum
	}
	p.sum = sum
}

func abs(x float64) float64 {
	if x < 0 {
		return -x
	}
	return x
}

// better keeps the smaller or larger of numbers and strings; numbers come before
// dates and dates before other strings.
func (p *partial) better(a Aggregate, v *Value) {
	if v.kind != Number && v.kind != String {
		return
	}
	if p.best.kind != Undefined {
		order := rank(v, &p.best)
		if a == Min && order >= 0 || a == Max && order <= 0 {
			return
		}
	}
	p.best = v.own()
}

// own returns the value without what it was read from, which it would keep alive.
func (v *Value) own() Value {
	if v.kind == Undefined {
		return Value{}
	}
	return Value{kind: v.kind, truth: v.truth, num: v.num, str: strings.Clone(v.str), raw: string(v.AppendJSON(nil))}
}

func rank(a, b *Value) int {
	if a.kind != b.kind {
		return int(a.kind) - int(b.kind)
	}
	if a.kind == Number {
		order, _ := compare(a, b, false)
		return order
	}
	x, isX := parseDateOf(a.str)
	y, isY := parseDateOf(b.str)
	switch {
	case isX && isY && !x.Equal(y):
		return x.Compare(y)
	case isX != isY:
		if isX {
			return -1
		}
		return 1
	case a.str < b.str:
		return -1
	case a.str > b.str:
		return 1
	}
	return 0
}

// Merge adds the groups of other rows of the same query. The error is ErrGroups.
func (g *Groups) Merge(o *Groups) error {
	for _, text := range slices.Sorted(maps.Keys(o.byKey)) {
		from := o.byKey[text]
		into, err := g.at(text, from.key)
		if err != nil {
			return err
		}
		for i := range into.columns {
			p, q := &into.columns[i], &from.columns[i]
			p.count += q.count
			p.plus(q.sum)
			p.rest += q.rest
			if q.best.kind != Undefined {
				p.better(g.query.Items[i].Aggregate, &q.best)
			}
		}
	}
	return nil
}

// Rows visits the rows of up to limit groups after a key, in the order of the
// keys, and returns the key of the last one visited; more says that others
// follow. After is "" for the first and then what the call before returned.
func (g *Groups) Rows(after string, started bool, limit int, visit func(row []byte)) (last string, more bool) {
	keys := slices.Sorted(maps.Keys(g.byKey))
	from := 0
	if started {
		var found bool
		if from, found = slices.BinarySearch(keys, after); found {
			from++
		}
	}
	keys = keys[from:]
	last = after
	for i, key := range keys {
		if i == limit {
			return last, true
		}
		visit(g.row(g.byKey[key]))
		last = key
	}
	return last, false
}

func (g *Groups) row(from *group) []byte {
	dst := []byte{'{'}
	empty := true
	for i := range g.query.Items {
		it := &g.query.Items[i]
		v := from.columns[i].result(it.Aggregate)
		if it.Aggregate == NoAggregate {
			v = from.key
		}
		dst, empty = appendColumn(dst, it.Name, &v, empty)
	}
	return append(dst, '}')
}

func (p *partial) result(a Aggregate) Value {
	switch {
	case a == Count:
		return OfInt(p.count)
	case a == Min || a == Max:
		return p.best
	case p.count == 0:
		return Value{}
	case a == Sum:
		return OfNumber(p.sum + p.rest)
	}
	return OfNumber((p.sum + p.rest) / float64(p.count))
}
