package query

import "math"

// Source resolves paths, once for each time that one is met. What leads nowhere
// is undefined.
type Source interface {
	Lookup(p *Path) Value
}

// scope is what an expression is evaluated in.
type scope struct {
	source Source
	fold   bool // strings and names compare without case
}

// Match reports whether the row passes the query's condition.
func (q *Query) Match(s Source) bool {
	if q.Where == nil {
		return true
	}
	v := q.Where.eval(&scope{source: s})
	return v.True()
}

func (c *Const) eval(*scope) Value { return c.Value }

func (p *Path) eval(s *scope) Value { return s.source.Lookup(p) }

func (u *Unary) eval(s *scope) Value {
	x := u.X.eval(s)
	if u.Op == Negate {
		if x.kind != Number {
			return Value{}
		}
		return OfNumber(0 - x.num)
	}
	if x.kind != Bool {
		return Value{}
	}
	return OfBool(!x.truth)
}

func (x *Binary) eval(s *scope) Value {
	switch x.Op {
	case And, Or:
		// What decides alone: false for AND, true for OR.
		decides := x.Op == Or
		a := x.X.eval(s)
		if a.kind == Bool && a.truth == decides {
			return a
		}
		b := x.Y.eval(s)
		if b.kind == Bool && b.truth == decides {
			return b
		}
		if a.kind != Bool || b.kind != Bool {
			return Value{}
		}
		return OfBool(!decides)
	}
	a := x.X.eval(s)
	if a.kind == Undefined {
		return a
	}
	b := x.Y.eval(s)
	if x.Op >= Add {
		return arithmetic(x.Op, &a, &b)
	}
	order, ok := compare(&a, &b, s.fold)
	if !ok {
		return Value{}
	}
	return OfBool(holds(x.Op, order))
}

func holds(op Op, order int) bool {
	switch op {
	case Equal:
		return order == 0
	case NotEqual:
		return order != 0
	case Less:
		return order < 0
	case LessEqual:
		return order <= 0
	case Greater:
		return order > 0
	}
	return order >= 0
}

func arithmetic(op Op, a, b *Value) Value {
	if a.kind != Number || b.kind != Number {
		return Value{}
	}
	x, y := a.num, b.num
	switch op {
	case Add:
		return OfNumber(x + y)
	case Subtract:
		return OfNumber(x - y)
	case Multiply:
		return OfNumber(x * y)
	case Divide:
		return OfNumber(x / y)
	}
	return OfNumber(math.Mod(x, y))
}

// eval is that of x = v1 OR x = v2 OR …
func (x *In) eval(s *scope) Value {
	v := x.X.eval(s)
	if v.kind == Undefined {
		return Value{}
	}
	unknown := false
	for i := range x.List {
		order, ok := compare(&v, &x.List[i], s.fold)
		if ok && order == 0 {
			return OfBool(!x.Not)
		}
		unknown = unknown || !ok
	}
	if unknown {
		return Value{}
	}
	return OfBool(x.Not)
}

func (c *Call) eval(s *scope) Value {
	var room [3]Value
	args := room[:0]
	for _, a := range c.Args {
		args = append(args, a.eval(s))
	}
	return c.Func.call(args, s.fold)
}
