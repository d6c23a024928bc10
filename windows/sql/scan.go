package sql

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gemello/gemello/windows"
)

// MaxPayload is the default limit of ScanOptions.MaxPayload.
const MaxPayload = 1 << 20

// ScanOptions are the options of a Scanner.
type ScanOptions struct {
	// MaxPayload is the longest payload that is read, in bytes; 0 means
	// MaxPayload.
	MaxPayload int
}

// field is one input of a query: a member of the payload, a built-in column,
// or both: then the built-in counts where the payload has no such member.
type field struct {
	path    []string // of names; empty and no builtin: the whole payload
	builtin builtin
}

func (f *field) text() string {
	if f.builtin != noBuiltin {
		return builtinNames[f.builtin]
	}
	if len(f.path) == 0 {
		return "*"
	}
	parts := make([]string, len(f.path))
	for i, name := range f.path {
		parts[i] = quoteName(name)
	}
	return strings.Join(parts, ".")
}

// id tells fields apart across queries.
func (f *field) id() string {
	return strconv.Itoa(int(f.builtin)) + "\x00" + strings.Join(f.path, "\x00")
}

// A Scanner reads the payloads of one source for the queries on it: one pass
// that checks the whole text and keeps only the members that some query
// needs. It is not safe for concurrent use. What it gave out is valid until
// the next Scan.
type Scanner struct {
	jsonText
	limit    int
	root     *node
	nodes    []*node
	values   []windows.Value // by slot
	builtins []builtinSlot
	envs     []*Env
	spare    shapeEntry // of members beyond maxShape
}

type builtinSlot struct {
	slot     int32
	builtin  builtin
	fallback bool // the payload's own member goes first
}

// node is a member that is needed, or that members which are needed lie in.
type node struct {
	name     string
	slot     int32 // of its value, -1 if only members of it are needed
	children []*node
	groups   []group
	// match says how the member was found in the record so far.
	match match
	// shape remembers the names of the members as they last came: devices send
	// the same layout again and again, and comparing is faster than reading.
	shape []shapeEntry
}

type match uint8

const (
	unseen match = iota
	folded       // by a name in another case
	exact
)

// group is the children of a node whose names differ in case only; nearly
// always it is one.
type group struct {
	name  string // in the spelling of the first
	ascii bool
	nodes []*node
}

type shapeEntry struct {
	raw   []byte // from the opening quote to the colon
	group int32  // of the node's groups, -1 for a member that nobody needs
	node  *node  // of the group if it is one
	name  string // in the record's spelling, of a group of several
	exact bool
}

const (
	maxShape    = 64
	maxShapeRaw = 64
)

// NewScanner makes the scanner of queries that read the same source.
func NewScanner(o ScanOptions, queries ...*Query) *Scanner {
	s := &Scanner{limit: o.MaxPayload, root: &node{slot: -1}}
	if s.limit == 0 {
		s.limit = MaxPayload
	}
	slots := map[string]int32{}
	s.nodes = append(s.nodes, s.root)
	for _, q := range queries {
		env := &Env{query: q, index: make([]int32, len(q.fields))}
		for i := range q.fields {
			f := &q.fields[i]
			slot, known := slots[f.id()]
			if !known {
				slot = int32(len(slots))
				slots[f.id()] = slot
				s.add(f, slot)
			}
			env.index[i] = slot
		}
		s.envs = append(s.envs, env)
	}
	s.values = make([]windows.Value, len(slots))
	for _, env := range s.envs {
		env.values = s.values
	}
	for _, n := range s.nodes {
		n.group()
	}
	return s
}

func (s *Scanner) add(f *field, slot int32) {
	if f.builtin != noBuiltin {
		s.builtins = append(s.builtins, builtinSlot{slot, f.builtin, len(f.path) > 0})
		if len(f.path) == 0 {
			return
		}
	}
	n := s.root
	for _, name := range f.path {
		var next *node
		for _, c := range n.children {
			if c.name == name {
				next = c
			}
		}
		if next == nil {
			next = &node{name: name, slot: -1}
			n.children = append(n.children, next)
			s.nodes = append(s.nodes, next)
		}
		n = next
	}
	n.slot = slot
}

