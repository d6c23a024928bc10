package sql

import (
	"slices"
	"strings"

	"github.com/gemello/gemello/windows"
)

// code is a compiled expression. It holds no state, so that any number of
// environments may run it at once.
type code struct {
	eval func(*Env) windows.Value
	on   dependence
	// column is 1 + the field that the expression is, 0 for all others.
	column int
}

// dependence says what a value can change with.
type dependence uint8

const (
	onRow dependence = iota
	onWindow
	onNothing
)

func (c *code) constant() bool { return c.on == onNothing }

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
	return code{eval: func(*Env) windows.Value { return v }, on: onNothing}
}

func varying(f func(*Env) windows.Value) code { return code{eval: f} }

// value returns the value of constant code.
func (c *code) value() windows.Value { return c.eval(nil) }

// maxFolded is the longest string that a plan keeps of a constant expression.
const maxFolded = 4096

// fold combines operands: what depends on constants only is evaluated once
// and for all, unless it fails or overflows: that every row reports.
func fold(f func(*Env) windows.Value, operands ...code) code {
	on := onNothing
	for i := range operands {
		on = min(on, operands[i].on)
	}
	if on == onNothing {
		e := &Env{}
		v := f(e)
		if len(e.Errors) == 0 && e.Counts == (Counts{}) && len(v.Str()) <= maxFolded {
			return constant(v)
		}
		on = onRow
	}
	return code{eval: f, on: on}
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

// grouped returns the group key that an expression is, where only those are
// known.
func (c *compiler) grouped(x expr) (int, bool) {
	if !c.windowed || !c.kinds[nodeKindOf(x)] {
		return 0, false
	}
	i := slices.Index(c.groups, c.folded(x))
	return i, i >= 0
}

func (c *compiler) expr(x expr) (code, error) {
	if i, ok := c.grouped(x); ok {
		return varying(func(e *Env) windows.Value { return e.keys[i] }), nil
	}
	if isCondition(x) {
		cond, err := c.condition(x)
		return cond.code(), err
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
	return code{
		eval:   func(e *Env) windows.Value { return e.values[e.index[i]] },
		column: i + 1,
	}, nil
}

func (c *compiler) unary(x *unaryExpr) (code, error) {
	v, err := c.expr(x.x)
	if err != nil {
		return code{}, err
	}
	f := v.eval
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
	op := x.op[0]
	return fold(func(e *Env) windows.Value {
		v, w := f(e), g(e)
		return e.arithmetic(op, &v, &w, x)
	}, a, b), nil
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
