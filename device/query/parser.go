package query

import (
	"fmt"
	"strings"
)

// Limits of one query.
const (
	maxDepth = 64   // of parentheses and operators inside each other
	maxItems = 100  // columns
	maxList  = 1000 // constants of one list
	maxTop   = 1 << 30
)

// Parse reads a whole query. The error is an *Error.
func Parse(text string) (*Query, error) {
	p, err := newParser(text, false)
	if err != nil {
		return nil, err
	}
	q, err := p.query()
	if err != nil {
		return nil, err
	}
	return q, nil
}

// ParseCondition reads the condition of a job or configuration: "*" or "" for
// every device, an expression over devices, or FROM devices.modules WHERE … over
// modules. The error is an *Error.
func ParseCondition(text string) (*Query, error) {
	trimmed := strings.TrimSpace(text)
	if trimmed == "" || trimmed == "*" {
		return &Query{From: Devices}, nil
	}
	p, err := newParser(text, false)
	if err != nil {
		return nil, err
	}
	q := &Query{}
	if p.tok.is("FROM") {
		if err := p.from(q); err != nil {
			return nil, err
		}
		if q.From == Jobs {
			return nil, p.fail("a condition is over devices or devices.modules")
		}
		if p.tok.kind != tokenEnd {
			if err := p.expect("WHERE"); err != nil {
				return nil, err
			}
			if q.Where, err = p.expr(); err != nil {
				return nil, err
			}
		}
	} else if q.Where, err = p.expr(); err != nil {
		return nil, err
	}
	if err := p.end(); err != nil {
		return nil, err
	}
	return q, nil
}

// parser reads by recursive descent, one token ahead.
type parser struct {
	lexer lexer
	tok   token
	over  Collection
	depth int
	route bool
}

func newParser(text string, route bool) (*parser, error) {
	if len(text) > MaxText {
		return nil, errorAt(text, 0, "the text has %d bytes, %d are allowed", len(text), MaxText)
	}
	p := &parser{lexer: lexer{in: text}, route: route}
	if err := p.advance(); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *parser) advance() error {
	t, err := p.lexer.next()
	if err != nil {
		return err
	}
	p.tok = t
	return nil
}

func (p *parser) fail(format string, args ...any) error { return p.failAt(p.tok.at, format, args...) }

func (p *parser) failAt(at int, format string, args ...any) error {
	return errorAt(p.lexer.in, at, "%s", fmt.Sprintf(format, args...))
}

// accept takes a symbol or keyword if it is next.
func (p *parser) accept(word string) (bool, error) {
	if !p.tok.is(word) {
		return false, nil
	}
	return true, p.advance()
}

func (p *parser) expect(word string) error {
	if !p.tok.is(word) {
		return p.fail("%s instead of %s", &p.tok, word)
	}
	return p.advance()
}

func (p *parser) end() error {
	switch {
	case p.tok.kind == tokenEnd:
		return nil
	case p.tok.is("ORDER"), p.tok.is("JOIN"), p.tok.is("LIKE"), p.tok.is("HAVING"), p.tok.is("LIMIT"), p.tok.is("OFFSET"):
		return p.fail("%s is not part of this language", strings.ToUpper(p.tok.text))
	}
	return p.fail("%s after what is a whole query", &p.tok)
}

func (p *parser) query() (*Query, error) {
	q := &Query{}
	if err := p.expect("SELECT"); err != nil {
		return nil, err
	}
	if ok, err := p.accept("TOP"); err != nil {
		return nil, err
	} else if ok {
		if p.tok.kind != tokenNumber || p.tok.num < 1 || p.tok.num > maxTop || p.tok.num != float64(int(p.tok.num)) {
			return nil, p.fail("TOP needs a whole number from 1 to %d", maxTop)
		}
		q.Top = int(p.tok.num)
		if err := p.advance(); err != nil {
			return nil, err
		}
	}
	if p.tok.is("DISTINCT") {
		return nil, p.fail("DISTINCT is not part of this language; use GROUP BY")
	}
	// The collection may stand before every path, and is known after FROM only:
	// the columns are read twice.
	itemsAt := *p
	if err := p.items(q); err != nil {
		return nil, err
	}
	if err := p.from(q); err != nil {
		return nil, err
	}
	after := *p
	*p, q.Items = itemsAt, nil
	p.over = q.From
	if err := p.items(q); err != nil {
		return nil, err
	}
	*p = after
	if ok, err := p.accept("WHERE"); err != nil {
		return nil, err
	} else if ok {
		if q.Where, err = p.expr(); err != nil {
			return nil, err
		}
	}
	groupAt := p.tok.at
	if ok, err := p.accept("GROUP"); err != nil {
		return nil, err
	} else if ok {
		if err := p.expect("BY"); err != nil {
			return nil, err
		}
		if q.GroupBy, err = p.path(); err != nil {
			return nil, err
		}
		if p.tok.is(",") {
			return nil, p.fail("GROUP BY takes one path")
		}
	}
	if err := p.end(); err != nil {
		return nil, err
	}
	return q, p.check(q, itemsAt.tok.at, groupAt)
}

