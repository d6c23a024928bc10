package query

import (
	"strconv"
	"strings"
)

// String returns the query as text that Parse reads as the same query.
func (q *Query) String() string {
	b := []byte("SELECT ")
	if q.Top > 0 {
		b = append(b, "TOP "...)
		b = strconv.AppendInt(b, int64(q.Top), 10)
		b = append(b, ' ')
	}
	if q.Items == nil {
		b = append(b, '*')
	}
	for i := range q.Items {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = q.Items[i].print(b)
	}
	b = append(b, " FROM "...)
	b = append(b, q.From.String()...)
	if q.Where != nil {
		b = append(b, " WHERE "...)
		b = q.Where.print(b, 0)
	}
	if q.GroupBy != nil {
		b = append(b, " GROUP BY "...)
		b = q.GroupBy.print(b, 0)
	}
	return string(b)
}

func (it *Item) print(b []byte) []byte {
	if it.Aggregate == NoAggregate {
		b = it.Path.print(b, 0)
	} else {
		b = append(b, aggregateNames[it.Aggregate]...)
		b = append(b, '(')
		if it.Path != nil {
			b = it.Path.print(b, 0)
		}
		b = append(b, ')')
	}
	if it.Alias != "" {
		b = append(b, " AS "...)
		b = appendName(b, it.Alias, false)
	}
	return b
}

// appendName quotes a name where the language needs it: the first of a path
// must be no keyword, constant or collection either.
func appendName(b []byte, name string, first bool) []byte {
	plain := name != "" && nameLen(name) == len(name)
	if plain && first {
		plain = !digit(name[0])
		for _, w := range append([]string{"true", "false", "null", "undefined", "devices"}, reserved...) {
			plain = plain && !strings.EqualFold(name, w)
		}
	}
	if plain {
		plain = !digit(name[0]) || !first
	}
	if plain {
		return append(b, name...)
	}
	b = append(b, "[["...)
	b = append(b, name...)
	return append(b, "]]"...)
}

func (p *Path) print(b []byte, _ int) []byte {
	for i, s := range p.Steps {
		if s.IsIndex {
			b = append(b, '[')
			b = strconv.AppendInt(b, int64(s.Index), 10)
			b = append(b, ']')
			continue
		}
		if i > 0 {
			b = append(b, '.')
		}
		b = appendName(b, s.Name, i == 0)
	}
	return b
}

// binding is how tightly an operator binds.
func (o Op) binding() int {
	switch o {
	case Or:
		return 1
	case And:
		return 2
	case Not:
		return 3
	case Add, Subtract:
		return 5
	case Multiply, Divide, Modulo:
		return 6
	case Negate:
		return 7
	}
	return 4
}

func parens(b []byte, on bool, print func([]byte) []byte) []byte {
	if !on {
		return print(b)
	}
	b = append(b, '(')
	b = print(b)
	return append(b, ')')
}

func (c *Const) print(b []byte, _ int) []byte { return appendConst(b, &c.Value) }

func appendConst(b []byte, v *Value) []byte {
	switch v.kind {
	case Undefined:
		return append(b, "undefined"...)
	case String:
		return appendQuoted(b, v.str, '\'')
	}
	return v.AppendJSON(b)
}

func (u *Unary) print(b []byte, outer int) []byte {
	own := u.Op.binding()
	return parens(b, own < outer, func(b []byte) []byte {
		b = append(b, opNames[u.Op]...)
		if u.Op == Not {
			b = append(b, ' ')
		} else if _, ok := u.X.(*Const); ok {
			// A sign before a constant would become part of it.
			return parens(b, true, func(b []byte) []byte { return u.X.print(b, 0) })
		}
		return u.X.print(b, own)
	})
}

func (x *Binary) print(b []byte, outer int) []byte {
	own := x.Op.binding()
	left := own
	if own == 4 {
		left = own + 1 // a = b = c is no expression
	}
	return parens(b, own < outer, func(b []byte) []byte {
		b = x.X.print(b, left)
		b = append(b, ' ')
		b = append(b, opNames[x.Op]...)
		b = append(b, ' ')
		return x.Y.print(b, own+1)
	})
}

func (x *In) print(b []byte, outer int) []byte {
	return parens(b, outer > 4, func(b []byte) []byte {
		b = x.X.print(b, 5)
		if x.Not {
			b = append(b, " NIN ["...)
		} else {
			b = append(b, " IN ["...)
		}
		for i := range x.List {
			if i > 0 {
				b = append(b, ", "...)
			}
			b = appendConst(b, &x.List[i])
		}
		return append(b, ']')
	})
}

func (c *Call) print(b []byte, _ int) []byte {
	b = append(b, c.Func.Name...)
	b = append(b, '(')
	for i, a := range c.Args {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = a.print(b, 0)
	}
	return append(b, ')')
}
