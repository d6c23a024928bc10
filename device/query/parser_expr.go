package query

import (
	"slices"
	"strings"
)

// enter bounds nesting, so that no text can exhaust the stack.
func (p *parser) enter() error {
	if p.depth++; p.depth > maxDepth {
		return p.fail("the condition is nested deeper than %d levels", maxDepth)
	}
	return nil
}

func (p *parser) expr() (Expr, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	x, err := p.and()
	for err == nil && p.tok.is("OR") {
		x, err = p.right(Or, x, p.and)
	}
	return x, err
}

// right reads the operator that is next and its right operand.
func (p *parser) right(op Op, x Expr, operand func() (Expr, error)) (Expr, error) {
	if err := p.advance(); err != nil {
		return nil, err
	}
	y, err := operand()
	return &Binary{op, x, y}, err
}

func (p *parser) and() (Expr, error) {
	x, err := p.not()
	for err == nil && p.tok.is("AND") {
		x, err = p.right(And, x, p.not)
	}
	return x, err
}

func (p *parser) not() (Expr, error) {
	if !p.tok.is("NOT") {
		return p.comparison()
	}
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	if err := p.advance(); err != nil {
		return nil, err
	}
	x, err := p.not()
	return &Unary{Not, x}, err
}

var comparisons = map[string]Op{"=": Equal, "!=": NotEqual, "<>": NotEqual, "<": Less, "<=": LessEqual, ">": Greater, ">=": GreaterEqual}

func (p *parser) comparison() (Expr, error) {
	x, err := p.sum()
	if err != nil {
		return nil, err
	}
	if p.tok.kind == tokenSymbol {
		if op, ok := comparisons[p.tok.text]; ok {
			return p.right(op, x, p.sum)
		}
	}
	if p.tok.is("IN") || p.tok.is("NIN") {
		not := p.tok.is("NIN")
		if err := p.advance(); err != nil {
			return nil, err
		}
		list, err := p.list()
		return &In{not, x, list}, err
	}
	return x, nil
}

func (p *parser) list() ([]Value, error) {
	if err := p.expect("["); err != nil {
		return nil, err
	}
	var out []Value
	for {
		if len(out) == maxList {
			return nil, p.fail("more than %d values in a list", maxList)
		}
		at := p.tok.at
		x, err := p.unary()
		if err != nil {
			return nil, err
		}
		c, ok := x.(*Const)
		if !ok {
			return nil, p.failAt(at, "a list holds constants only")
		}
		out = append(out, c.Value)
		if ok, err := p.accept(","); err != nil {
			return nil, err
		} else if !ok {
			return out, p.expect("]")
		}
	}
}

func (p *parser) sum() (Expr, error) {
	x, err := p.product()
	for err == nil {
		switch {
		case p.tok.is("+"):
			x, err = p.right(Add, x, p.product)
		case p.tok.is("-"):
			x, err = p.right(Subtract, x, p.product)
		default:
			return x, nil
		}
	}
	return x, err
}

func (p *parser) product() (Expr, error) {
	x, err := p.unary()
	for err == nil {
		switch {
		case p.tok.is("*"):
			x, err = p.right(Multiply, x, p.unary)
		case p.tok.is("/"):
			x, err = p.right(Divide, x, p.unary)
		case p.tok.is("%"):
			x, err = p.right(Modulo, x, p.unary)
		default:
			return x, nil
		}
	}
	return x, err
}

// unary reads a sign; that of a constant is part of it.
func (p *parser) unary() (Expr, error) {
	if !p.tok.is("-") {
		return p.primary()
	}
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	if err := p.advance(); err != nil {
		return nil, err
	}
	x, err := p.unary()
	if err != nil {
		return nil, err
	}
	if c, ok := x.(*Const); ok && c.Value.kind == Number {
		return &Const{OfNumber(0 - c.Value.num)}, nil
	}
	return &Unary{Negate, x}, nil
}

var reserved = []string{"SELECT", "TOP", "FROM", "WHERE", "GROUP", "BY", "AND", "OR", "NOT", "IN", "NIN", "AS", "ORDER", "JOIN", "LIKE", "HAVING"}

