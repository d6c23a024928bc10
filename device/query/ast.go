package query

// Collection is what a query reads.
type Collection uint8

// The collections.
const (
	Devices Collection = iota
	Modules
	Jobs
)

var collectionNames = [...]string{"devices", "devices.modules", "devices.jobs"}

// String returns the name as queries spell it.
func (c Collection) String() string { return collectionNames[c] }

// Query is a checked query. It is not changed after Parse and may be used from
// many goroutines.
type Query struct {
	Top     int    // most rows in total; 0: no limit
	Items   []Item // nil: *
	From    Collection
	Where   Expr  // nil: every row
	GroupBy *Path // nil: none
}

// Aggregate is how a column sums rows up.
type Aggregate uint8

// The aggregates. The zero value is none: the column is a path.
const (
	NoAggregate Aggregate = iota
	Count
	Avg
	Sum
	Min
	Max
)

var aggregateNames = [...]string{"", "COUNT", "AVG", "SUM", "MIN", "MAX"}

// Item is one column.
type Item struct {
	Aggregate Aggregate
	Path      *Path  // nil with Count
	Alias     string // "" where the query gives none
	Name      string // of the column: the alias, the last name of the path, or $1, $2, …
}

// Aggregates reports whether the query sums rows up instead of listing them.
func (q *Query) Aggregates() bool {
	if q.GroupBy != nil {
		return true
	}
	for i := range q.Items {
		if q.Items[i].Aggregate != NoAggregate {
			return true
		}
	}
	return false
}

// Expr is a condition or a part of one.
type Expr interface {
	eval(*scope) Value
	print(dst []byte, outer int) []byte
}

// Const is a constant; the zero value is undefined.
type Const struct{ Value Value }

// Path leads to a value. The first step is a name.
type Path struct {
	Steps []Step
	field Field
	rest  *Path // of a route's $body and $twin: the path below
}

// Step is one name or array index of a path.
type Step struct {
	Name    string
	Index   int
	IsIndex bool
}

// Op is an operator.
type Op uint8

// The operators.
const (
	Or Op = iota
	And
	Not
	Equal
	NotEqual
	Less
	LessEqual
	Greater
	GreaterEqual
	Add
	Subtract
	Multiply
	Divide
	Modulo
	Negate
)

var opNames = [...]string{"OR", "AND", "NOT", "=", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "-"}

// Unary is NOT or a minus.
type Unary struct {
	Op Op
	X  Expr
}

// Binary is an operation on two operands.
type Binary struct {
	Op   Op
	X, Y Expr
}

// In asks whether X is one of a list of constants, or with Not, none of them.
type In struct {
	Not  bool
	X    Expr
	List []Value
}

// Call is a function call.
type Call struct {
	Func *Function
	Args []Expr
}

// Field is a member of a twin document, found without regard to case.
type Field uint8

// The members of a twin document. FieldNone is any other name.
const (
	FieldNone Field = iota
	FieldDeviceID
	FieldModuleID
	FieldETag
	FieldDeviceETag
	FieldStatus
	FieldStatusReason
	FieldStatusUpdated
	FieldConnectionState
	FieldLastActivity
	FieldQueued
	FieldAuthType
	FieldThumbprint
	FieldModelID
	FieldVersion
	FieldTags
	FieldProperties
	FieldCapabilities
	FieldDeviceScope
	FieldParentScopes
	FieldConfigurations
)

// fieldOf names a field; names are given in lower case. statusUpdatedTime is how
// Azure's explorer asks for statusUpdateTime.
func fieldOf(lower string) Field {
	switch lower {
	case "deviceid":
		return FieldDeviceID
	case "moduleid":
		return FieldModuleID
	case "etag":
		return FieldETag
	case "deviceetag":
		return FieldDeviceETag
	case "status":
		return FieldStatus
	case "statusreason":
		return FieldStatusReason
	case "statusupdatetime", "statusupdatedtime":
		return FieldStatusUpdated
	case "connectionstate":
		return FieldConnectionState
	case "lastactivitytime":
		return FieldLastActivity
	case "cloudtodevicemessagecount":
		return FieldQueued
	case "authenticationtype":
		return FieldAuthType
	case "x509thumbprint":
		return FieldThumbprint
	case "modelid":
		return FieldModelID
	case "version":
		return FieldVersion
	case "tags":
		return FieldTags
	case "properties":
		return FieldProperties
	case "capabilities":
		return FieldCapabilities
	case "devicescope":
		return FieldDeviceScope
	case "parentscopes":
		return FieldParentScopes
	case "configurations":
		return FieldConfigurations
	}
	return FieldNone
}

// Field returns the member of a twin document that the path begins with.
func (p *Path) Field() Field { return p.field }
