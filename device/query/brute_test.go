package query

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gemello/gemello/device"
)

var (
	bruteTwins   = flag.Int("twins", 300, "twins that every random query is run on")
	bruteQueries = flag.Int("queries", 400, "random queries")
	bruteSeed    = flag.Uint64("seed", 1, "seed of twins and queries")
)

// nothing is the model's undefined.
type nothing struct{}

// model evaluates over a decoded document, without any code of the engine.
type model map[string]any

func (m model) path(p *Path) any {
	var at any = map[string]any(m)
	for i, s := range p.Steps {
		switch v := at.(type) {
		case map[string]any:
			if s.IsIndex {
				return nothing{}
			}
			name := s.Name
			if i == 0 {
				for k := range v {
					if strings.EqualFold(k, name) {
						name = k
					}
				}
				if strings.EqualFold(name, "statusUpdatedTime") {
					name = "statusUpdateTime"
				}
			}
			member, ok := v[name]
			if !ok {
				return nothing{}
			}
			at = member
		case []any:
			if !s.IsIndex || s.Index >= len(v) {
				return nothing{}
			}
			at = v[s.Index]
		default:
			return nothing{}
		}
	}
	return at
}

func (m model) eval(e Expr) any {
	switch x := e.(type) {
	case *Path:
		return m.path(x)
	case *Const:
		return plain(&x.Value)
	case *Unary:
		v := m.eval(x.X)
		if b, ok := v.(bool); ok && x.Op == Not {
			return !b
		}
		if f, ok := v.(float64); ok && x.Op == Negate {
			return finite(-f)
		}
		return nothing{}
	case *In:
		var either any = false
		for i := range x.List {
			either = or(either, relate(Equal, m.eval(x.X), plain(&x.List[i])))
		}
		if b, ok := either.(bool); ok {
			return b != x.Not
		}
		return nothing{}
	case *Call:
		var args []any
		for _, a := range x.Args {
			args = append(args, m.eval(a))
		}
		return call(x.Func.Name, args)
	case *Binary:
		a, b := m.eval(x.X), m.eval(x.Y)
		switch x.Op {
		case Or:
			return or(a, b)
		case And:
			return negated(or(negated(a), negated(b)))
		case Add, Subtract, Multiply, Divide, Modulo:
			f, ok := a.(float64)
			g, ok2 := b.(float64)
			if !ok || !ok2 {
				return nothing{}
			}
			return finite([]float64{f + g, f - g, f * g, f / g, math.Mod(f, g)}[x.Op-Add])
		}
		return relate(x.Op, a, b)
	}
	panic(fmt.Sprintf("%T", e))
}

func plain(v *Value) any {
	switch v.kind {
	case Null:
		return nil
	case Bool:
		return v.truth
	case Number:
		return v.num
	case String:
		return v.str
	}
	return nothing{}
}

func finite(f float64) any {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nothing{}
	}
	return f
}

func negated(a any) any {
	if b, ok := a.(bool); ok {
		return !b
	}
	return nothing{}
}

func or(a, b any) any {
	if a == true || b == true {
		return true
	}
	if a == false && b == false {
		return false
	}
	return nothing{}
}

func relate(op Op, a, b any) any {
	var less, same bool
	switch x := a.(type) {
	case nil:
		if b != nil {
			return nothing{}
		}
		same = true
	case bool:
		y, ok := b.(bool)
		if !ok {
			return nothing{}
		}
		less, same = !x && y, x == y
	case float64:
		y, ok := b.(float64)
		if !ok {
			return nothing{}
		}
		less, same = x < y, x == y
	case string:
		y, ok := b.(string)
		if !ok {
			return nothing{}
		}
		less, same = x < y, x == y
		if s, ok := instant(x); ok {
			if t, ok := instant(y); ok {
				less, same = s.Before(t), s.Equal(t)
			}
		}
	default:
		return nothing{}
	}
	return map[Op]bool{Equal: same, NotEqual: !same, Less: less, LessEqual: less || same, Greater: !less && !same, GreaterEqual: !less}[op]
}

