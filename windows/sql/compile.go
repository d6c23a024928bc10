package sql

import (
	"slices"
	"strconv"
	"strings"

	"github.com/gemello/gemello/windows"
)

// DevicesSource is the source name that stands for the messages of devices.
const DevicesSource = "devices"

// defaultOutput is the output of a query without INTO.
const defaultOutput = "output"

// recommendedSpan is the longest window that needs no warning; maxSpan is the
// longest that is taken.
const (
	recommendedSpan = 7 * windows.Day
	maxSpan         = 366 * windows.Day
)

// Options say how texts are compiled. The zero value is the dialect's default.
type Options struct {
	// PartitionKey names the column that the source is partitioned by;
	// "" means deviceId. GROUP BY must contain it.
	PartitionKey string
	// SinglePartition says that the source has one partition only, so that
	// any grouping is whole.
	SinglePartition bool
	// UnixOrigin counts window edges from 1970 instead of 0001; it moves those
	// of windows that do not divide a day, such as weeks.
	UnixOrigin bool
	// StartInclusive makes windows [start, end) instead of (start, end].
	StartInclusive bool
	// Overflow says what SUM gives beyond bigint.
	Overflow windows.Overflow
}

// Compile turns a text into the plans of its SELECTs, in their order. Errors
// are of type *Error: they name the place, and constructs of the dialect that
// can't run yet are refused with "not supported yet".
func Compile(text string, o Options) ([]*Query, error) {
	if o.PartitionKey == "" {
		o.PartitionKey = "deviceId"
	}
	s, err := parse(text)
	if err != nil {
		return nil, err
	}
	if len(s.tables) > 0 {
		return nil, unsupported(s.tables[0].pos, "CREATE TABLE")
	}
	var queries []*Query
	for _, st := range s.statements {
		if len(st.with) > 0 {
			return nil, unsupported(st.pos, "WITH")
		}
		for _, sel := range st.queries {
			q, err := compile(sel, o)
			if err != nil {
				return nil, err
			}
			queries = append(queries, q)
		}
	}
	return queries, nil
}

func compile(s *selectStmt, o Options) (*Query, error) {
	if err := refuse(s); err != nil {
		return nil, err
	}
	c := &compiler{
		q:       &Query{Source: s.from.name, Into: defaultOutput, partitionKey: o.PartitionKey, partitionKeyAt: -1},
		o:       &o,
		source:  s.from,
		devices: equalNames(s.from.name, DevicesSource),
		kinds:   map[nodeKind]bool{},
		busy:    map[string]bool{},
	}
	q := c.q
	q.FromDevices = c.devices
	if c.devices {
		q.Source = DevicesSource
	}
	if s.into != nil {
		q.Into = s.into.name
	}
	if s.emit != nil {
		q.EmitFinal = true
	}
	p := &printer{}
	p.query(s)
	q.text = p.b.String()
	var err error
	if s.from.timestamp != nil {
		if q.Timestamp, err = c.compileExpr(s.from.timestamp); err != nil {
			return nil, err
		}
	}
	for _, x := range s.from.over {
		k, err := c.compileExpr(x)
		if err != nil {
			return nil, err
		}
		q.Over = append(q.Over, k)
	}
	if s.where != nil {
		if q.Where, err = c.compileCondition(s.where); err != nil {
			return nil, err
		}
	}
	if err := c.group(s); err != nil {
		return nil, err
	}
	if err := c.selectList(s); err != nil {
		return nil, err
	}
	if s.having != nil {
		if q.Window == nil {
			return nil, errorAt(s.having.position(), "WHERE", "HAVING without GROUP BY")
		}
		c.aliases = map[string]expr{}
		for _, item := range s.items {
			if item.alias != "" {
				c.aliases[strings.ToLower(item.alias)] = item.expr
			}
		}
		if q.Having, err = c.compileCondition(s.having); err != nil {
			return nil, err
		}
	}
	return q, nil
}

// refuse reports the first construct of a query that can't run yet.
func refuse(s *selectStmt) error {
	switch {
	case s.top != nil:
		return unsupported(s.top.pos, "TOP")
	case len(s.joins) > 0:
		return unsupported(s.joins[0].pos, "JOIN")
	case s.from.apply != nil:
		return unsupported(s.from.apply.pos, "APPLY")
	case len(s.from.partition) > 0 && s.from.partCount != nil:
		return unsupported(s.from.partPos, "PARTITION BY … INTO")
	case len(s.from.partition) > 0:
		return unsupported(s.from.partPos, "PARTITION BY")
	case s.emit != nil && s.emit.early:
		return unsupported(s.emit.pos, "EMIT EARLY")
	}
	return nil
}

