package sql

import (
	"strconv"
	"strings"

	"github.com/gemello/gemello/windows"
)

// Limits of a text, so that no text overflows a stack or holds a core up.
const (
	// MaxText is the longest text that is read, in bytes.
	MaxText = 64 << 10
	// maxNesting bounds parentheses, CASE, calls and prefix operators inside
	// one another.
	maxNesting = 128
	// maxNodes bounds the expression nodes of a text, and with them the depth
	// of chains such as a + b + c + ….
	maxNodes = 4096
)

type parser struct {
	tokens []token
	at     int
	depth  int
	nodes  int
}

// parse reads a text of the whole dialect (semantics 13); what of it can run
// is decided by compile.
func parse(text string) (*script, error) {
	tokens, err := tokenize(text)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens}
	s := &script{}
	for {
		for p.symbol(";") {
		}
		switch {
		case p.peek().kind == tokEnd:
			if len(s.statements) == 0 {
				return nil, errorAt(p.peek().pos, "SELECT", "nothing to run")
			}
			return s, nil
		case p.is("CREATE"):
			t, err := p.createTable()
			if err != nil {
				return nil, err
			}
			s.tables = append(s.tables, t)
		case p.is("WITH"), p.is("SELECT"):
			st, err := p.statement()
			if err != nil {
				return nil, err
			}
			s.statements = append(s.statements, st)
		default:
			return nil, p.unexpected("SELECT, WITH or CREATE TABLE")
		}
	}
}

func (p *parser) peek() *token { return &p.tokens[p.at] }

func (p *parser) ahead(n int) *token {
	return &p.tokens[min(p.at+n, len(p.tokens)-1)]
}

func (p *parser) take() token {
	t := p.tokens[p.at]
	if t.kind != tokEnd {
		p.at++
	}
	return t
}

// is reports whether the next token is the word.
func (p *parser) is(word string) bool { return p.peek().upper() == word }

// word takes the next token if it is the word.
func (p *parser) word(word string) bool {
	if p.is(word) {
		p.at++
		return true
	}
	return false
}

// words takes the next two tokens if they are the two words.
func (p *parser) words(first, second string) bool {
	if p.is(first) && p.ahead(1).upper() == second {
		p.at += 2
		return true
	}
	return false
}

func (p *parser) isSymbol(s string) bool {
	t := p.peek()
	return t.kind == tokSymbol && t.text == s
}

func (p *parser) symbol(s string) bool {
	if p.isSymbol(s) {
		p.at++
		return true
	}
	return false
}

func (p *parser) unexpected(expected string) error {
	t := p.peek()
	return errorAt(t.pos, expected, "unexpected %s", t.describe())
}

func (p *parser) need(word string) error {
	if !p.word(word) {
		return p.unexpected(word)
	}
	return nil
}

func (p *parser) needSymbol(s string) error {
	if !p.symbol(s) {
		return p.unexpected("'" + s + "'")
	}
	return nil
}

// isName reports whether the token can be a name.
func isName(t *token) bool {
	return t.kind == tokBracket || t.kind == tokName && !keywords[t.upper()]
}

func (p *parser) name(what string) (nameRef, error) {
	t := p.peek()
	if !isName(t) {
		return nameRef{}, p.unexpected(what)
	}
	p.at++
	return nameRef{t.pos, t.text}, nil
}

func (p *parser) integer(what string, signed bool) (intLit, error) {
	t := p.peek()
	at := p.at
	text := ""
	if signed && p.symbol("-") {
		text = "-"
	}
	if p.peek().kind != tokNumber {
		p.at = at
		return intLit{}, p.unexpected(what)
	}
	n, err := strconv.ParseInt(text+p.peek().text, 10, 64)
	if err != nil {
		return intLit{}, p.unexpected(what)
	}
	p.at++
	return intLit{t.pos, n}, nil
}

func (p *parser) createTable() (*createTable, error) {
	t := &createTable{pos: p.take().pos}
	if err := p.need("TABLE"); err != nil {
		return nil, err
	}
	n, err := p.name("a table name")
	if err != nil {
		return nil, err
	}
	t.name = n.name
	if err := p.needSymbol("("); err != nil {
		return nil, err
	}
	for {
		n, err := p.name("a column name")
		if err != nil {
			return nil, err
		}
		k, err := p.typeName()
		if err != nil {
			return nil, err
		}
		t.columns = append(t.columns, columnDef{n.name, k})
		if !p.symbol(",") {
			break
		}
	}
	return t, p.needSymbol(")")
}

