package sql

import "github.com/gemello/gemello/windows"

// script is a parsed text.
type script struct {
	tables     []*createTable
	statements []*statement
}

type createTable struct {
	pos     Pos
	name    string
	columns []columnDef
}

type columnDef struct {
	name string
	typ  windows.Kind
}

// statement is one WITH … with the queries that may use its steps.
type statement struct {
	pos     Pos
	with    []cte
	queries []*selectStmt
}

// cte is a named step; its queries are joined by UNION.
type cte struct {
	pos     Pos
	name    string
	queries []*selectStmt
}

type selectStmt struct {
	pos    Pos
	top    *intLit
	items  []selectItem
	into   *nameRef
	from   *sourceItem
	joins  []*join
	where  expr
	group  []groupItem
	having expr
	emit   *emitClause
	grace  *span
	// bounds is the position of WINDOW BOUNDS START, nil without it.
	bounds *Pos
}

type nameRef struct {
	pos  Pos
	name string
}

type intLit struct {
	pos Pos
	n   int64
}

// selectItem is *, alias.*, or an expression with an optional alias.
type selectItem struct {
	pos       Pos
	star      bool
	qualifier string // of alias.*
	expr      expr
	alias     string
}

type sourceItem struct {
	pos       Pos
	name      string
	alias     string
	timestamp expr
	over      []expr
	overPos   Pos
	partition []expr
	partPos   Pos
	partCount *intLit
	apply     *applyClause
}

type applyClause struct {
	pos      Pos
	outer    bool
	function string
	arg      expr
	alias    string
}

type join struct {
	pos  Pos
	left bool
	item *sourceItem
	on   expr
}

// groupItem is an expression, one window, or Windows(…).
type groupItem struct {
	pos     Pos
	expr    expr
	windows []*windowDef
	multi   bool
}

type windowKind uint8

const (
	tumbling windowKind = iota
	hopping
	sliding
	session
)

func (k windowKind) String() string {
	return [...]string{"TumblingWindow", "HoppingWindow", "SlidingWindow", "SessionWindow"}[k]
}

type windowDef struct {
	pos    Pos
	kind   windowKind
	size   span
	hop    span  // hopping; for a session the longest duration
	offset *span // tumbling and hopping
	by     expr  // of a session
	named  bool  // inside Window('id', …)
	id     string
}

// span is a length of time as written.
type span struct {
	pos  Pos
	unit unit
	n    int64
}

type emitClause struct {
	pos   Pos
	early bool
	every span
	wall  bool
}

// expr is an expression node.
type expr interface{ position() Pos }

func (p Pos) position() Pos { return p }

type (
	// columnRef is a, a.b or a.b.c; what the first name means is decided when
	// the query is compiled.
	columnRef struct {
		Pos
		path []string
	}

	literal struct {
		Pos
		value windows.Value
	}

	// unaryExpr is -x, +x, ~x or NOT x.
	unaryExpr struct {
		Pos
		op string
		x  expr
	}

	binaryExpr struct {
		Pos
		op   string
		x, y expr
	}

	isNull struct {
		Pos
		x   expr
		not bool
	}

	between struct {
		Pos
		x, lo, hi expr
		not       bool
	}

	inList struct {
		Pos
		x    expr
		list []expr
		not  bool
	}

	like struct {
		Pos
		x, pattern expr
		not        bool
	}

	caseExpr struct {
		Pos
		operand expr // nil: searched form
		whens   []when
		other   expr // nil: NULL
	}

	when struct{ cond, then expr }

	castExpr struct {
		Pos
		x   expr
		typ windows.Kind
		try bool
	}

	call struct {
		Pos
		// name is as written, dotted for udf.f and System.Timestamp.
		name     string
		args     []expr
		star     bool // COUNT(*)
		distinct bool
		over     *overClause
	}
)

type overClause struct {
	pos       Pos
	partition []expr
	order     []order
	limit     *span
	when      expr
}

type order struct {
	x    expr
	desc bool
}
