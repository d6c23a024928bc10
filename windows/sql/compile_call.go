package sql

import (
	"regexp"
	"strings"

	"github.com/gemello/gemello/windows"
)

// aggregateOf returns the aggregate of a function name.
func aggregateOf(name string) (windows.AggregateKind, bool) {
	for k := windows.Count; k <= windows.Varp; k++ {
		if strings.EqualFold(k.String(), name) {
			return k, true
		}
	}
	return 0, false
}

// later are functions of the dialect that can't run yet; those ending in _
// stand for all that begin so.
var later = []string{
	"PERCENTILE_", "APPROX_", "COLLECT", "CollectTop", "TopOne", "FIRST", "LASTVALUE", "STRING_AGG",
	"LAG", "LAST", "ISFIRST", "AnomalyDetection_", "CreatePoint", "CreateLineString", "CreatePolygon",
	"ST_", "GetMetadataPropertyValue", "GetArrayElements", "GetRecordProperties", "UDF.",
}

func isLater(name string) bool {
	for _, l := range later {
		if equalNames(l, name) {
			return true
		}
		if n := len(l); (l[n-1] == '_' || l[n-1] == '.') && len(name) > n && equalNames(l, name[:n]) {
			return true
		}
	}
	return false
}

// functionName gives the one spelling of a function's name.
func functionName(name string) string {
	if k, ok := aggregateOf(name); ok {
		return k.String()
	}
	if f := functionOf(name); f != nil {
		return f.name
	}
	if strings.HasPrefix(name, "System.") {
		return name
	}
	return strings.ToUpper(name)
}

func (c *compiler) call(x *call) (code, error) {
	name := functionName(x.name)
	if x.over != nil {
		return code{}, unsupported(x.Pos, name+" with OVER (analytic functions)")
	}
	if isLater(x.name) {
		return code{}, unsupported(x.Pos, "function "+x.name)
	}
	if kind, ok := aggregateOf(name); ok {
		return c.aggregate(x, kind)
	}
	if x.star || x.distinct {
		return code{}, errorAt(x.Pos, "", "only aggregates take * or DISTINCT")
	}
	switch name {
	case "System.Timestamp":
		return code{eval: func(e *Env) windows.Value { return windows.DatetimeOf(e.Timestamp) }, on: c.onTime()}, nil
	case "System.WindowStart", "System.WindowEnd":
		if !c.windowed {
			return code{}, errorAt(x.Pos, "SELECT or HAVING of a query with GROUP BY", "%s() outside of a window", name)
		}
		if name == "System.WindowStart" {
			return code{eval: func(e *Env) windows.Value { return windows.DatetimeOf(e.Start) }, on: onWindow}, nil
		}
		return code{eval: func(e *Env) windows.Value { return windows.DatetimeOf(e.Timestamp) }, on: onWindow}, nil
	case "System.Window":
		return code{}, unsupported(x.Pos, "System.Window().Id")
	}
	if code, known, err := c.special(x, name); known {
		return code, err
	}
	f := functionOf(name)
	if f == nil {
		return code{}, errorAt(x.Pos, "a function of the language", "unknown function %s", clip(x.name))
	}
	if err := checkArgs(x, f.name, f.min, f.max); err != nil {
		return code{}, err
	}
	args, err := c.exprs(x.args)
	if err != nil {
		return code{}, err
	}
	eval, nulls := f.eval, f.nulls
	return fold(func(e *Env) windows.Value {
		base := len(e.stack)
		for i := range args {
			v := args[i].eval(e)
			if v.IsNull() && !nulls {
				e.stack = e.stack[:base]
				return windows.Value{}
			}
			e.stack = append(e.stack, v)
		}
		v := eval(e, x, e.stack[base:])
		e.stack = e.stack[:base]
		return v
	}, args...), nil
}

// onTime says what System.Timestamp() changes with.
func (c *compiler) onTime() dependence {
	if c.windowed {
		return onWindow
	}
	return onRow
}

func checkArgs(x *call, name string, least, most int) error {
	n := len(x.args)
	switch {
	case n >= least && (most < 0 || n <= most):
		return nil
	case least == most:
		return errorAt(x.Pos, plural(least, "argument"), "%s with %s", name, plural(n, "argument"))
	case most < 0:
		return errorAt(x.Pos, "at least "+plural(least, "argument"), "%s with %s", name, plural(n, "argument"))
	}
	return errorAt(x.Pos, decimal(least)+" to "+plural(most, "argument"), "%s with %s", name, plural(n, "argument"))
}

