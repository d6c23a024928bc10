package sql

import (
	"math"
	"strconv"
	"strings"

	"github.com/gemello/gemello/windows"
)

func (p *parser) exprs() ([]expr, error) {
	var list []expr
	for {
		x, err := p.expr()
		if err != nil {
			return nil, err
		}
		list = append(list, x)
		if !p.symbol(",") {
			return list, nil
		}
	}
}

// node counts a node against the limit of a text.
func (p *parser) node(pos Pos) error {
	if p.nodes++; p.nodes > maxNodes {
		return errorAt(pos, "", "more than %d operators and operands", maxNodes)
	}
	return nil
}

func (p *parser) enter() error {
	if p.depth++; p.depth > maxNesting {
		return errorAt(p.peek().pos, "", "nested more than %d deep", maxNesting)
	}
	return nil
}

func (p *parser) expr() (expr, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	return p.or()
}

func (p *parser) or() (expr, error) {
	return p.chain(p.and, func(t *token) string {
		if t.upper() == "OR" {
			return "OR"
		}
		return ""
	})
}

func (p *parser) and() (expr, error) {
	return p.chain(p.not, func(t *token) string {
		if t.upper() == "AND" {
			return "AND"
		}
		return ""
	})
}

// chain reads operand {op operand}, grouping to the left.
func (p *parser) chain(operand func() (expr, error), op func(*token) string) (expr, error) {
	x, err := operand()
	if err != nil {
		return nil, err
	}
	for {
		t := p.peek()
		o := op(t)
		if o == "" {
			return x, nil
		}
		p.at++
		if err := p.node(t.pos); err != nil {
			return nil, err
		}
		y, err := operand()
		if err != nil {
			return nil, err
		}
		x = &binaryExpr{t.pos, o, x, y}
	}
}

func (p *parser) not() (expr, error) {
	t := p.peek()
	if !p.word("NOT") {
		return p.predicate()
	}
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	if err := p.node(t.pos); err != nil {
		return nil, err
	}
	x, err := p.not()
	return &unaryExpr{t.pos, "NOT", x}, err
}

// predicate reads one comparison; a second one needs parentheses.
func (p *parser) predicate() (expr, error) {
	x, err := p.sum()
	if err != nil {
		return nil, err
	}
	t := p.peek()
	if err := p.node(t.pos); err != nil {
		return nil, err
	}
	if t.kind == tokSymbol {
		switch t.text {
		case "=", "<>", "<", "<=", ">", ">=":
			p.at++
			y, err := p.sum()
			return &binaryExpr{t.pos, t.text, x, y}, err
		}
		return x, nil
	}
	if p.word("IS") {
		not := p.word("NOT")
		return &isNull{t.pos, x, not}, p.need("NULL")
	}
	not := false
	if next := p.ahead(1).upper(); p.is("NOT") && (next == "BETWEEN" || next == "IN" || next == "LIKE") {
		p.at++
		not = true
	}
	switch {
	case p.word("BETWEEN"):
		lo, err := p.sum()
		if err != nil {
			return nil, err
		}
		if err := p.need("AND"); err != nil {
			return nil, err
		}
		hi, err := p.sum()
		return &between{t.pos, x, lo, hi, not}, err
	case p.word("IN"):
		if err := p.needSymbol("("); err != nil {
			return nil, err
		}
		if p.is("SELECT") {
			return nil, errorAt(p.peek().pos, "a list of values", "subqueries are not part of the language")
		}
		list, err := p.exprs()
		if err != nil {
			return nil, err
		}
		return &inList{t.pos, x, list, not}, p.needSymbol(")")
	case p.word("LIKE"):
		y, err := p.sum()
		return &like{t.pos, x, y, not}, err
	}
	return x, nil
}

func (p *parser) sum() (expr, error) {
	return p.chain(p.product, func(t *token) string {
		if t.kind == tokSymbol && len(t.text) == 1 && strings.Contains("+-&|^", t.text) {
			return t.text
		}
		return ""
	})
}

func (p *parser) product() (expr, error) {
	return p.chain(p.prefix, func(t *token) string {
		if t.kind == tokSymbol && len(t.text) == 1 && strings.Contains("*/%", t.text) {
			return t.text
		}
		return ""
	})
}

func (p *parser) prefix() (expr, error) {
	t := p.peek()
	if t.kind != tokSymbol || t.text != "-" && t.text != "+" && t.text != "~" {
		return p.primary()
	}
	p.at++
	if t.text == "-" && p.peek().kind == tokNumber {
		return p.numeral(t.pos, "-")
	}
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	if err := p.node(t.pos); err != nil {
		return nil, err
	}
	x, err := p.prefix()
	return &unaryExpr{t.pos, t.text, x}, err
}

// numeral reads a number: bigint if it is written without fraction and
// exponent and fits, else float.
func (p *parser) numeral(pos Pos, sign string) (expr, error) {
	t := p.take()
	if i, err := strconv.ParseInt(sign+t.text, 10, 64); err == nil {
		return &literal{pos, windows.BigintOf(i)}, nil
	}
	f, err := strconv.ParseFloat(sign+t.text, 64)
	if err != nil || math.IsInf(f, 0) {
		return nil, errorAt(pos, "a number within ±1.8e308", "number %s is out of range", clip(t.text))
	}
	return &literal{pos, windows.FloatOf(f)}, nil
}