func instant(s string) (time.Time, bool) {
	for _, layout := range []string{"2006-01-02", "2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

func call(name string, args []any) any {
	kind := fmt.Sprintf("%T", args[0])
	switch name {
	case "IS_DEFINED":
		return kind != "query.nothing"
	case "IS_NULL":
		return args[0] == nil
	case "IS_BOOL":
		return kind == "bool"
	case "IS_NUMBER":
		return kind == "float64"
	case "IS_STRING":
		return kind == "string"
	case "IS_ARRAY":
		return kind == "[]interface {}"
	case "IS_OBJECT":
		return kind == "map[string]interface {}"
	case "IS_PRIMITIVE":
		return slices.Contains([]string{"<nil>", "bool", "float64", "string"}, kind)
	case "AS_NUMBER":
		if s, ok := args[0].(string); ok {
			f, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
			if err != nil {
				return nothing{}
			}
			return finite(f)
		}
	}
	var texts []string
	var numbers []float64
	for _, a := range args {
		switch v := a.(type) {
		case string:
			texts = append(texts, v)
		case float64:
			numbers = append(numbers, v)
		}
	}
	if len(numbers) == len(args) {
		x := numbers[0]
		switch name {
		case "AS_NUMBER":
			return x
		case "ABS":
			return math.Abs(x)
		case "EXP":
			return finite(math.Exp(x))
		case "SQUARE":
			return finite(math.Pow(x, 2))
		case "CEILING":
			return math.Ceil(x)
		case "FLOOR":
			return math.Floor(x)
		case "SIGN":
			if x == 0 {
				return 0.0
			}
			return math.Copysign(1, x)
		case "SQRT":
			return finite(math.Sqrt(x))
		case "POWER":
			return finite(math.Pow(x, numbers[1]))
		}
	}
	if name == "SUBSTRING" && len(texts) == 1 && len(numbers) == len(args)-1 && kind == "string" {
		var out []rune
		start := max(int(numbers[0]), 0)
		for i, r := range []rune(texts[0]) {
			if i >= start && (len(numbers) == 1 || float64(i-start) < math.Trunc(numbers[1])) {
				out = append(out, r)
			}
		}
		return string(out)
	}
	if len(texts) == len(args) {
		s := texts[0]
		switch name {
		case "CONCAT":
			return strings.Join(texts, "")
		case "LENGTH":
			return float64(len([]rune(s)))
		case "LOWER":
			return strings.ToLower(s)
		case "UPPER":
			return strings.ToUpper(s)
		case "INDEX_OF":
			for i := range []rune(s) {
				if strings.HasPrefix(string([]rune(s)[i:]), texts[1]) {
					return float64(i)
				}
			}
			if texts[1] == "" {
				return 0.0
			}
			return -1.0
		case "STARTS_WITH":
			return strings.HasPrefix(s, texts[1])
		case "ENDS_WITH":
			return strings.HasSuffix(s, texts[1])
		case "CONTAINS":
			return strings.Contains(s, texts[1])
		}
	}
	return nothing{}
}

// run answers a query over decoded documents in order.
func run(q *Query, docs []model) []any {
	var hits []model
	for _, d := range docs {
		if q.Where == nil || d.eval(q.Where) == true {
			hits = append(hits, d)
		}
	}
	rows := []any{}
	switch {
	case !q.Aggregates():
		for _, d := range hits {
			if q.Items == nil {
				rows = append(rows, map[string]any(d))
				continue
			}
			rows = append(rows, columns(q, []model{d}))
		}
	case q.GroupBy == nil:
		rows = append(rows, columns(q, hits))
	default:
		groups := map[string][]model{}
		for _, d := range hits {
			key, _ := json.Marshal(d.path(q.GroupBy))
			if d.path(q.GroupBy) == (nothing{}) {
				key = nil
			}
			groups[string(key)] = append(groups[string(key)], d)
		}
		for _, g := range groups {
			rows = append(rows, columns(q, g))
		}
	}
	return rows
}

func columns(q *Query, group []model) map[string]any {
	out := map[string]any{}
	for _, it := range q.Items {
		var v any = nothing{}
		switch it.Aggregate {
		case NoAggregate:
			v = group[0].path(it.Path)
		case Count:
			v = float64(len(group))
		default:
			v = sumUp(it, group)
		}
		if v != any(nothing{}) {
			out[it.Name] = v
		}
	}
	return out
}

func sumUp(it Item, group []model) any {
	var numbers []float64
	var texts []string
	for _, d := range group {
		switch v := d.path(it.Path).(type) {
		case float64:
			numbers = append(numbers, v)
		case string:
			texts = append(texts, v)
		}
	}
	var total float64
	for _, n := range numbers {
		total += n
	}
	slices.SortFunc(texts, func(a, b string) int {
		s, isS := instant(a)
		t, isT := instant(b)
		switch {
		case isS && isT && !s.Equal(t):
			return s.Compare(t)
		case isS != isT:
			return map[bool]int{true: -1, false: 1}[isS]
		}
		return strings.Compare(a, b)
	})
	switch {
	case it.Aggregate == Sum && len(numbers) > 0:
		return total
	case it.Aggregate == Avg && len(numbers) > 0:
		return total / float64(len(numbers))
	case it.Aggregate == Min && len(numbers) > 0:
		return slices.Min(numbers)
	case it.Aggregate == Min && len(texts) > 0:
		return texts[0]
	case it.Aggregate == Max && len(texts) > 0:
		return texts[len(texts)-1]
	case it.Aggregate == Max && len(numbers) > 0:
		return slices.Max(numbers)
	}
	return nothing{}
}

// answer runs the engine over the twins, in two parts where it aggregates.
func answer(t *testing.T, q *Query, twins []*Twin, docs []model) []any {
	rows := []any{}
	decode := func(row []byte) {
		var v any
		if err := json.Unmarshal(row, &v); err != nil {
			t.Fatalf("%s: row %s: %v", q, row, err)
		}
		rows = append(rows, v)
	}
	if q.Aggregates() {
		parts := []*Groups{q.NewGroups(), q.NewGroups()}
		for i, tw := range twins {
			if q.Match(tw) {
				if err := parts[i%2].Add(tw); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := parts[0].Merge(parts[1]); err != nil {
			t.Fatal(err)
		}
		after, more := "", true
		for started := false; more; started = true {
			after, more = parts[0].Rows(after, started, 3, decode)
		}
		return rows
	}
	var buf []byte
	for i, tw := range twins {
		if !q.Match(tw) {
			continue
		}
		if q.Items == nil {
			rows = append(rows, map[string]any(docs[i]))
			continue
		}
		buf = q.Row(buf[:0], tw)
		decode(buf)
	}
	return rows
}

func TestQueriesAgreeWithABruteForceEvaluator(t *testing.T) {
	g := newGenerator(*bruteSeed)
	twins, docs := make([]*Twin, *bruteTwins), make([]model, *bruteTwins)
	for i := range twins {
		twins[i] = g.twin(t, i)
		text := twins[i].AppendServiceView(nil)
		if twins[i].Configurations != "" {
			text = append(text[:len(text)-1], `,"configurations":`+twins[i].Configurations+`}`...)
		}
		if err := json.Unmarshal(text, &docs[i]); err != nil {
			t.Fatal(err)
		}
	}
	hit := 0
	for n := range *bruteQueries {
		q, err := Parse(g.query().String())
		if err != nil {
			t.Fatal(err)
		}
		got, want := answer(t, q, twins, docs), run(q, docs)
		for _, w := range twins {
			if q.Match(storedOf(t, w)) != q.Match(w) {
				t.Fatalf("query %d of seed %d: %s\nmatches a twin or its stored form: %s", n, *bruteSeed, q, w.AppendServiceView(nil))
			}
		}
		if q.GroupBy != nil {
			sortRows(got)
			sortRows(want)
		}
		if len(got) != len(want) {
			t.Fatalf("query %d of seed %d: %s\n%d rows, want %d", n, *bruteSeed, q, len(got), len(want))
		}
		if 0 < len(got) && len(got) < len(twins) {
			hit++
		}
		for i := range got {
			if !alike(got[i], want[i]) {
				t.Fatalf("query %d of seed %d: %s\nrow %d\n got %v\nwant %v", n, *bruteSeed, q, i, got[i], want[i])
			}
		}
	}
	if hit < *bruteQueries/4 {
		t.Errorf("only %d of %d queries found some rows and not all: the test says little", hit, *bruteQueries)
	}
}

// storedOf is the row as a scan of the store has it.
func storedOf(t *testing.T, w *Twin) *Stored {
	b, err := w.Document.Twin.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	p := w.Presence
	p.Queued = 0
	return &Stored{
		Ref: device.Ref{Device: w.Identity.DeviceID, Module: w.ModuleID}, Twin: device.StoredTwin(b), Presence: p,
		Decoded: func() *device.Document { return w.Document },
	}
}

func sortRows(rows []any) {
	slices.SortFunc(rows, func(a, b any) int {
		x, _ := json.Marshal(a.(map[string]any)["c0"])
		y, _ := json.Marshal(b.(map[string]any)["c0"])
		return bytes.Compare(x, y)
	})
}

// alike compares rows; sums may differ in the last digits.
func alike(a, b any) bool {
	x, ok := a.(map[string]any)
	y, ok2 := b.(map[string]any)
	if !ok || !ok2 || len(x) != len(y) {
		return reflect.DeepEqual(a, b)
	}
	for k, v := range x {
		f, isF := v.(float64)
		g, isG := y[k].(float64)
		if isF && isG && math.Abs(f-g) <= 1e-9*max(1, math.Abs(g)) {
			continue
		}
		if w, ok := y[k]; !ok || !reflect.DeepEqual(v, w) {
			return false
		}
	}
	return true
}