func (c *compiler) aggregate(x *call, kind windows.AggregateKind) (code, error) {
	switch {
	case c.inside:
		return code{}, errorAt(x.Pos, "", "aggregate %v inside an aggregate", kind)
	case !c.windowed:
		return code{}, errorAt(x.Pos, "GROUP BY with a window, and the aggregate in SELECT or HAVING",
			"aggregate %v where there is no window", kind)
	case x.distinct:
		return code{}, unsupported(x.Pos, kind.String()+"(DISTINCT …)")
	case x.star && kind != windows.Count:
		return code{}, errorAt(x.Pos, "an expression", "%v(*)", kind)
	case !x.star:
		if err := checkArgs(x, kind.String(), 1, 1); err != nil {
			return code{}, err
		}
	}
	all := x.star
	if !all && kind == windows.Count {
		r, ok := x.args[0].(*columnRef)
		all = ok && len(r.path) == 1 && c.isSource(r.path[0])
	}
	a := windows.Aggregate{Kind: windows.CountAll, Overflow: c.o.Overflow}
	if !all {
		a.Kind = kind
		arg, err := c.argument(x.args[0])
		if err != nil {
			return code{}, err
		}
		a.Arg = arg
	}
	if a.Kind != windows.Sum {
		a.Overflow = windows.OverflowNull
	}
	at := -1
	for i := range c.q.Aggregates {
		if c.q.Aggregates[i] == a {
			at = i
		}
	}
	if at < 0 {
		if at = len(c.q.Aggregates); at == windows.MaxAggregates {
			return code{}, errorAt(x.Pos, "", "more than %d aggregates", windows.MaxAggregates)
		}
		c.q.Aggregates = append(c.q.Aggregates, a)
	}
	return varying(func(e *Env) windows.Value { return e.results[at] }), nil
}

// argument returns the index of an aggregate's argument; equal ones share it.
func (c *compiler) argument(x expr) (int, error) {
	spelling := c.folded(x)
	for i, a := range c.q.Args {
		if a.folded == spelling {
			return i, nil
		}
	}
	defer func(windowed, inside bool) { c.windowed, c.inside = windowed, inside }(c.windowed, c.inside)
	c.windowed, c.inside = false, true
	v, err := c.expr(x)
	if err != nil {
		return 0, err
	}
	c.q.Args = append(c.q.Args, c.expression(x, v))
	return len(c.q.Args) - 1, nil
}

// special compiles functions that need more than the values of their
// arguments.
func (c *compiler) special(x *call, name string) (result code, known bool, err error) {
	switch name {
	case "COALESCE", "IIF", "NULLIF", "REGEXMATCH", "PATINDEX", "DATEADD", "DATEDIFF", "DATEPART", "DATENAME":
	default:
		return code{}, false, nil
	}
	least, most := 2, 2
	switch name {
	case "COALESCE":
		most = -1
	case "IIF", "DATEADD", "DATEDIFF":
		least, most = 3, 3
	}
	if err := checkArgs(x, name, least, most); err != nil {
		return code{}, true, err
	}
	switch name {
	case "COALESCE":
		result, err = c.coalesce(x)
	case "IIF":
		result, err = c.caseExpr(&caseExpr{Pos: x.Pos, whens: []when{{x.args[0], x.args[1]}}, other: x.args[2]})
	case "NULLIF":
		result, err = c.nullif(x)
	case "REGEXMATCH":
		result, err = c.regexmatch(x)
	case "PATINDEX":
		result, err = c.patindex(x)
	default:
		result, err = c.dateFunction(x, name)
	}
	return result, true, err
}

func (c *compiler) coalesce(x *call) (code, error) {
	args, err := c.exprs(x.args)
	if err != nil {
		return code{}, err
	}
	return fold(func(e *Env) windows.Value {
		for i := range args {
			if v := args[i].eval(e); !v.IsNull() {
				return v
			}
		}
		return windows.Value{}
	}, args...), nil
}

func (c *compiler) nullif(x *call) (code, error) {
	args, err := c.exprs(x.args)
	if err != nil {
		return code{}, err
	}
	f, g := args[0].eval, args[1].eval
	return fold(func(e *Env) windows.Value {
		v, w := f(e), g(e)
		if order, ok := compare(&v, &w); ok && order == 0 {
			return windows.Value{}
		}
		return v
	}, args...), nil
}

// regexmatch takes a literal pattern only, so that it is checked once and its
// cost is linear in the text.
func (c *compiler) regexmatch(x *call) (code, error) {
	v, err := c.expr(x.args[0])
	if err != nil {
		return code{}, err
	}
	lit, ok := x.args[1].(*literal)
	if !ok || lit.value.Kind() != windows.String {
		return code{}, errorAt(x.args[1].position(), "a string", "the pattern of REGEXMATCH is not a literal")
	}
	re, rerr := regexp.Compile(lit.value.Str())
	if rerr != nil {
		return code{}, errorAt(lit.Pos, "RE2 syntax", "%s", strings.TrimPrefix(rerr.Error(), "error parsing regexp: "))
	}
	f := v.eval
	return fold(func(e *Env) windows.Value {
		v := f(e)
		if v.IsNull() {
			return v
		}
		s, ok := e.text(x, &v)
		if !ok {
			return windows.Value{}
		}
		if re.MatchString(s) {
			return windows.BigintOf(1)
		}
		return windows.BigintOf(0)
	}, v), nil
}