func (n *node) group() {
next:
	for _, c := range n.children {
		for i := range n.groups {
			if strings.EqualFold(n.groups[i].name, c.name) {
				n.groups[i].nodes = append(n.groups[i].nodes, c)
				continue next
			}
		}
		n.groups = append(n.groups, group{c.name, isASCII(c.name), []*node{c}})
	}
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// find returns the group of a name, or -1.
func (n *node) find(name string) int32 {
	ascii := isASCII(name)
	for i := range n.groups {
		g := &n.groups[i]
		if ascii && g.ascii && len(name) != len(g.name) {
			continue
		}
		if name == g.name || strings.EqualFold(name, g.name) {
			return int32(i)
		}
	}
	return -1
}

// Env returns the environment of the i-th query given to NewScanner, in which
// its expressions see the record scanned last.
func (s *Scanner) Env(i int) *Env { return s.envs[i] }

// Scan reads one record. An error is a *DataError: the payload is no JSON
// object, or too long; the environments are then empty. The values alias the
// payload.
func (s *Scanner) Scan(payload []byte, e *Envelope) error {
	clear(s.values)
	for _, n := range s.nodes {
		n.match = unseen
	}
	s.data = payload
	s.arena = s.arena[:0]
	for _, env := range s.envs {
		env.reset(e)
	}
	if len(payload) > s.limit {
		return &DataError{Reason: "payload of " + strconv.Itoa(len(payload)) + " bytes is longer than the limit of " + strconv.Itoa(s.limit)}
	}
	if s.payload() < 0 {
		clear(s.values)
		fault := s.fault
		return &fault
	}
	for _, b := range s.builtins {
		if !b.fallback || s.values[b.slot].IsNull() {
			s.values[b.slot] = e.column(b.builtin)
		}
	}
	return nil
}

// TakeCounts returns how many integers outside bigint became floats and how
// many numbers outside float became NULL since the last call.
func (s *Scanner) TakeCounts() (bigintToFloat, overflow int) {
	bigintToFloat, overflow = s.bigints, s.overflows
	s.bigints, s.overflows = 0, 0
	return bigintToFloat, overflow
}

func (s *Scanner) payload() int {
	i := s.space(0)
	if i >= len(s.data) {
		return s.fail(i, "payload is empty, expected a JSON object")
	}
	if s.data[i] != '{' {
		return s.fail(i, "payload is not a JSON object")
	}
	if s.root.slot >= 0 {
		var v windows.Value
		if i = s.record(i, 1, &v); i >= 0 {
			s.assign(s.root, v)
		}
	} else {
		i = s.object(i, s.root, 1)
	}
	if i < 0 {
		return i
	}
	if i = s.space(i); i < len(s.data) {
		return s.fail(i, "more text after the JSON object")
	}
	return i
}

// object reads the object at i for the members of n that are needed.
func (s *Scanner) object(i int, n *node, depth int) int {
	if s.tooDeep(i, depth) {
		return -1
	}
	data := s.data
	i = s.space(i + 1)
	if i < len(data) && data[i] == '}' {
		return i + 1
	}
	for m, more := 0, true; more; m++ {
		var e *shapeEntry
		if m < len(n.shape) {
			if e = &n.shape[m]; bytes.HasPrefix(data[i:], e.raw) {
				i += len(e.raw)
			} else if i = s.name(i, n, e); i < 0 {
				return i
			}
		} else {
			if m < maxShape {
				n.shape = append(n.shape, shapeEntry{})
				e = &n.shape[m]
			} else {
				e = &s.spare
			}
			if i = s.name(i, n, e); i < 0 {
				return i
			}
		}
		if i < len(data) && data[i] <= ' ' {
			i = s.space(i)
		}
		if e.group < 0 {
			i = s.skip(i, depth)
		} else {
			i = s.member(i, n, e, depth)
		}
		if i < 0 {
			return i
		}
		if i+1 < len(data) && data[i] == ',' && data[i+1] == '"' {
			i++
		} else if i, more = s.next(i, '}'); i < 0 {
			return i
		}
	}
	return i
}

// name reads a member's name and colon into e.
func (s *Scanner) name(i int, n *node, e *shapeEntry) int {
	begin := i
	e.raw = append(e.raw[:0], 0xff) // matches nothing until the name is known
	if i >= len(s.data) || s.data[i] != '"' {
		return s.unexpected(i, "a name in quotes")
	}
	end, escaped := s.stringEnd(i + 1)
	if end < 0 {
		return end
	}
	name := s.content(i+1, end, escaped)
	if i = s.colon(end + 1); i < 0 {
		return i
	}
	e.group = n.find(name)
	if e.group >= 0 {
		g := &n.groups[e.group]
		e.exact = name == g.name
		if e.node = g.nodes[0]; len(g.nodes) > 1 {
			e.node, e.name = nil, strings.Clone(name)
		}
	}
	if i-begin <= maxShapeRaw {
		e.raw = append(e.raw[:0], s.data[begin:i]...)
	}
	return i
}

// member reads the value at i of a member that is needed.
func (s *Scanner) member(i int, n *node, e *shapeEntry, depth int) int {
	c := e.node
	if c == nil {
		var v windows.Value
		if i = s.value(i, depth, &v); i >= 0 {
			for _, c := range n.groups[e.group].nodes {
				s.offer(c, e.name, v)
			}
		}
		return i
	}
	if c.match != unseen && !s.again(c, e.exact) {
		return s.skip(i, depth)
	}
	if c.match = folded; e.exact {
		c.match = exact
	}
	if i < len(s.data) && s.data[i] == '{' {
		if c.slot < 0 {
			return s.object(i, c, depth+1)
		}
		var v windows.Value
		if i = s.record(i, depth+1, &v); i >= 0 {
			s.assign(c, v)
		}
		return i
	}
	if c.slot < 0 {
		return s.skip(i, depth)
	}
	return s.value(i, depth, &s.values[c.slot])
}

// again decides whether a member that was found already is replaced: of
// repeated members the last one wins, and a name in another case never beats
// the exact one (semantics 6.2).
func (s *Scanner) again(n *node, exactly bool) bool {
	if n.match == exact && !exactly {
		return false
	}
	s.forget(n)
	return true
}

func (s *Scanner) forget(n *node) {
	if n.slot >= 0 {
		s.values[n.slot] = windows.Value{}
	}
	for _, c := range n.children {
		c.match = unseen
		s.forget(c)
	}
}

// offer gives a value that was read whole to a node whose name may fit.
func (s *Scanner) offer(n *node, name string, v windows.Value) {
	exactly := n.name == name
	if n.match != unseen && !s.again(n, exactly) {
		return
	}
	if n.match = folded; exactly {
		n.match = exact
	}
	s.assign(n, v)
}

// assign stores a value that was read whole and what is needed of it.
func (s *Scanner) assign(n *node, v windows.Value) {
	if n.slot >= 0 {
		s.values[n.slot] = v
	}
	if v.Kind() != windows.Record {
		return
	}
	o := v.Record()
	for i := range o.Fields {
		if g := n.find(o.Fields[i].Name); g >= 0 {
			for _, c := range n.groups[g].nodes {
				s.offer(c, o.Fields[i].Name, o.Fields[i].Value)
			}
		}
	}
}
