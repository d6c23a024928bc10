package sql

import (
	"strconv"
	"strings"
	"unicode"

	"github.com/gemello/gemello/windows"
)

// printer writes nodes as text that parses back to the same nodes, in one
// spelling: keywords in capitals, parentheses only where they are needed.
type printer struct {
	b strings.Builder
	// column, if set, writes a column in its place.
	column func(c *columnRef) string
	// function, if set, gives the spelling of a function's name.
	function func(name string) string
}

func printScript(s *script) string {
	p := &printer{}
	for _, t := range s.tables {
		p.put("CREATE TABLE ", quoteName(t.name), " (")
		for i, c := range t.columns {
			p.comma(i)
			p.put(quoteName(c.name), " ", typeText(c.typ))
		}
		p.put(");\n")
	}
	for _, st := range s.statements {
		for i, c := range st.with {
			if i == 0 {
				p.put("WITH ")
			} else {
				p.put(",\n")
			}
			p.put(quoteName(c.name), " AS (")
			for j, q := range c.queries {
				if j > 0 {
					p.put("\nUNION ")
				}
				p.query(q)
			}
			p.put(")")
			if i == len(st.with)-1 {
				p.put("\n")
			}
		}
		for i, q := range st.queries {
			if i > 0 {
				p.put("\n")
			}
			p.query(q)
		}
		p.put(";\n")
	}
	return p.b.String()
}

// printExpr writes an expression as the user would.
func printExpr(x expr) string {
	p := &printer{}
	p.expr(x, levelOr)
	return p.b.String()
}

func (p *printer) put(parts ...string) {
	for _, s := range parts {
		p.b.WriteString(s)
	}
}

func (p *printer) comma(i int) {
	if i > 0 {
		p.put(", ")
	}
}

func typeText(k windows.Kind) string { return k.String() }

// special words mean something in some places although they are no keywords;
// as names they are written in brackets.
var special = map[string]bool{
	"SYSTEM": true, "DISTINCT": true, "TOP": true, "TIMESTAMP": true, "PARTITION": true, "EMIT": true,
	"GRACE": true, "WINDOW": true, "MATCH_RECOGNIZE": true, "FULL": true, "ORDER": true, "N": true,
	"CAST": true, "TRY_CAST": true, "LIMIT": true, "LEFT": true, "RIGHT": true,
}

// quoteName writes a name, in brackets unless it is plain.
func quoteName(s string) string {
	plain := s != ""
	for i, r := range s {
		if !isNameStart(r) && (i == 0 || !unicode.IsDigit(r)) {
			plain = false
		}
	}
	if up := strings.ToUpper(s); plain && !keywords[up] && !special[up] {
		return s
	}
	return "[" + strings.ReplaceAll(s, "]", "]]") + "]"
}