func (p *parser) primary() (expr, error) {
	t := p.peek()
	if err := p.node(t.pos); err != nil {
		return nil, err
	}
	switch t.kind {
	case tokNumber:
		return p.numeral(t.pos, "")
	case tokString:
		p.at++
		return &literal{t.pos, windows.StringOf(t.text)}, nil
	case tokSymbol:
		if t.text == "(" {
			p.at++
			if p.is("SELECT") {
				return nil, errorAt(p.peek().pos, "an expression", "subqueries are not part of the language")
			}
			x, err := p.expr()
			if err != nil {
				return nil, err
			}
			return x, p.needSymbol(")")
		}
		return nil, p.unexpected("an expression")
	case tokName:
		called := p.ahead(1).kind == tokSymbol && p.ahead(1).text == "("
		switch word := t.upper(); {
		case word == "NULL":
			p.at++
			return &literal{t.pos, windows.Value{}}, nil
		case word == "CASE":
			return p.caseExpr()
		case (word == "CAST" || word == "TRY_CAST") && called:
			return p.cast(word == "TRY_CAST")
		}
	}
	return p.reference()
}

// reference reads a column path, a call, or System.Timestamp.
func (p *parser) reference() (expr, error) {
	t := p.peek()
	if !isName(t) {
		return nil, p.unexpected("an expression")
	}
	p.at++
	path := []string{t.text}
	plain := t.kind == tokName
	for p.isSymbol(".") {
		p.at++
		n := p.peek()
		// After a dot nothing but a name can stand, so keywords need no brackets.
		if n.kind != tokName && n.kind != tokBracket {
			return nil, p.unexpected("a name")
		}
		p.at++
		path = append(path, n.text)
		plain = plain && n.kind == tokName
		if err := p.node(n.pos); err != nil {
			return nil, err
		}
	}
	called := p.isSymbol("(")
	if t.kind == tokName && len(path) == 2 && strings.EqualFold(path[0], "system") {
		name := systemName(path[1])
		if name == "" {
			return nil, errorAt(t.pos, "System.Timestamp(), System.WindowStart(), System.WindowEnd(), or [system] for a column",
				"System has no %s", clip(path[1]))
		}
		c := &call{Pos: t.pos, name: name}
		if called {
			p.at++
			if err := p.needSymbol(")"); err != nil {
				return nil, err
			}
		}
		if name == "System.Window" {
			if !p.symbol(".") || !p.word("ID") {
				return nil, p.unexpected(".Id")
			}
		}
		return c, nil
	}
	if called && plain && len(path) <= 2 {
		return p.call(t.pos, strings.Join(path, "."))
	}
	return &columnRef{t.pos, path}, nil
}

func systemName(name string) string {
	for _, n := range []string{"Timestamp", "WindowStart", "WindowEnd", "Window"} {
		if strings.EqualFold(n, name) {
			return "System." + n
		}
	}
	return ""
}

// call reads the arguments after a function's name.
func (p *parser) call(pos Pos, name string) (expr, error) {
	if err := p.needSymbol("("); err != nil {
		return nil, err
	}
	c := &call{Pos: pos, name: name}
	switch {
	case p.symbol(")"):
	case p.isSymbol("*") && p.ahead(1).text == ")":
		p.at += 2
		c.star = true
	default:
		if next := p.ahead(1); p.is("DISTINCT") && (next.kind != tokSymbol || !strings.Contains("),.", next.text)) {
			p.at++
			c.distinct = true
		}
		var err error
		if c.args, err = p.exprs(); err != nil {
			return nil, err
		}
		if err := p.needSymbol(")"); err != nil {
			return nil, err
		}
	}
	if p.is("OVER") && p.ahead(1).text == "(" {
		o, err := p.overClause()
		c.over = o
		return c, err
	}
	return c, nil
}

func (p *parser) overClause() (*overClause, error) {
	o := &overClause{pos: p.take().pos}
	p.at++
	var err error
	if p.words("PARTITION", "BY") {
		if o.partition, err = p.exprs(); err != nil {
			return nil, err
		}
	}
	if p.words("ORDER", "BY") {
		for {
			x, err := p.expr()
			if err != nil {
				return nil, err
			}
			desc := p.word("DESC")
			if !desc {
				p.word("ASC")
			}
			o.order = append(o.order, order{x, desc})
			if !p.symbol(",") {
				break
			}
		}
	}
	if p.word("LIMIT") {
		if !p.is("DURATION") {
			return nil, p.unexpected("DURATION")
		}
		d, err := p.duration()
		if err != nil {
			return nil, err
		}
		o.limit = &d
	}
	if p.word("WHEN") {
		if o.when, err = p.expr(); err != nil {
			return nil, err
		}
	}
	return o, p.needSymbol(")")
}

func (p *parser) caseExpr() (expr, error) {
	c := &caseExpr{Pos: p.take().pos}
	var err error
	if !p.is("WHEN") {
		if c.operand, err = p.expr(); err != nil {
			return nil, err
		}
	}
	for p.word("WHEN") {
		var w when
		if w.cond, err = p.expr(); err != nil {
			return nil, err
		}
		if err := p.need("THEN"); err != nil {
			return nil, err
		}
		if w.then, err = p.expr(); err != nil {
			return nil, err
		}
		c.whens = append(c.whens, w)
	}
	if len(c.whens) == 0 {
		return nil, p.unexpected("WHEN")
	}
	if p.word("ELSE") {
		if c.other, err = p.expr(); err != nil {
			return nil, err
		}
	}
	return c, p.need("END")
}

func (p *parser) cast(try bool) (expr, error) {
	c := &castExpr{Pos: p.take().pos, try: try}
	p.at++
	var err error
	if c.x, err = p.expr(); err != nil {
		return nil, err
	}
	if err := p.need("AS"); err != nil {
		return nil, err
	}
	if c.typ, err = p.typeName(); err != nil {
		return nil, err
	}
	return c, p.needSymbol(")")
}
