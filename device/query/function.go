package query

import (
	"math"
	"strings"
	"unicode/utf8"
)

// Function is a function of the language. Those of strings and numbers are
// undefined for arguments of other types; those named IS_ are always defined.
type Function struct {
	Name        string
	least, most int
	call        func(args []Value, fold bool) Value
}

// functionNamed finds a function without regard to case.
func functionNamed(name string) *Function {
	name = strings.ToUpper(name)
	switch name {
	case "STARTSWITH":
		name = "STARTS_WITH"
	case "ENDSWITH":
		name = "ENDS_WITH"
	}
	for i := range functions {
		if functions[i].Name == name {
			return &functions[i]
		}
	}
	return nil
}

// maxConcat bounds the arguments of CONCAT.
const maxConcat = 32

var functions = [...]Function{
	is("IS_DEFINED", func(k Kind) bool { return k != Undefined }),
	is("IS_NULL", func(k Kind) bool { return k == Null }),
	is("IS_BOOL", func(k Kind) bool { return k == Bool }),
	is("IS_NUMBER", func(k Kind) bool { return k == Number }),
	is("IS_STRING", func(k Kind) bool { return k == String }),
	is("IS_ARRAY", func(k Kind) bool { return k == Array }),
	is("IS_OBJECT", func(k Kind) bool { return k == Object }),
	is("IS_PRIMITIVE", func(k Kind) bool { return Null <= k && k <= String }),
	math1("ABS", math.Abs),
	math1("EXP", math.Exp),
	math1("SQUARE", func(x float64) float64 { return x * x }),
	math1("CEILING", math.Ceil),
	math1("FLOOR", math.Floor),
	math1("SIGN", sign),
	math1("SQRT", math.Sqrt),
	{"POWER", 2, 2, func(a []Value, _ bool) Value {
		if a[0].kind != Number || a[1].kind != Number {
			return Value{}
		}
		return OfNumber(math.Pow(a[0].num, a[1].num))
	}},
	{"AS_NUMBER", 1, 1, func(a []Value, _ bool) Value {
		switch a[0].kind {
		case Number:
			return a[0]
		case String:
			if text := strings.TrimSpace(a[0].str); text != "" {
				if f, ok := parseNumber(text); ok {
					return OfNumber(f)
				}
			}
		}
		return Value{}
	}},
	{"CONCAT", 2, maxConcat, func(a []Value, _ bool) Value {
		var b strings.Builder
		for i := range a {
			if a[i].kind != String {
				return Value{}
			}
			b.WriteString(a[i].str)
		}
		return OfString(b.String())
	}},
	{"LENGTH", 1, 1, func(a []Value, _ bool) Value {
		if a[0].kind != String {
			return Value{}
		}
		return OfNumber(float64(utf8.RuneCountInString(a[0].str)))
	}},
	text1("LOWER", strings.ToLower),
	text1("UPPER", strings.ToUpper),
	{"SUBSTRING", 2, 3, substring},
	text2("INDEX_OF", func(s, part string) Value {
		i := strings.Index(s, part)
		if i > 0 {
			i = utf8.RuneCountInString(s[:i])
		}
		return OfNumber(float64(i))
	}),
	text2("STARTS_WITH", func(s, part string) Value { return OfBool(strings.HasPrefix(s, part)) }),
	text2("ENDS_WITH", func(s, part string) Value { return OfBool(strings.HasSuffix(s, part)) }),
	text2("CONTAINS", func(s, part string) Value { return OfBool(strings.Contains(s, part)) }),
}

func is(name string, f func(Kind) bool) Function {
	return Function{name, 1, 1, func(a []Value, _ bool) Value { return OfBool(f(a[0].kind)) }}
}

func math1(name string, f func(float64) float64) Function {
	return Function{name, 1, 1, func(a []Value, _ bool) Value {
		if a[0].kind != Number {
			return Value{}
		}
		return OfNumber(f(a[0].num))
	}}
}

func text1(name string, f func(string) string) Function {
	return Function{name, 1, 1, func(a []Value, _ bool) Value {
		if a[0].kind != String {
			return Value{}
		}
		return OfString(f(a[0].str))
	}}
}

func text2(name string, f func(s, part string) Value) Function {
	return Function{name, 2, 2, func(a []Value, fold bool) Value {
		if a[0].kind != String || a[1].kind != String {
			return Value{}
		}
		if fold {
			return f(lower(a[0].str), lower(a[1].str))
		}
		return f(a[0].str, a[1].str)
	}}
}

func sign(x float64) float64 {
	switch {
	case x < 0:
		return -1
	case x > 0:
		return 1
	}
	return 0
}

// substring counts characters from 0; what lies outside the text is empty.
func substring(a []Value, _ bool) Value {
	if a[0].kind != String || a[1].kind != Number || len(a) == 3 && a[2].kind != Number {
		return Value{}
	}
	runes := []rune(a[0].str)
	limit := float64(len(runes))
	start := min(max(math.Trunc(a[1].num), 0), limit)
	end := limit
	if len(a) == 3 {
		end = min(start+max(math.Trunc(a[2].num), 0), limit)
	}
	return OfString(string(runes[int(start):int(end)]))
}
