package windows

import "math"

// Kind is the type of a value. Types belong to values, not to columns
// (semantics 6.1).
type Kind uint8

// The kinds, named as the SQL dialect names them.
const (
	Null Kind = iota
	Bigint
	Float
	String
	Datetime
	Bit
	Record
	Array
)

var kindNames = [...]string{"null", "bigint", "float", "nvarchar(max)", "datetime", "bit", "record", "array"}

func (k Kind) String() string { return kindNames[k] }

// Value is one SQL value. The zero Value is NULL. A string may alias the bytes
// of the record it was scanned from: whoever keeps a Value beyond the record
// clones it first, or it pins the whole fetch buffer.
type Value struct {
	str  string
	ref  any // *Object or []Value
	num  uint64
	kind Kind
}

// Object is a JSON object with its members in the order of the text.
type Object struct{ Fields []Field }

// Field is one member of an Object.
type Field struct {
	Name  string
	Value Value
}

// BigintOf, FloatOf, StringOf, DatetimeOf, BitOf, RecordOf and ArrayOf make
// values of their kind.
func BigintOf(i int64) Value   { return Value{kind: Bigint, num: uint64(i)} }
func FloatOf(f float64) Value  { return Value{kind: Float, num: math.Float64bits(f)} }
func StringOf(s string) Value  { return Value{kind: String, str: s} }
func DatetimeOf(t Tick) Value  { return Value{kind: Datetime, num: uint64(t)} }
func RecordOf(o *Object) Value { return Value{kind: Record, ref: o} }
func ArrayOf(a []Value) Value  { return Value{kind: Array, ref: a} }
func BitOf(b bool) Value {
	if b {
		return Value{kind: Bit, num: 1}
	}
	return Value{kind: Bit}
}

// Kind returns the value's type.
func (v *Value) Kind() Kind { return v.kind }

// IsNull reports whether the value is NULL.
func (v *Value) IsNull() bool { return v.kind == Null }

// Bigint, Float, Str, Datetime, Bit, Record and Array return the content of
// a value of that kind; on another kind the result means nothing.
func (v *Value) Bigint() int64   { return int64(v.num) }
func (v *Value) Float() float64  { return math.Float64frombits(v.num) }
func (v *Value) Str() string     { return v.str }
func (v *Value) Datetime() Tick  { return Tick(v.num) }
func (v *Value) Bit() bool       { return v.num != 0 }
func (v *Value) Record() *Object { o, _ := v.ref.(*Object); return o }
func (v *Value) Array() []Value  { a, _ := v.ref.([]Value); return a }