func (p *parser) typeName() (windows.Kind, error) {
	t := p.peek()
	kind := windows.Null
	switch t.upper() {
	case "BIGINT":
		kind = windows.Bigint
	case "FLOAT":
		kind = windows.Float
	case "DATETIME":
		kind = windows.Datetime
	case "BIT":
		kind = windows.Bit
	case "RECORD":
		kind = windows.Record
	case "ARRAY":
		kind = windows.Array
	case "NVARCHAR":
		p.at++
		if err := p.needSymbol("("); err != nil {
			return kind, err
		}
		if err := p.need("MAX"); err != nil {
			return kind, err
		}
		return windows.String, p.needSymbol(")")
	default:
		return kind, p.unexpected("bigint, float, nvarchar(max), datetime, bit, record or array")
	}
	p.at++
	return kind, nil
}

func (p *parser) statement() (*statement, error) {
	st := &statement{pos: p.peek().pos}
	if p.word("WITH") {
		for {
			n, err := p.name("a step name")
			if err != nil {
				return nil, err
			}
			c := cte{pos: n.pos, name: n.name}
			if err := p.need("AS"); err != nil {
				return nil, err
			}
			if err := p.needSymbol("("); err != nil {
				return nil, err
			}
			for {
				q, err := p.query()
				if err != nil {
					return nil, err
				}
				c.queries = append(c.queries, q)
				if !p.word("UNION") {
					break
				}
			}
			if err := p.needSymbol(")"); err != nil {
				return nil, err
			}
			st.with = append(st.with, c)
			if !p.symbol(",") {
				break
			}
		}
	}
	for {
		q, err := p.query()
		if err != nil {
			return nil, err
		}
		st.queries = append(st.queries, q)
		if !p.is("SELECT") {
			return st, nil
		}
	}
}

func (p *parser) query() (*selectStmt, error) {
	q := &selectStmt{pos: p.peek().pos}
	if err := p.need("SELECT"); err != nil {
		return nil, err
	}
	if p.is("TOP") && p.ahead(1).kind == tokNumber {
		p.at++
		n, err := p.integer("a whole number", false)
		if err != nil {
			return nil, err
		}
		q.top = &n
	}
	if p.is("DISTINCT") && (isName(p.ahead(1)) || p.ahead(1).text == "*") {
		return nil, errorAt(p.peek().pos, "GROUP BY", "SELECT DISTINCT is not part of the language")
	}
	for {
		item, err := p.selectItem()
		if err != nil {
			return nil, err
		}
		q.items = append(q.items, item)
		if !p.symbol(",") {
			break
		}
	}
	if p.word("INTO") {
		n, err := p.name("an output name")
		if err != nil {
			return nil, err
		}
		q.into = &n
	}
	if err := p.need("FROM"); err != nil {
		return nil, err
	}
	if err := p.source(q); err != nil {
		return nil, err
	}
	var err error
	if p.word("WHERE") {
		if q.where, err = p.expr(); err != nil {
			return nil, err
		}
	}
	if p.word("GROUP") {
		if err := p.need("BY"); err != nil {
			return nil, err
		}
		for {
			g, err := p.groupItem()
			if err != nil {
				return nil, err
			}
			q.group = append(q.group, g)
			if !p.symbol(",") {
				break
			}
		}
	}
	if p.word("HAVING") {
		if q.having, err = p.expr(); err != nil {
			return nil, err
		}
	}
	if err := p.emission(q); err != nil {
		return nil, err
	}
	if p.is("ORDER") {
		return nil, errorAt(p.peek().pos, "", "ORDER BY is not part of the language: rows of a stream come in the order of time")
	}
	return q, nil
}

// emission reads WINDOW BOUNDS START, EMIT and GRACE, each at most once.
func (p *parser) emission(q *selectStmt) error {
	for {
		t := p.peek()
		switch {
		case p.is("WINDOW") && q.bounds == nil:
			p.at++
			if err := p.need("BOUNDS"); err != nil {
				return err
			}
			if err := p.need("START"); err != nil {
				return err
			}
			q.bounds = &t.pos
		case p.is("EMIT") && q.emit == nil:
			p.at++
			q.emit = &emitClause{pos: t.pos}
			if p.word("FINAL") {
				continue
			}
			if !p.word("EARLY") {
				return p.unexpected("FINAL or EARLY EVERY")
			}
			if err := p.need("EVERY"); err != nil {
				return err
			}
			d, err := p.duration()
			if err != nil {
				return err
			}
			q.emit.early, q.emit.every = true, d
			q.emit.wall = p.word("WALL")
		case p.is("GRACE") && q.grace == nil:
			p.at++
			d, err := p.duration()
			if err != nil {
				return err
			}
			q.grace = &d
		default:
			return nil
		}
	}
}

