package sql

import "github.com/gemello/gemello/windows"

// condition is a compiled condition.
type condition struct {
	eval func(*Env) tri
	on   dependence
}

func (c *condition) code() code {
	f := c.eval
	if f == nil {
		return code{}
	}
	return fold(func(e *Env) windows.Value { return f(e).value() }, code{on: c.on})
}

// isCondition reports whether an expression has a truth value by its form.
func isCondition(x expr) bool {
	switch x := x.(type) {
	case *unaryExpr:
		return x.op == "NOT"
	case *binaryExpr:
		return x.op == "AND" || x.op == "OR" || comparisonOf(x.op) != 0
	case *isNull, *between, *inList, *like:
		return true
	}
	return false
}

// condition compiles an expression for its truth value alone.
func (c *compiler) condition(x expr) (condition, error) {
	if _, grouped := c.grouped(x); !grouped && isCondition(x) {
		switch x := x.(type) {
		case *unaryExpr:
			a, err := c.condition(x.x)
			f := a.eval
			return condition{func(e *Env) tri { return f(e).not() }, a.on}, err
		case *binaryExpr:
			if x.op == "AND" || x.op == "OR" {
				return c.logic(x)
			}
			return c.comparison(x)
		case *isNull:
			v, err := c.expr(x.x)
			f, not := v.eval, x.not
			return condition{func(e *Env) tri {
				v := f(e)
				return triOf(v.IsNull() != not)
			}, v.on}, err
		case *between:
			return c.between(x)
		case *inList:
			return c.inList(x)
		case *like:
			return c.like(x)
		}
	}
	v, err := c.expr(x)
	f := v.eval
	return condition{func(e *Env) tri {
		v := f(e)
		return truth(&v)
	}, v.on}, err
}

func (c *compiler) logic(x *binaryExpr) (condition, error) {
	a, err := c.condition(x.x)
	if err != nil {
		return a, err
	}
	b, err := c.condition(x.y)
	f, g := a.eval, b.eval
	// The operand that decides: false for AND, true for OR.
	decides := triOf(x.op == "OR")
	return condition{func(e *Env) tri {
		t := f(e)
		if t == decides {
			return t
		}
		u := g(e)
		if u == decides || t == u {
			return u
		}
		return unknown
	}, min(a.on, b.on)}, err
}

func (c *compiler) comparison(x *binaryExpr) (condition, error) {
	list, err := c.exprs([]expr{x.x, x.y})
	if err != nil {
		return condition{}, err
	}
	a, b := list[0], list[1]
	cmp := comparisonOf(x.op)
	f, g := a.eval, b.eval
	// A column beside a constant is the usual filter.
	if a.column > 0 && b.constant() {
		i, w := a.column-1, b.value()
		return condition{func(e *Env) tri { return cmp.of(&e.values[e.index[i]], &w) }, onRow}, nil
	}
	return condition{func(e *Env) tri {
		v, w := f(e), g(e)
		return cmp.of(&v, &w)
	}, min(a.on, b.on)}, nil
}

func (c *compiler) between(x *between) (condition, error) {
	list, err := c.exprs([]expr{x.x, x.lo, x.hi})
	if err != nil {
		return condition{}, err
	}
	f, lo, hi := list[0].eval, list[1].eval, list[2].eval
	no, yes := triOf(x.not), triOf(!x.not)
	return condition{func(e *Env) tri {
		v, l, h := f(e), lo(e), hi(e)
		below, ok1 := compare(&v, &l)
		above, ok2 := compare(&v, &h)
		switch {
		case ok1 && below < 0, ok2 && above > 0:
			return no
		case ok1 && ok2:
			return yes
		}
		return unknown
	}, min(list[0].on, list[1].on, list[2].on)}, nil
}

