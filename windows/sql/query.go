package sql

import (
	"github.com/gemello/gemello/windows"
)

// Expr is a compiled expression of a query. It holds no state: any number of
// environments may evaluate it at once.
type Expr struct {
	text   string // as a user would write it
	plan   string // with every name resolved
	folded string // plan with the case of columns folded
	code
	cond func(*Env) tri // of WHERE and HAVING
}

// Eval gives the value of the expression. What went wrong is in env.Errors
// and env.Counts; the value is then NULL.
func (x *Expr) Eval(env *Env) windows.Value { return x.eval(env) }

// String returns the expression's text in its one spelling.
func (x *Expr) String() string { return x.text }

// A Query is the plan of one SELECT. It is immutable; evaluation state lives
// in Env.
type Query struct {
	// Source names the topic, or the devices when FromDevices is set.
	Source      string
	FromDevices bool
	// Into names the output, "output" if the text names none.
	Into string

	// Timestamp is the TIMESTAMP BY expression, nil if arrival time counts.
	Timestamp *Expr
	// Over are the keys that have timelines of their own (semantics 2.5).
	Over []*Expr
	// Where is the condition on records, nil if all pass.
	Where *Expr

	// Window is nil for a projection: one row for each record.
	Window *windows.Window
	// Keys are the GROUP BY expressions without the window.
	Keys []*Expr
	// Args are the arguments of the aggregates, each once; Aggregates refer to
	// them by index.
	Args       []*Expr
	Aggregates []windows.Aggregate
	// Having is the condition on rows, nil if all pass.
	Having *Expr

	// Columns are the names of the output's columns in order. The columns of
	// SELECT * depend on the record and are not among them.
	Columns []string
	// Grace is how long a closed window still takes late records; 0: not at
	// all.
	Grace windows.Tick
	// EmitFinal is set by EMIT FINAL, which is also what happens without it.
	EmitFinal bool
	// Warnings are remarks about what is legal and probably not meant.
	Warnings []string

	partitionKey   string
	partitionKeyAt int // among Keys
	fields         []field
	outputs        []output
	text           string
}

// output is one item of the select list.
type output struct {
	name   string
	prefix string // the name as JSON with the colon
	expr   *Expr
	star   bool
	at     int   // of a star: the field that holds the payload
	hidden []int // of a star over devices: fields of the built-in columns
}

// field returns the index of an input, adding it if it is new.
func (q *Query) field(f field) int {
	for i := range q.fields {
		if q.fields[i].id() == f.id() {
			return i
		}
	}
	q.fields = append(q.fields, f)
	return len(q.fields) - 1
}

// String returns the text of the query in its one spelling.
func (q *Query) String() string { return q.text }

// PartitionKeyIndex returns which of Keys is the column that the source is
// partitioned by, or -1.
func (q *Query) PartitionKeyIndex() int { return q.partitionKeyAt }

// Accept reports whether WHERE is true for the record in env.
func (q *Query) Accept(env *Env) bool {
	return q.Where == nil || q.Where.cond(env) == isTrue
}

// EventTime evaluates TIMESTAMP BY. False means that the record has no usable
// time and must not be processed (semantics 1.4); why is in env.Errors. The
// query must have Timestamp set.
func (q *Query) EventTime(env *Env) (windows.Tick, bool) {
	v := q.Timestamp.eval(env)
	switch v.Kind() {
	case windows.Datetime:
		return v.Datetime(), true
	case windows.String:
		if t, ok := parseDatetime(v.Str()); ok {
			return t, true
		}
	}
	reason := "TIMESTAMP BY gives no datetime"
	switch {
	case v.IsNull():
		reason = "TIMESTAMP BY gives NULL"
	case isNumber(&v):
		reason = "TIMESTAMP BY gives a number: for Unix milliseconds write DATEADD(millisecond, n, '1970-01-01T00:00:00Z')"
	}
	if len(env.Errors) < MaxRowErrors {
		env.Errors = append(env.Errors, RowError{q.Timestamp.text, v, reason})
	}
	return 0, false
}

// AppendKey appends the tuple-encoded group key of the record in env.
func (q *Query) AppendKey(dst []byte, env *Env) []byte { return appendTuple(dst, q.Keys, env) }

// AppendOver appends the tuple-encoded key of the record's timeline.
func (q *Query) AppendOver(dst []byte, env *Env) []byte { return appendTuple(dst, q.Over, env) }

func appendTuple(dst []byte, keys []*Expr, env *Env) []byte {
	for _, k := range keys {
		dst = windows.AppendTuple(dst, k.eval(env))
	}
	return dst
}

// AppendArgs appends the values of the aggregates' arguments for the record in
// env. They may alias the record.
func (q *Query) AppendArgs(dst []windows.Value, env *Env) []windows.Value {
	for _, a := range q.Args {
		dst = append(dst, a.eval(env))
	}
	return dst
}
