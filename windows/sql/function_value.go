package sql

import (
	"github.com/gemello/gemello/windows"
)

var valueFunctions = []function{
	{name: "GetType", min: 1, max: 1, nulls: true, eval: func(_ *Env, _ expr, a []windows.Value) windows.Value {
		return windows.StringOf(a[0].Kind().String())
	}},
	{name: "GetArrayLength", min: 1, max: 1, eval: func(e *Env, expr expr, a []windows.Value) windows.Value {
		if a[0].Kind() != windows.Array {
			return e.fail(expr, a[0], "expected an array, got "+a[0].Kind().String())
		}
		return windows.BigintOf(int64(len(a[0].Array())))
	}},
	{name: "GetArrayElement", min: 2, max: 2, eval: func(e *Env, expr expr, a []windows.Value) windows.Value {
		if a[0].Kind() != windows.Array {
			return e.fail(expr, a[0], "expected an array, got "+a[0].Kind().String())
		}
		i, ok := e.whole(expr, &a[1])
		if !ok || i < 0 || i >= int64(len(a[0].Array())) {
			return windows.Value{}
		}
		return a[0].Array()[i]
	}},
	{name: "GetRecordPropertyValue", min: 2, max: 2, eval: func(e *Env, expr expr, a []windows.Value) windows.Value {
		if a[0].Kind() != windows.Record {
			return e.fail(expr, a[0], "expected a record, got "+a[0].Kind().String())
		}
		name, ok := e.text(expr, &a[1])
		if !ok {
			return windows.Value{}
		}
		return property(a[0].Record(), name)
	}},
	{name: "JSON_PARSE", min: 1, max: 1, eval: func(e *Env, expr expr, a []windows.Value) windows.Value {
		if a[0].Kind() != windows.String {
			return e.fail(expr, a[0], "expected nvarchar, got "+a[0].Kind().String())
		}
		t := jsonText{data: []byte(a[0].Str())}
		var v windows.Value
		i := t.value(t.space(0), 0, &v)
		if i >= 0 && t.space(i) == len(t.data) {
			e.Counts.Overflows += t.overflows
			return v
		}
		return e.fail(expr, a[0], "not JSON")
	}},
}

// property finds a member by its exact name, else by one in another case, of
// several the last.
func property(o *windows.Object, name string) windows.Value {
	var v windows.Value
	for i := range o.Fields {
		if o.Fields[i].Name == name {
			return o.Fields[i].Value
		}
		if equalNames(o.Fields[i].Name, name) {
			v = o.Fields[i].Value
		}
	}
	return v
}