func (p *parser) items(q *Query) error {
	if ok, err := p.accept("*"); ok || err != nil {
		return err
	}
	for {
		if len(q.Items) == maxItems {
			return p.fail("more than %d columns", maxItems)
		}
		item, err := p.item()
		if err != nil {
			return err
		}
		switch {
		case item.Alias != "":
			item.Name = item.Alias
		case item.Aggregate != NoAggregate:
			item.Name = fmt.Sprintf("$%d", len(q.Items)+1)
		default:
			item.Name = item.Path.last()
		}
		q.Items = append(q.Items, item)
		if ok, err := p.accept(","); !ok || err != nil {
			return err
		}
	}
}

func (p *parser) item() (item Item, err error) {
	start := p.tok
	if p.tok.kind != tokenName && p.tok.kind != tokenQuoted || p.tok.is("FROM") {
		return item, p.fail("%s instead of a column: a path, COUNT(), AVG, SUM, MIN or MAX", &p.tok)
	}
	if err := p.advance(); err != nil {
		return item, err
	}
	if start.kind == tokenName && p.tok.is("(") {
		for i := int(Count); i < len(aggregateNames); i++ {
			if start.is(aggregateNames[i]) {
				item.Aggregate = Aggregate(i)
			}
		}
		if item.Aggregate == NoAggregate {
			return item, p.failAt(start.at, "%s is no aggregate; there are COUNT(), AVG, SUM, MIN and MAX", clip(start.text))
		}
		if err := p.advance(); err != nil {
			return item, err
		}
		if item.Aggregate == Count {
			if _, err := p.accept("*"); err != nil {
				return item, err
			}
		} else if item.Path, err = p.path(); err != nil {
			return item, err
		}
		if err := p.expect(")"); err != nil {
			return item, err
		}
	} else if item.Path, err = p.pathFrom(start); err != nil {
		return item, err
	}
	if ok, err := p.accept("AS"); !ok || err != nil {
		return item, err
	}
	if p.tok.kind != tokenName && p.tok.kind != tokenQuoted || p.tok.text == "" {
		return item, p.fail("%s instead of a name after AS", &p.tok)
	}
	item.Alias = p.tok.text
	return item, p.advance()
}

// from reads FROM and the collection.
func (p *parser) from(q *Query) error {
	if err := p.expect("FROM"); err != nil {
		return err
	}
	if !p.tok.is("devices") || p.tok.kind != tokenName {
		return p.fail("%s instead of devices, devices.modules or devices.jobs", &p.tok)
	}
	if err := p.advance(); err != nil {
		return err
	}
	if ok, err := p.accept("."); err != nil {
		return err
	} else if ok {
		switch {
		case p.tok.is("modules"):
			q.From = Modules
		case p.tok.is("jobs"):
			q.From = Jobs
		default:
			return p.fail("%s instead of modules or jobs", &p.tok)
		}
		if err := p.advance(); err != nil {
			return err
		}
	}
	p.over = q.From
	return nil
}

// check refuses what can be written and means nothing.
func (p *parser) check(q *Query, items, group int) error {
	switch {
	case q.From == Jobs && (q.Items != nil || q.GroupBy != nil):
		return p.failAt(items, "devices.jobs answers SELECT * only")
	case q.GroupBy != nil && q.From != Devices:
		return p.failAt(group, "GROUP BY works on devices only")
	case q.GroupBy != nil && q.Items == nil:
		return p.failAt(items, "SELECT * can't be grouped; name the columns")
	}
	if !q.Aggregates() {
		return p.distinct(q, items)
	}
	for i := range q.Items {
		it := &q.Items[i]
		if it.Aggregate == NoAggregate && (q.GroupBy == nil || !it.Path.equal(q.GroupBy)) {
			return p.failAt(items, "column %d is neither an aggregate nor the path of GROUP BY", i+1)
		}
	}
	return p.distinct(q, items)
}

func (p *parser) distinct(q *Query, items int) error {
	seen := map[string]bool{}
	for i := range q.Items {
		if name := q.Items[i].Name; seen[name] {
			return p.failAt(items, "two columns are named %s; name one with AS", clip(name))
		}
		seen[q.Items[i].Name] = true
	}
	return nil
}

func (p *Path) last() string {
	for i := len(p.Steps) - 1; ; i-- {
		if !p.Steps[i].IsIndex {
			return p.Steps[i].Name
		}
	}
}

func (p *Path) equal(o *Path) bool {
	if len(p.Steps) != len(o.Steps) {
		return false
	}
	from := 0
	if p.field != FieldNone && p.field == o.field {
		from = 1
	}
	for i := from; i < len(p.Steps); i++ {
		if p.Steps[i] != o.Steps[i] {
			return false
		}
	}
	return true
}
