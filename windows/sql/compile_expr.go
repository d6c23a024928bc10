package sql

import (
	"strings"

	"github.com/gemello/gemello/windows"
)

// code is a compiled expression. It holds no state, so that any number of
// environments may run it at once.
type code struct {
	eval     func(*Env) windows.Value
	constant bool
}

// compiler turns the expressions of one query into code.
type compiler struct {
	q       *Query
	o       *Options
	source  *sourceItem
	devices bool
	// groups are the GROUP BY expressions in folded spelling.
	groups []string
	// kinds are their node types, which spares most comparisons of spelling.
	kinds map[nodeKind]bool
	// windowed is set where only group keys, aggregates and the window are
	// known: SELECT and HAVING of a query with GROUP BY.
	windowed bool
	// inside is set within the argument of an aggregate.
	inside bool
	// aliases are the select items that HAVING may name.
	aliases map[string]expr
	busy    map[string]bool // aliases being resolved
}

type nodeKind uint8

func nodeKindOf(x expr) nodeKind {
	switch x.(type) {
	case *columnRef:
		return 1
	case *literal:
		return 2
	case *unaryExpr:
		return 3
	case *binaryExpr:
		return 4
	case *isNull:
		return 5
	case *between:
		return 6
	case *inList:
		return 7
	case *like:
		return 8
	case *caseExpr:
		return 9
	case *castExpr:
		return 10
	}
	return 11
}

func constant(v windows.Value) code {
	return code{func(*Env) windows.Value { return v }, true}
}

// value returns the value of constant code.
func (c *code) value() windows.Value { return c.eval(nil) }

// fold evaluates code once and for all if its operands are constant; what
// fails or overflows stays, so that every row reports it.
func fold(f func(*Env) windows.Value, operands ...code) code {
	for i := range operands {
		if !operands[i].constant {
			return code{f, false}
		}
	}
	e := &Env{}
	v := f(e)
	if len(e.Errors) > 0 || e.Counts != (Counts{}) {
		return code{f, false}
	}
	return constant(v)
}