// isSource reports whether a name before a dot means the source.
func (c *compiler) isSource(name string) bool {
	if c.source.alias != "" {
		return equalNames(name, c.source.alias)
	}
	return equalNames(name, c.source.name)
}

// resolve says which input a column means.
func (c *compiler) resolve(x *columnRef) (field, error) {
	path := x.path
	if len(path) > 1 && c.isSource(path[0]) {
		path = path[1:]
	}
	if len(path) > MaxDepth {
		return field{}, errorAt(x.Pos, "", "column nested more than %d deep", MaxDepth)
	}
	if c.devices && equalNames(path[0], "payload") {
		return field{path: path[1:]}, nil
	}
	b := builtinOf(path[0], c.devices)
	switch {
	case b == noBuiltin:
		return field{path: path}, nil
	case len(path) == 1 && c.devices:
		return field{builtin: b}, nil
	case len(path) == 1:
		return field{path: path, builtin: b}, nil
	case b == builtinHub && len(path) == 2:
		if m := builtinAmong(path[1], builtinHubDevice, builtinHubStream); m != noBuiltin {
			return field{builtin: m}, nil
		}
		return field{}, errorAt(x.Pos, "MessageId, CorrelationId, ConnectionDeviceId, ConnectionDeviceGenerationId, EnqueuedTime or StreamId",
			"IoTHub has no %s", clip(path[1]))
	case c.devices:
		return field{}, errorAt(x.Pos, "payload."+path[0]+" for the member of the payload", "%s is not a record", builtinNames[b])
	}
	return field{path: path}, nil
}

// planName is a column in a plan: unmistakable, whatever alias was used.
func (c *compiler) planName(x *columnRef) string {
	f, err := c.resolve(x)
	if err != nil {
		return printExpr(x)
	}
	switch {
	case c.devices && f.builtin >= builtinHubDevice:
		return "IoTHub." + f.text()
	case c.devices && f.builtin == noBuiltin:
		return "payload." + f.text()
	}
	return f.text()
}

// planText prints an expression with names resolved.
func (c *compiler) planText(x expr) string {
	p := &printer{column: c.planName, function: functionName}
	p.expr(x, levelOr)
	return p.b.String()
}

// folded prints an expression so that two of the same meaning, up to the case
// of names, are equal.
func (c *compiler) folded(x expr) string {
	p := &printer{function: functionName, column: func(x *columnRef) string { return strings.ToLower(c.planName(x)) }}
	p.expr(x, levelOr)
	return p.b.String()
}

func (c *compiler) expression(x expr, v code) *Expr {
	return &Expr{text: printExpr(x), plan: c.planText(x), folded: c.folded(x), code: v}
}

func (c *compiler) compileExpr(x expr) (*Expr, error) {
	v, err := c.expr(x)
	if err != nil {
		return nil, err
	}
	return c.expression(x, v), nil
}

func (c *compiler) compileCondition(x expr) (*Expr, error) {
	cond, err := c.condition(x)
	if err != nil {
		return nil, err
	}
	e := c.expression(x, cond.code())
	e.cond = cond.eval
	return e, nil
}

// group compiles GROUP BY: the window and the keys.
func (c *compiler) group(s *selectStmt) error {
	var window *windowDef
	for _, g := range s.group {
		if g.multi {
			return unsupported(g.pos, "Windows(…)")
		}
		if g.expr != nil {
			if t, ok := g.expr.(*call); ok && t.name == "System.Timestamp" {
				return unsupported(g.pos, "GROUP BY System.Timestamp() (snapshot windows)")
			}
			k, err := c.compileExpr(g.expr)
			if err != nil {
				return err
			}
			if slices.ContainsFunc(c.q.Keys, func(other *Expr) bool { return other.folded == k.folded }) {
				continue
			}
			c.q.Keys = append(c.q.Keys, k)
			c.groups = append(c.groups, k.folded)
			c.kinds[nodeKindOf(g.expr)] = true
			continue
		}
		if window != nil {
			return errorAt(g.pos, "Windows(…)", "a second window")
		}
		window = g.windows[0]
		if window.kind == sliding || window.kind == session {
			return unsupported(g.pos, window.kind.String())
		}
	}
	switch {
	case window != nil:
	case len(s.group) > 0:
		return errorAt(s.group[0].pos, "TumblingWindow(…) or HoppingWindow(…)", "GROUP BY without a window: a window must be specified")
	case s.grace != nil:
		return errorAt(s.grace.pos, "GROUP BY", "GRACE without a window")
	case s.bounds != nil:
		return errorAt(*s.bounds, "GROUP BY", "WINDOW BOUNDS without a window")
	default:
		return nil
	}
	c.windowed = true
	if err := c.window(s, window); err != nil {
		return err
	}
	for i, o := range c.q.Over {
		if !slices.Contains(c.groups, o.folded) {
			return errorAt(s.from.over[i].position(), o.text+" in GROUP BY", "OVER key %s is not a grouping key", o.text)
		}
	}
	key := &columnRef{s.from.pos, []string{c.q.partitionKey}}
	c.q.partitionKeyAt = slices.Index(c.groups, c.folded(key))
	if !c.o.SinglePartition && c.q.partitionKeyAt < 0 {
		return unsupported(s.group[0].pos, "GROUP BY without "+printExpr(key)+", the key that the source is partitioned by")
	}
	return nil
}