func quoteString(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

func (p *printer) query(q *selectStmt) {
	p.put("SELECT ")
	if q.top != nil {
		p.put("TOP ", strconv.FormatInt(q.top.n, 10), " ")
	}
	for i, item := range q.items {
		p.comma(i)
		switch {
		case item.star && item.qualifier == "":
			p.put("*")
		case item.star:
			p.put(quoteName(item.qualifier), ".*")
		default:
			// A bare comparison would read as alias = expression.
			p.expr(item.expr, levelSum)
			if item.alias != "" {
				p.put(" AS ", quoteName(item.alias))
			}
		}
	}
	if q.into != nil {
		p.put(" INTO ", quoteName(q.into.name))
	}
	p.put(" FROM ")
	p.source(q.from)
	for _, j := range q.joins {
		if j.left {
			p.put(" LEFT")
		}
		p.put(" JOIN ")
		p.source(j.item)
		p.put(" ON ")
		p.expr(j.on, levelOr)
	}
	if q.where != nil {
		p.put(" WHERE ")
		p.expr(q.where, levelOr)
	}
	for i, g := range q.group {
		if i == 0 {
			p.put(" GROUP BY ")
		}
		p.comma(i)
		p.group(g)
	}
	if q.having != nil {
		p.put(" HAVING ")
		p.expr(q.having, levelOr)
	}
	if q.bounds != nil {
		p.put(" WINDOW BOUNDS START")
	}
	if e := q.emit; e != nil {
		if e.early {
			p.put(" EMIT EARLY EVERY ", e.every.text("Duration"))
			if e.wall {
				p.put(" WALL")
			}
		} else {
			p.put(" EMIT FINAL")
		}
	}
	if q.grace != nil {
		p.put(" GRACE ", q.grace.text("Duration"))
	}
}

func (p *printer) source(s *sourceItem) {
	p.put(quoteName(s.name))
	if s.alias != "" {
		p.put(" AS ", quoteName(s.alias))
	}
	if s.timestamp != nil {
		p.put(" TIMESTAMP BY ")
		p.expr(s.timestamp, levelOr)
	}
	if len(s.over) > 0 {
		p.put(" OVER ")
		p.list(s.over)
	}
	if len(s.partition) > 0 {
		p.put(" PARTITION BY ")
		p.list(s.partition)
		if s.partCount != nil {
			p.put(" INTO ", strconv.FormatInt(s.partCount.n, 10))
		}
	}
	if a := s.apply; a != nil {
		if a.outer {
			p.put(" OUTER APPLY ")
		} else {
			p.put(" CROSS APPLY ")
		}
		p.put(a.function, "(")
		p.expr(a.arg, levelOr)
		p.put(") AS ", quoteName(a.alias))
	}
}

func (p *printer) list(xs []expr) {
	for i, x := range xs {
		p.comma(i)
		p.expr(x, levelOr)
	}
}

func (s span) text(name string) string {
	return name + "(" + s.unit.String() + ", " + strconv.FormatInt(s.n, 10) + ")"
}

func (p *printer) group(g groupItem) {
	if g.expr != nil {
		p.expr(g.expr, levelOr)
		return
	}
	if !g.multi {
		p.window(g.windows[0])
		return
	}
	p.put("Windows(")
	for i, w := range g.windows {
		p.comma(i)
		if w.named {
			p.put("Window(", quoteString(w.id), ", ")
		}
		p.window(w)
		if w.named {
			p.put(")")
		}
	}
	p.put(")")
}

func (p *printer) window(w *windowDef) {
	p.put(w.kind.String(), "(")
	if w.kind == session {
		p.put(w.size.text("Timeout"), ", ", w.hop.text("MaxDuration"))
	} else {
		p.put(w.size.text("Duration"))
	}
	if w.kind == hopping {
		p.put(", ", w.hop.text("Hop"))
	}
	if w.offset != nil {
		p.put(", ", w.offset.text("Offset"))
	}
	p.put(")")
	if w.by != nil {
		p.put(" OVER (PARTITION BY ")
		p.expr(w.by, levelOr)
		p.put(")")
	}
}

// Levels of precedence, loosest first.
const (
	levelOr = iota
	levelAnd
	levelNot
	levelPredicate
	levelSum
	levelProduct
	levelPrefix
	levelPrimary
)

func level(x expr) int {
	switch x := x.(type) {
	case *unaryExpr:
		if x.op == "NOT" {
			return levelNot
		}
		return levelPrefix
	case *binaryExpr:
		switch x.op {
		case "OR":
			return levelOr
		case "AND":
			return levelAnd
		case "+", "-", "&", "|", "^":
			return levelSum
		case "*", "/", "%":
			return levelProduct
		}
		return levelPredicate
	case *isNull, *between, *inList, *like:
		return levelPredicate
	case *literal:
		if negative(x) {
			return levelPrefix
		}
	}
	return levelPrimary
}

func isNumber(v *windows.Value) bool { return v.Kind() == windows.Bigint || v.Kind() == windows.Float }

func negative(x *literal) bool {
	return isNumber(&x.value) && strings.HasPrefix(numberText(&x.value), "-")
}

func numberText(v *windows.Value) string {
	if v.Kind() == windows.Bigint {
		return strconv.FormatInt(v.Bigint(), 10)
	}
	s := strconv.FormatFloat(v.Float(), 'g', -1, 64)
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return s
}

// expr writes x, in parentheses if it binds more loosely than least.
func (p *printer) expr(x expr, least int) {
	own := level(x)
	if own < least {
		p.put("(")
		p.expr(x, levelOr)
		p.put(")")
		return
	}
	switch x := x.(type) {
	case *columnRef:
		if p.column != nil {
			p.put(p.column(x))
			return
		}
		for i, name := range x.path {
			if i > 0 {
				p.put(".")
			}
			p.put(quoteName(name))
		}
	case *literal:
		p.literal(x)
	case *unaryExpr:
		p.unary(x)
	case *binaryExpr:
		left := own
		if own == levelPredicate {
			left = levelSum
		}
		p.expr(x.x, left)
		p.put(" ", x.op, " ")
		p.expr(x.y, own+1)
	case *isNull:
		p.expr(x.x, levelSum)
		p.put(" IS")
		p.not(x.not)
		p.put(" NULL")
	case *between:
		p.expr(x.x, levelSum)
		p.not(x.not)
		p.put(" BETWEEN ")
		p.expr(x.lo, levelSum)
		p.put(" AND ")
		p.expr(x.hi, levelSum)
	case *inList:
		p.expr(x.x, levelSum)
		p.not(x.not)
		p.put(" IN (")
		p.list(x.list)
		p.put(")")
	case *like:
		p.expr(x.x, levelSum)
		p.not(x.not)
		p.put(" LIKE ")
		p.expr(x.pattern, levelSum)
	case *caseExpr:
		p.caseExpr(x)
	case *castExpr:
		if x.try {
			p.put("TRY_")
		}
		p.put("CAST(")
		p.expr(x.x, levelOr)
		p.put(" AS ", typeText(x.typ), ")")
	case *call:
		p.call(x)
	}
}

func (p *printer) not(not bool) {
	if not {
		p.put(" NOT")
	}
}

func (p *printer) literal(x *literal) {
	switch v := &x.value; v.Kind() {
	case windows.Bigint, windows.Float:
		p.put(numberText(v))
	case windows.String:
		p.put(quoteString(v.Str()))
	default:
		p.put("NULL")
	}
}

func (p *printer) unary(x *unaryExpr) {
	if x.op == "NOT" {
		p.put("NOT ")
		p.expr(x.x, levelNot)
		return
	}
	p.put(x.op)
	// Two minus signs open a comment, and a sign before a number is part of it.
	least := levelPrefix
	if l, ok := x.x.(*literal); ok && isNumber(&l.value) {
		least = levelPrimary + 1
	}
	if u, ok := x.x.(*unaryExpr); ok && u.op == x.op {
		least = levelPrimary
	}
	p.expr(x.x, least)
}

func (p *printer) caseExpr(x *caseExpr) {
	p.put("CASE")
	if x.operand != nil {
		p.put(" ")
		p.expr(x.operand, levelOr)
	}
	for _, w := range x.whens {
		p.put(" WHEN ")
		p.expr(w.cond, levelOr)
		p.put(" THEN ")
		p.expr(w.then, levelOr)
	}
	if x.other != nil {
		p.put(" ELSE ")
		p.expr(x.other, levelOr)
	}
	p.put(" END")
}

func (p *printer) call(x *call) {
	name := x.name
	if p.function != nil {
		name = p.function(name)
	}
	if name == "System.Window" {
		p.put("System.Window().Id")
		return
	}
	p.put(name, "(")
	if x.star {
		p.put("*")
	}
	if x.distinct {
		p.put("DISTINCT ")
	}
	p.list(x.args)
	p.put(")")
	o := x.over
	if o == nil {
		return
	}
	p.put(" OVER (")
	gap := ""
	section := func(word string) {
		p.put(gap, word, " ")
		gap = " "
	}
	if len(o.partition) > 0 {
		section("PARTITION BY")
		p.list(o.partition)
	}
	for i, x := range o.order {
		if i == 0 {
			section("ORDER BY")
		}
		p.comma(i)
		p.expr(x.x, levelOr)
		if x.desc {
			p.put(" DESC")
		}
	}
	if o.limit != nil {
		section("LIMIT")
		p.put(o.limit.text("Duration"))
	}
	if o.when != nil {
		section("WHEN")
		p.expr(o.when, levelOr)
	}
	p.put(")")
}