func (c *compiler) exprs(xs []expr) ([]code, error) {
	list := make([]code, len(xs))
	for i, x := range xs {
		var err error
		if list[i], err = c.expr(x); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (c *compiler) expr(x expr) (code, error) {
	if c.windowed && c.kinds[nodeKindOf(x)] {
		spelling := c.folded(x)
		for i, g := range c.groups {
			if g == spelling {
				return code{func(e *Env) windows.Value { return e.keys[i] }, false}, nil
			}
		}
	}
	switch x := x.(type) {
	case *literal:
		return constant(x.value), nil
	case *columnRef:
		return c.columnRef(x)
	case *unaryExpr:
		return c.unary(x)
	case *binaryExpr:
		return c.binary(x)
	case *isNull:
		v, err := c.expr(x.x)
		if err != nil {
			return code{}, err
		}
		f, not := v.eval, x.not
		return fold(func(e *Env) windows.Value {
			v := f(e)
			return windows.BitOf(v.IsNull() != not)
		}, v), nil
	case *between:
		return c.between(x)
	case *inList:
		return c.inList(x)
	case *like:
		return c.like(x)
	case *caseExpr:
		return c.caseExpr(x)
	case *castExpr:
		return c.cast(x)
	case *call:
		return c.call(x)
	}
	return code{}, errorAt(x.position(), "", "unknown expression")
}

func (c *compiler) columnRef(x *columnRef) (code, error) {
	if c.windowed {
		if len(x.path) == 1 {
			name := strings.ToLower(x.path[0])
			if item, ok := c.aliases[name]; ok && !c.busy[name] {
				c.busy[name] = true
				defer delete(c.busy, name)
				return c.expr(item)
			}
		}
		return code{}, errorAt(x.Pos, "an expression of GROUP BY or an aggregate",
			"column %s is neither in GROUP BY nor inside an aggregate", printExpr(x))
	}
	f, err := c.resolve(x)
	if err != nil {
		return code{}, err
	}
	i := c.q.field(f)
	return code{func(e *Env) windows.Value { return e.values[e.index[i]] }, false}, nil
}

func (c *compiler) unary(x *unaryExpr) (code, error) {
	v, err := c.expr(x.x)
	if err != nil {
		return code{}, err
	}
	f := v.eval
	if x.op == "NOT" {
		return fold(func(e *Env) windows.Value {
			v := f(e)
			is, known := truth(&v)
			if !known {
				return windows.Value{}
			}
			return windows.BitOf(!is)
		}, v), nil
	}
	op := x.op[0]
	return fold(func(e *Env) windows.Value {
		v := f(e)
		switch {
		case v.IsNull():
			return v
		case v.Kind() == windows.Bigint && op == '-':
			return e.integers('-', 0, v.Bigint())
		case v.Kind() == windows.Bigint && op == '~':
			return windows.BigintOf(^v.Bigint())
		case v.Kind() == windows.Float && op == '-':
			return windows.FloatOf(-v.Float())
		case isNumber(&v) && op == '+':
			return v
		}
		return e.fail(x, v, "no "+x.op+" of "+v.Kind().String())
	}, v), nil
}

func (c *compiler) binary(x *binaryExpr) (code, error) {
	a, err := c.expr(x.x)
	if err != nil {
		return code{}, err
	}
	b, err := c.expr(x.y)
	if err != nil {
		return code{}, err
	}
	f, g := a.eval, b.eval
	switch x.op {
	case "AND", "OR":
		// The operand that decides: false for AND, true for OR.
		decides := x.op == "OR"
		return fold(func(e *Env) windows.Value {
			v := f(e)
			is, known := truth(&v)
			if known && is == decides {
				return windows.BitOf(decides)
			}
			w := g(e)
			is2, known2 := truth(&w)
			if known2 && is2 == decides {
				return windows.BitOf(decides)
			}
			if known && known2 {
				return windows.BitOf(!decides)
			}
			return windows.Value{}
		}, a, b), nil
	}
	if cmp := comparisonOf(x.op); cmp != 0 {
		return fold(func(e *Env) windows.Value {
			v, w := f(e), g(e)
			return cmp.of(&v, &w)
		}, a, b), nil
	}
	op := x.op[0]
	return fold(func(e *Env) windows.Value {
		v, w := f(e), g(e)
		return e.arithmetic(op, &v, &w, x)
	}, a, b), nil
}

func (c *compiler) between(x *between) (code, error) {
	list, err := c.exprs([]expr{x.x, x.lo, x.hi})
	if err != nil {
		return code{}, err
	}
	f, lo, hi, not := list[0].eval, list[1].eval, list[2].eval, x.not
	return fold(func(e *Env) windows.Value {
		v, l, h := f(e), lo(e), hi(e)
		below, ok1 := compare(&v, &l)
		above, ok2 := compare(&v, &h)
		switch {
		case ok1 && below < 0, ok2 && above > 0:
			return windows.BitOf(not)
		case ok1 && ok2:
			return windows.BitOf(!not)
		}
		return windows.Value{}
	}, list...), nil
}

func (c *compiler) inList(x *inList) (code, error) {
	v, err := c.expr(x.x)
	if err != nil {
		return code{}, err
	}
	list, err := c.exprs(x.list)
	if err != nil {
		return code{}, err
	}
	f, not := v.eval, x.not
	return fold(func(e *Env) windows.Value {
		v := f(e)
		unknown := false
		for i := range list {
			w := list[i].eval(e)
			order, ok := compare(&v, &w)
			if ok && order == 0 {
				return windows.BitOf(!not)
			}
			unknown = unknown || !ok
		}
		if unknown {
			return windows.Value{}
		}
		return windows.BitOf(not)
	}, append([]code{v}, list...)...), nil
}

func (c *compiler) like(x *like) (code, error) {
	v, err := c.expr(x.x)
	if err != nil {
		return code{}, err
	}
	pat, err := c.expr(x.pattern)
	if err != nil {
		return code{}, err
	}
	f, g, not := v.eval, pat.eval, x.not
	var known *pattern
	if pat.constant {
		if p := pat.value(); p.Kind() == windows.String {
			known = likePattern(p.Str())
		}
	}
	return fold(func(e *Env) windows.Value {
		v, p := f(e), g(e)
		if v.IsNull() || p.IsNull() {
			return windows.Value{}
		}
		s, ok := e.text(x, &v)
		if !ok {
			return windows.Value{}
		}
		compiled := known
		if compiled == nil {
			t, ok := e.text(x, &p)
			if !ok {
				return windows.Value{}
			}
			compiled = likePattern(t)
		}
		return windows.BitOf(compiled.matches(s) != not)
	}, v, pat), nil
}

func (c *compiler) caseExpr(x *caseExpr) (code, error) {
	all := true
	add := func(x expr) (func(*Env) windows.Value, error) {
		v, err := c.expr(x)
		all = all && v.constant
		return v.eval, err
	}
	type branch struct{ cond, then func(*Env) windows.Value }
	var operand func(*Env) windows.Value
	var err error
	if x.operand != nil {
		if operand, err = add(x.operand); err != nil {
			return code{}, err
		}
	}
	branches := make([]branch, len(x.whens))
	for i, w := range x.whens {
		if branches[i].cond, err = add(w.cond); err != nil {
			return code{}, err
		}
		if branches[i].then, err = add(w.then); err != nil {
			return code{}, err
		}
	}
	other := func(*Env) windows.Value { return windows.Value{} }
	if x.other != nil {
		if other, err = add(x.other); err != nil {
			return code{}, err
		}
	}
	f := func(e *Env) windows.Value {
		var v windows.Value
		if operand != nil {
			v = operand(e)
		}
		for i := range branches {
			w := branches[i].cond(e)
			if operand == nil {
				if holds(w) {
					return branches[i].then(e)
				}
			} else if order, ok := compare(&v, &w); ok && order == 0 {
				return branches[i].then(e)
			}
		}
		return other(e)
	}
	return fold(f, code{constant: all}), nil
}

func (c *compiler) cast(x *castExpr) (code, error) {
	v, err := c.expr(x.x)
	if err != nil {
		return code{}, err
	}
	f, to, try := v.eval, x.typ, x.try
	return fold(func(e *Env) windows.Value {
		v := f(e)
		w, ok := cast(v, to)
		if ok {
			return w
		}
		if try {
			return windows.Value{}
		}
		return e.fail(x, v, v.Kind().String()+" value can't be cast to "+to.String())
	}, v), nil
}