func (p *parser) selectItem() (selectItem, error) {
	t := p.peek()
	item := selectItem{pos: t.pos}
	if p.symbol("*") {
		item.star = true
		return item, nil
	}
	if isName(t) && p.ahead(1).text == "." && p.ahead(2).kind == tokSymbol && p.ahead(2).text == "*" {
		p.at += 3
		item.star, item.qualifier = true, t.text
		return item, nil
	}
	if isName(t) && p.ahead(1).kind == tokSymbol && p.ahead(1).text == "=" {
		p.at += 2
		x, err := p.expr()
		item.alias, item.expr = t.text, x
		return item, err
	}
	x, err := p.expr()
	if err != nil {
		return item, err
	}
	item.expr = x
	if p.word("AS") {
		if p.peek().kind == tokString {
			item.alias = p.take().text
			if item.alias == "" {
				return item, errorAt(t.pos, "a name", "empty alias")
			}
			return item, nil
		}
		n, err := p.name("a name")
		item.alias = n.name
		return item, err
	}
	if isName(p.peek()) {
		item.alias = p.take().text
	}
	return item, nil
}

func (p *parser) source(q *selectStmt) error {
	var err error
	if q.from, err = p.sourceItem(); err != nil {
		return err
	}
	for {
		j := &join{pos: p.peek().pos}
		switch {
		case p.is("RIGHT"), p.is("FULL"):
			return errorAt(p.peek().pos, "INNER JOIN or LEFT JOIN", "%s JOIN is not part of the language", p.peek().upper())
		case p.word("JOIN"):
		case p.word("INNER"):
			if err := p.need("JOIN"); err != nil {
				return err
			}
		case p.is("LEFT"):
			p.at++
			p.word("OUTER")
			if err := p.need("JOIN"); err != nil {
				return err
			}
			j.left = true
		default:
			return nil
		}
		if j.item, err = p.sourceItem(); err != nil {
			return err
		}
		if err := p.need("ON"); err != nil {
			return err
		}
		if j.on, err = p.expr(); err != nil {
			return err
		}
		q.joins = append(q.joins, j)
	}
}

// startsClause reports whether a name after a source opens the next clause
// rather than being an alias.
func (p *parser) startsClause() bool {
	after := p.ahead(1).upper()
	switch p.peek().upper() {
	case "TIMESTAMP", "PARTITION", "ORDER":
		return after == "BY"
	case "EMIT", "GRACE", "MATCH_RECOGNIZE":
		return true
	case "WINDOW":
		return after == "BOUNDS"
	case "LEFT", "RIGHT", "FULL":
		return after == "JOIN" || after == "OUTER"
	case "INNER":
		return after == "JOIN"
	case "CROSS", "OUTER":
		return after == "APPLY"
	}
	return false
}

func (p *parser) sourceItem() (*sourceItem, error) {
	n, err := p.name("a source name")
	if err != nil {
		return nil, err
	}
	item := &sourceItem{pos: n.pos, name: n.name}
	if p.isSymbol(".") || p.isSymbol("-") {
		return nil, p.unexpected("[" + n.name + p.peek().text + "…] in brackets")
	}
	if p.word("AS") {
		a, err := p.name("an alias")
		if err != nil {
			return nil, err
		}
		item.alias = a.name
	} else if isName(p.peek()) && !p.startsClause() {
		item.alias = p.take().text
	}
	for {
		t := p.peek()
		switch {
		case item.timestamp == nil && p.words("TIMESTAMP", "BY"):
			if item.timestamp, err = p.expr(); err != nil {
				return nil, err
			}
			item.overPos = p.peek().pos
			if p.word("OVER") {
				if item.over, err = p.exprs(); err != nil {
					return nil, err
				}
			}
		case item.partition == nil && p.words("PARTITION", "BY"):
			item.partPos = t.pos
			if item.partition, err = p.exprs(); err != nil {
				return nil, err
			}
			if p.word("INTO") {
				c, err := p.integer("a number of partitions", false)
				if err != nil {
					return nil, err
				}
				item.partCount = &c
			}
		case p.is("CROSS"), p.is("OUTER"):
			p.at++
			item.apply = &applyClause{pos: t.pos, outer: t.upper() == "OUTER"}
			return item, p.apply(item.apply)
		case p.is("MATCH_RECOGNIZE"):
			return nil, unsupported(t.pos, "MATCH_RECOGNIZE")
		default:
			return item, nil
		}
	}
}

func (p *parser) apply(a *applyClause) error {
	if err := p.need("APPLY"); err != nil {
		return err
	}
	for _, f := range []string{"GetArrayElements", "GetRecordProperties"} {
		if p.word(strings.ToUpper(f)) {
			a.function = f
		}
	}
	if a.function == "" {
		return p.unexpected("GetArrayElements or GetRecordProperties")
	}
	if err := p.needSymbol("("); err != nil {
		return err
	}
	var err error
	if a.arg, err = p.expr(); err != nil {
		return err
	}
	if err := p.needSymbol(")"); err != nil {
		return err
	}
	if err := p.need("AS"); err != nil {
		return err
	}
	n, err := p.name("an alias")
	a.alias = n.name
	return err
}