func (c *compiler) patindex(x *call) (code, error) {
	pattern, on, err := c.pattern(x, x.args[0])
	if err != nil {
		return code{}, err
	}
	v, err := c.expr(x.args[1])
	f := v.eval
	return fold(func(e *Env) windows.Value {
		p, v := pattern(e), f(e)
		if p == nil || v.IsNull() {
			return windows.Value{}
		}
		s, ok := e.text(x, &v)
		if !ok {
			return windows.Value{}
		}
		return windows.BigintOf(p.find(s))
	}, v, code{on: on}), err
}

// datePart reads the first argument of a date function.
func datePart(x *call) (unit, error) {
	if r, ok := x.args[0].(*columnRef); ok && len(r.path) == 1 {
		if u := unitOf(r.path[0]); u != noUnit {
			return u, nil
		}
	}
	return noUnit, errorAt(x.args[0].position(), "year, quarter, month, day, hour, minute, second, millisecond, …",
		"%s is no date part", printExpr(x.args[0]))
}

// dateOperand compiles a datetime argument; a literal is read now.
func (c *compiler) dateOperand(x expr) (code, error) {
	v, err := c.expr(x)
	if err != nil || !v.constant() {
		return v, err
	}
	if s := v.value(); s.Kind() == windows.String {
		t, ok := parseDatetime(s.Str())
		if !ok {
			return v, errorAt(x.position(), "a datetime such as '2024-05-01T12:00:00Z'", "%s is not a datetime", printExpr(x))
		}
		return constant(windows.DatetimeOf(t)), nil
	}
	return v, nil
}

func (c *compiler) dateFunction(x *call, name string) (code, error) {
	u, err := datePart(x)
	if err != nil {
		return code{}, err
	}
	last, err := c.dateOperand(x.args[len(x.args)-1])
	if err != nil {
		return code{}, err
	}
	switch name {
	case "DATEADD":
		n, err := c.expr(x.args[1])
		if err != nil {
			return code{}, err
		}
		return c.dateAdd(x, u, n, last), nil
	case "DATEDIFF":
		first, err := c.dateOperand(x.args[1])
		if err != nil {
			return code{}, err
		}
		f, g := first.eval, last.eval
		return fold(func(e *Env) windows.Value {
			v, w := f(e), g(e)
			if v.IsNull() || w.IsNull() {
				return windows.Value{}
			}
			a, ok := e.datetime(x, &v)
			if !ok {
				return windows.Value{}
			}
			b, ok := e.datetime(x, &w)
			if !ok {
				return windows.Value{}
			}
			d, ok := diffUnits(u, a, b)
			if !ok {
				return e.overflow()
			}
			return windows.BigintOf(d)
		}, first, last), nil
	}
	f := last.eval
	names := name == "DATENAME"
	return fold(func(e *Env) windows.Value {
		v := f(e)
		if v.IsNull() {
			return v
		}
		t, ok := e.datetime(x, &v)
		if !ok {
			return windows.Value{}
		}
		if names {
			return windows.StringOf(partName(u, t))
		}
		return windows.BigintOf(partOf(u, t))
	}, last), nil
}

func (c *compiler) dateAdd(x *call, u unit, n, base code) code {
	f, g := n.eval, base.eval
	// A number of fixed units since a fixed instant, as in epoch milliseconds,
	// is one multiplication.
	if step := u.fixed(); step != 0 && base.constant() && !n.constant() {
		if b := base.value(); b.Kind() == windows.Datetime {
			from := b.Datetime()
			least := (windows.MinTick - from) / step
			most := (windows.MaxTick - from) / step
			return code{on: n.on, eval: func(e *Env) windows.Value {
				v := f(e)
				if v.Kind() != windows.Bigint {
					if v.IsNull() {
						return v
					}
					i, ok := e.whole(x, &v)
					if !ok {
						return windows.Value{}
					}
					v = windows.BigintOf(i)
				}
				i := windows.Tick(v.Bigint())
				if i < least || i > most {
					return e.overflow()
				}
				return windows.DatetimeOf(from + i*step)
			}}
		}
	}
	return fold(func(e *Env) windows.Value {
		v, w := f(e), g(e)
		if v.IsNull() || w.IsNull() {
			return windows.Value{}
		}
		i, ok := e.whole(x, &v)
		if !ok {
			return windows.Value{}
		}
		t, ok := e.datetime(x, &w)
		if !ok {
			return windows.Value{}
		}
		t, ok = addUnits(u, i, t)
		if !ok {
			return e.overflow()
		}
		return windows.DatetimeOf(t)
	}, n, base)
}