func (c *compiler) window(s *selectStmt, w *windowDef) error {
	size, err := spanTicks(w.size, 1)
	if err != nil {
		return err
	}
	hop := size
	if w.kind == hopping {
		if hop, err = spanTicks(w.hop, 1); err != nil {
			return err
		}
	}
	if size > recommendedSpan {
		c.q.Warnings = append(c.q.Warnings, "a window of more than 7 days holds its state that long")
	}
	def := &windows.Window{
		Size: size, Hop: hop,
		Origin:         windows.Origin,
		StartInclusive: c.o.StartInclusive || s.bounds != nil,
	}
	if c.o.UnixOrigin {
		def.Origin = 0
	}
	if w.offset != nil {
		offset, err := spanTicks(*w.offset, -maxSpan)
		if err != nil {
			return err
		}
		if def.Offset = offset % hop; def.Offset < 0 {
			def.Offset += hop
		}
	}
	if err := def.Validate(); err != nil {
		return errorAt(w.pos, "", "%v", err)
	}
	c.q.Window = def
	if s.grace != nil {
		if c.q.Grace, err = spanTicks(*s.grace, 0); err != nil {
			return err
		}
	}
	return nil
}

// spanTicks checks a span against its least value and maxSpan.
func spanTicks(s span, least windows.Tick) (windows.Tick, error) {
	t, ok := s.ticks()
	switch {
	case !ok || t > maxSpan:
		return 0, errorAt(s.pos, "at most "+decimal(int(maxSpan/windows.Day))+" days", "%s is too long", s.text("Duration"))
	case t < least && least > 0:
		return 0, errorAt(s.pos, "a positive number", "%s is no span", s.text("Duration"))
	case t < least:
		return 0, errorAt(s.pos, "at most "+decimal(int(maxSpan/windows.Day))+" days either way", "%s is out of range", s.text("Duration"))
	}
	return t, nil
}

// selectList compiles the items of SELECT and names their columns.
func (c *compiler) selectList(s *selectStmt) error {
	q := c.q
	taken := map[string]bool{}
	for i, item := range s.items {
		if item.star {
			if item.qualifier != "" && !c.isSource(item.qualifier) {
				return errorAt(item.pos, "the alias of the source", "no source is called %s", clip(item.qualifier))
			}
			if c.windowed {
				return errorAt(item.pos, "columns of GROUP BY and aggregates", "* in a query with GROUP BY")
			}
			out := output{star: true, at: q.field(field{})}
			if c.devices {
				for b := builtinDevice; b <= builtinHub; b++ {
					out.hidden = append(out.hidden, q.field(field{builtin: b}))
				}
			}
			q.outputs = append(q.outputs, out)
			continue
		}
		x, err := c.compileExpr(item.expr)
		if err != nil {
			return err
		}
		name := item.alias
		if name == "" {
			name = defaultName(item.expr, i)
		}
		if taken[name] {
			return errorAt(item.pos, "AS another name", "a second column called %s", clip(name))
		}
		taken[name] = true
		q.Columns = append(q.Columns, name)
		q.outputs = append(q.outputs, output{
			name: name, expr: x,
			prefix: string(appendQuoted(nil, name)) + ":",
		})
	}
	return nil
}

// defaultName names a column without an alias: the last name of a column, a
// function in lower case, else its place in the list from 1.
func defaultName(x expr, i int) string {
	switch x := x.(type) {
	case *columnRef:
		return x.path[len(x.path)-1]
	case *call:
		return strings.ToLower(x.name[strings.LastIndexByte(x.name, '.')+1:])
	}
	return "col" + decimal(i+1)
}

func decimal(n int) string { return strconv.Itoa(n) }

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return decimal(n) + " " + word + "s"
}