func (c *compiler) inList(x *inList) (condition, error) {
	v, err := c.expr(x.x)
	if err != nil {
		return condition{}, err
	}
	list, err := c.exprs(x.list)
	if err != nil {
		return condition{}, err
	}
	on := v.on
	for i := range list {
		on = min(on, list[i].on)
	}
	f := v.eval
	no, yes := triOf(x.not), triOf(!x.not)
	return condition{func(e *Env) tri {
		v := f(e)
		undecided := false
		for i := range list {
			w := list[i].eval(e)
			order, ok := compare(&v, &w)
			if ok && order == 0 {
				return yes
			}
			undecided = undecided || !ok
		}
		if undecided {
			return unknown
		}
		return no
	}, on}, nil
}

func (c *compiler) like(x *like) (condition, error) {
	v, err := c.expr(x.x)
	if err != nil {
		return condition{}, err
	}
	pattern, on, err := c.pattern(x, x.pattern)
	f := v.eval
	no, yes := triOf(x.not), triOf(!x.not)
	return condition{func(e *Env) tri {
		v := f(e)
		p := pattern(e)
		if v.IsNull() || p == nil {
			return unknown
		}
		s, ok := e.text(x, &v)
		switch {
		case !ok:
			return unknown
		case p.matches(s):
			return yes
		}
		return no
	}, min(v.on, on)}, err
}

// maxPattern is the longest pattern that is taken from a record, in bytes: the
// cost of matching is bounded by text × pattern.
const maxPattern = 256

// pattern compiles the pattern of LIKE and PATINDEX, a literal once and for
// all. It gives nil for NULL and for a failure, which is noted for in.
func (c *compiler) pattern(in, x expr) (func(*Env) *pattern, dependence, error) {
	v, err := c.expr(x)
	if err != nil {
		return nil, onRow, err
	}
	if v.constant() {
		if s := v.value(); s.Kind() == windows.String {
			p := likePattern(s.Str())
			return func(*Env) *pattern { return p }, onNothing, nil
		}
	}
	f := v.eval
	return func(e *Env) *pattern {
		v := f(e)
		if v.IsNull() {
			return nil
		}
		s, ok := e.text(in, &v)
		if !ok {
			return nil
		}
		if len(s) > maxPattern {
			e.fail(in, v, "pattern of more than "+decimal(maxPattern)+" bytes")
			return nil
		}
		return likePattern(s)
	}, v.on, nil
}

func (c *compiler) caseExpr(x *caseExpr) (code, error) {
	type branch struct {
		cond func(*Env) tri
		when func(*Env) windows.Value // of the form with an operand
		then func(*Env) windows.Value
	}
	on := onNothing
	add := func(x expr) (func(*Env) windows.Value, error) {
		v, err := c.expr(x)
		on = min(on, v.on)
		return v.eval, err
	}
	var operand func(*Env) windows.Value
	var err error
	if x.operand != nil {
		if operand, err = add(x.operand); err != nil {
			return code{}, err
		}
	}
	branches := make([]branch, len(x.whens))
	for i, w := range x.whens {
		b := &branches[i]
		if operand != nil {
			b.when, err = add(w.cond)
		} else {
			var cond condition
			cond, err = c.condition(w.cond)
			b.cond = cond.eval
			on = min(on, cond.on)
		}
		if err != nil {
			return code{}, err
		}
		if b.then, err = add(w.then); err != nil {
			return code{}, err
		}
	}
	other := func(*Env) windows.Value { return windows.Value{} }
	if x.other != nil {
		if other, err = add(x.other); err != nil {
			return code{}, err
		}
	}
	return fold(func(e *Env) windows.Value {
		var v windows.Value
		if operand != nil {
			v = operand(e)
		}
		for i := range branches {
			b := &branches[i]
			if operand == nil {
				if b.cond(e) == isTrue {
					return b.then(e)
				}
				continue
			}
			w := b.when(e)
			if order, ok := compare(&v, &w); ok && order == 0 {
				return b.then(e)
			}
		}
		return other(e)
	}, code{on: on}), nil
}
