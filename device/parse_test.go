package device

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// deep nests n objects below the section.
func deep(n int) string {
	return strings.Repeat(`{"a":`, n+1) + "1" + strings.Repeat("}", n+1)
}

func TestRefusedPatchesChangeNothing(t *testing.T) {
	long := strings.Repeat("x", MaxTwinString)
	tests := []struct {
		name, patch string
		want        error
	}{
		{"empty", ``, ErrFormat},
		{"broken", `{"a":`, ErrFormat},
		{"no colon", `{"a" 1}`, ErrFormat},
		{"trailing comma", `{"a":1,}`, ErrFormat},
		{"text behind", `{"a":1}x`, ErrFormat},
		{"leading zero", `{"a":01}`, ErrFormat},
		{"bare minus", `{"a":-}`, ErrFormat},
		{"fraction without digits", `{"a":1.}`, ErrFormat},
		{"NaN", `{"a":NaN}`, ErrFormat},
		{"single quotes", `{'a':1}`, ErrFormat},
		{"raw control character", "{\"a\":\"\n\"}", ErrFormat},
		{"invalid UTF-8", "{\"a\":\"\xff\"}", ErrFormat},
		{"bad escape", `{"a":"\x"}`, ErrFormat},
		{"cut escape", `{"a":"\u12`, ErrFormat},
		{"unended array", `{"a":[1,2`, ErrFormat},
		{"array", `[1]`, ErrArgument},
		{"null", `null`, ErrArgument},
		{"string", `"x"`, ErrArgument},
		{"name with dot", `{"a.b":1}`, ErrArgument},
		{"name with dollar", `{"a$":1}`, ErrArgument},
		{"name with blank", `{"a b":1}`, ErrArgument},
		{"name with C0", `{"a\u0007":1}`, ErrArgument},
		{"name with C1", `{"a\u0085":1}`, ErrArgument},
		{"empty name", `{"":1}`, ErrArgument},
		{"name too long", `{"` + strings.Repeat("n", MaxTwinKey+1) + `":1}`, ErrArgument},
		{"bad name in an array", `{"a":[{"b.c":1}]}`, ErrArgument},
		{"string too long", `{"a":"` + long + `x"}`, ErrArgument},
		{"integer too large", `{"a":4503599627370496}`, ErrArgument},
		{"integer too small", `{"a":-4503599627370497}`, ErrArgument},
		{"large integer in an array", `{"a":[9007199254740993]}`, ErrArgument},
		{"endless number", `{"a":0.` + strings.Repeat("1", maxNumberText) + `}`, ErrArgument},
		{"eleven levels", deep(11), ErrArgument},
		{"eleven levels of arrays", `{"a":` + strings.Repeat("[", 11) + strings.Repeat("]", 11) + `}`, ErrArgument},
		{"a hundred thousand levels", strings.Repeat(`{"a":`, 1e5), ErrTooLarge},
		{"deep ignored member", `{"$x":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`, ErrArgument},
		{"over 32 KiB", manyStrings(9), ErrTooLarge},
		{"text without size", `{"a":[` + strings.Repeat(`"",`, 60000) + `""]}`, ErrTooLarge},
		{"control characters without size", `{` + strings.TrimSuffix(strings.Repeat(`"k":"`+strings.Repeat(`\u0001`, 600)+`",`, 80), ",") + `}`, ErrTooLarge},
		{"valid first, bad last", `{"a":2,"b":{"c.d":1}}`, ErrArgument},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if strings.HasPrefix(tt.name, "control characters") {
				for i := range 80 {
					tt.patch = strings.Replace(tt.patch, `"k"`, fmt.Sprintf(`"k%d"`, i), 1)
				}
			}
			tw := reported(t, `{"a":1}`)
			before := string(tw.AppendDeviceView(nil))
			if _, err := tw.ApplyReported([]byte(tt.patch), noon); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			if after := string(tw.AppendDeviceView(nil)); after != before {
				t.Errorf("the twin changed: %s", after)
			}
		})
	}
}

// manyStrings is a document of n strings of 4 KiB.
func manyStrings(n int) string {
	var parts []string
	for i := range n {
		parts = append(parts, fmt.Sprintf(`"k%d":"%s"`, i, strings.Repeat("x", MaxTwinString)))
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func TestSizeRule(t *testing.T) {
	tests := []struct {
		doc  string
		want int32
	}{
		{`{}`, 0},
		{`{"ab":true}`, 6},
		{`{"ab":12345.678}`, 10},
		{`{"ab":"é\u0001\u00e9x"}`, 7},
		{`{"ä":{"b":{"c":"xyz"}}}`, 7},
		{`{"a":[1,"xy",true,{"bc":false},null]}`, 1 + 8 + 2 + 4 + 6},
		{`{"a":"\ud83d\ude00"}`, 5},
	}
	for _, tt := range tests {
		tw := reported(t, tt.doc)
		if got := tw.Reported.root.size; got != tt.want {
			t.Errorf("%s has size %d, want %d", tt.doc, got, tt.want)
		}
	}
	if _, err := parsePatch([]byte(`{"a":"` + strings.Repeat("x", MaxTwinString) + `"}`)); err != nil {
		t.Errorf("a string of 4 KiB: %v", err)
	}
	tw := NewTwin()
	full := `{"` + strings.Repeat("k", 24) + `":` + "[" + strings.TrimSuffix(strings.Repeat(`12345678,`, (MaxReportedSize-24)/8), ",") + "]}"
	if _, err := tw.ApplyReported([]byte(full), noon); err != nil {
		t.Errorf("exactly 32 KiB: %v", err)
	}
	if _, err := tw.ApplyReported([]byte(`{"a":""}`), noon); !errors.Is(err, ErrTooLarge) {
		t.Errorf("one byte over 32 KiB: %v", err)
	}
}

func FuzzPatch(f *testing.F) {
	f.Add([]byte(`{"a":{"b":[1,{"c":null}]},"d":"\ud83d"}`), []byte(`{"a":null}`))
	f.Add([]byte(`{"tags":null,"properties":{"desired":{"x":1e5}}}`), []byte(` {"\u0061" : -0.1} `))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		tw := NewTwin()
		for _, p := range [][]byte{first, second} {
			if _, err := tw.ApplyReported(p, noon); err == nil && !json.Valid(p) {
				t.Errorf("accepted %q, which is not JSON", p)
			} else if errors.Is(err, ErrFormat) && json.Valid(p) && bytes.ToValidUTF8(p, nil) != nil && string(bytes.ToValidUTF8(p, nil)) == string(p) {
				t.Errorf("refused %q as malformed: %v", p, err)
			}
			if _, err := tw.Apply(&TwinChange{Body: p}, noon); err == nil && !json.Valid(p) {
				t.Errorf("service patch %q accepted, which is not JSON", p)
			}
		}
		d := Document{Twin: tw}
		for _, view := range [][]byte{tw.AppendDeviceView(nil), d.AppendServiceView(nil)} {
			if !json.Valid(view) {
				t.Errorf("view is not JSON: %s", view)
			}
		}
		b, err := tw.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		var same Twin
		if err := same.UnmarshalBinary(b); err != nil || !bytes.Equal(same.AppendDeviceView(nil), tw.AppendDeviceView(nil)) {
			t.Errorf("stored form: %v", err)
		}
	})
}