func (p *parser) primary() (Expr, error) {
	t := p.tok
	switch t.kind {
	case tokenString:
		return &Const{OfString(t.text)}, p.advance()
	case tokenNumber:
		return &Const{OfNumber(t.num)}, p.advance()
	case tokenQuoted:
		if err := p.advance(); err != nil {
			return nil, err
		}
		return p.pathFrom(t)
	case tokenSymbol:
		if !t.is("(") {
			break
		}
		if err := p.advance(); err != nil {
			return nil, err
		}
		x, err := p.expr()
		if err != nil {
			return nil, err
		}
		return x, p.expect(")")
	case tokenName:
		for _, c := range [...]struct {
			word  string
			value Value
		}{{"true", OfBool(true)}, {"false", OfBool(false)}, {"null", OfNull()}, {"undefined", Value{}}} {
			if t.is(c.word) {
				return &Const{c.value}, p.advance()
			}
		}
		if slices.ContainsFunc(reserved, t.is) {
			break
		}
		if err := p.advance(); err != nil {
			return nil, err
		}
		if p.tok.is("(") {
			return p.call(t)
		}
		return p.pathFrom(t)
	}
	return nil, p.fail("%s instead of a path, a constant, a function or (", &t)
}

func (p *parser) call(name token) (Expr, error) {
	f := functionNamed(name.text)
	if f == nil {
		return nil, p.failAt(name.at, "there is no function %s", clip(name.text))
	}
	if err := p.advance(); err != nil { // (
		return nil, err
	}
	c := &Call{Func: f}
	for !p.tok.is(")") {
		if len(c.Args) > 0 {
			if err := p.expect(","); err != nil {
				return nil, err
			}
		}
		if len(c.Args) == f.most {
			return nil, p.fail("%s takes at most %d arguments", f.Name, f.most)
		}
		x, err := p.expr()
		if err != nil {
			return nil, err
		}
		c.Args = append(c.Args, x)
	}
	if len(c.Args) < f.least {
		return nil, p.fail("%s takes at least %d arguments", f.Name, f.least)
	}
	return c, p.advance()
}

func (p *parser) path() (*Path, error) {
	t := p.tok
	if t.kind != tokenName && t.kind != tokenQuoted {
		return nil, p.fail("%s instead of a path", &t)
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	return p.pathFrom(t)
}

// maxSteps bounds a path; a twin is not so deep.
const maxSteps = 32

// pathFrom reads the rest of a path whose first name has been taken.
func (p *parser) pathFrom(first token) (*Path, error) {
	out := &Path{Steps: []Step{{Name: first.text}}}
	plain := []bool{first.kind == tokenName}
	for {
		switch {
		case len(out.Steps) > maxSteps:
			return nil, p.fail("a path has more than %d steps", maxSteps)
		case p.tok.is("."):
			if err := p.advance(); err != nil {
				return nil, err
			}
			if p.tok.kind != tokenName && p.tok.kind != tokenQuoted {
				return nil, p.fail("%s instead of a name after the dot", &p.tok)
			}
			out.Steps = append(out.Steps, Step{Name: p.tok.text})
			plain = append(plain, p.tok.kind == tokenName)
			if err := p.advance(); err != nil {
				return nil, err
			}
			continue
		case p.tok.is("["):
			if err := p.advance(); err != nil {
				return nil, err
			}
			if p.tok.kind != tokenNumber || p.tok.num != float64(int32(p.tok.num)) {
				return nil, p.fail("%s instead of an index", &p.tok)
			}
			out.Steps = append(out.Steps, Step{Index: int(p.tok.num), IsIndex: true})
			plain = append(plain, false)
			if err := p.advance(); err != nil {
				return nil, err
			}
			if err := p.expect("]"); err != nil {
				return nil, err
			}
			continue
		case p.tok.kind == tokenQuoted && p.tok.at == p.lexer.prev.at: // tags[[a b]]
			out.Steps = append(out.Steps, Step{Name: p.tok.text})
			plain = append(plain, false)
			if err := p.advance(); err != nil {
				return nil, err
			}
			continue
		}
		break
	}
	if p.route {
		out.resolveRoute()
		return out, nil
	}
	out.Steps = p.withoutCollection(out.Steps, plain)
	if out.Steps[0].IsIndex {
		return nil, p.failAt(first.at, "a path begins with a name")
	}
	out.field = fieldOf(strings.ToLower(out.Steps[0].Name))
	return out, nil
}

// withoutCollection drops the collection's name from the front of a path.
func (p *parser) withoutCollection(steps []Step, plain []bool) []Step {
	names := strings.Split(p.over.String(), ".")
	if len(steps) <= len(names) {
		return steps
	}
	for i, n := range names {
		if !plain[i] || !strings.EqualFold(steps[i].Name, n) {
			return steps
		}
	}
	return steps[len(names):]
}
