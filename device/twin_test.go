package device

import (
	"errors"
	"testing"
)

func reported(t *testing.T, patches ...string) Twin {
	t.Helper()
	tw := NewTwin()
	for _, p := range patches {
		if _, err := tw.ApplyReported([]byte(p), noon); err != nil {
			t.Fatalf("%s: %v", p, err)
		}
	}
	return tw
}

func TestMergeRules(t *testing.T) {
	tests := []struct {
		name    string
		patches []string
		want    string
	}{
		{"set", []string{`{"a":1}`}, `{"a":1}`},
		{"replace a value", []string{`{"a":1}`, `{"a":"x"}`}, `{"a":"x"}`},
		{"keep what is not named", []string{`{"a":1,"b":2}`, `{"b":3}`}, `{"a":1,"b":3}`},
		{"null removes", []string{`{"a":1,"b":2}`, `{"a":null}`}, `{"b":2}`},
		{"null of nothing", []string{`{"a":null}`}, `{}`},
		{"objects merge", []string{`{"a":{"b":1,"c":2}}`, `{"a":{"c":null,"d":3}}`}, `{"a":{"b":1,"d":3}}`},
		{"object over value", []string{`{"a":1}`, `{"a":{"b":{"c":null,"d":1}}}`}, `{"a":{"b":{"d":1}}}`},
		{"value over object", []string{`{"a":{"b":1}}`, `{"a":true}`}, `{"a":true}`},
		{"empty object is kept", []string{`{"a":{}}`}, `{"a":{}}`},
		{"arrays replace whole", []string{`{"a":[1,2,3]}`, `{"a":[ {"x" : null} , 4 ]}`}, `{"a":[{"x":null},4]}`},
		{"members are sorted", []string{`{"c":1,"a":2,"b":3}`}, `{"a":2,"b":3,"c":1}`},
		{"the later of two counts", []string{`{"a":{"x":1},"b":1,"a":{"y":2}}`}, `{"a":{"y":2},"b":1}`},
		{"$ members are ignored", []string{`{"$version":9,"a":{"$metadata":{"q":[]},"b":1}}`}, `{"a":{"b":1}}`},
		{"numbers stay as they came", []string{`{"a":1.10000000000000000000001,"b":-0.0,"c":1E+2,"d":4503599627370495,"e":-4503599627370496}`},
			`{"a":1.10000000000000000000001,"b":-0.0,"c":1E+2,"d":4503599627370495,"e":-4503599627370496}`},
		{"strings stay as they came", []string{`{"a":"\u00e9\/\ud83d\ude00\"","b":"é<&>"}`}, `{"a":"\u00e9\/\ud83d\ude00\"","b":"é<&>"}`},
		{"names are one however they are spelled", []string{`{"\u0061":1}`, `{"a":2}`}, `{"a":2}`},
		{"case matters", []string{`{"a":1,"A":2}`}, `{"A":2,"a":1}`},
		{"blanks go", []string{" {\n\"a\" :\t[ 1 , \" x \" ] , \"b\" : true }\r\n"}, `{"a":[1," x "],"b":true}`},
		{"ten levels", []string{deep(10)}, deep(10)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tw := reported(t, tt.patches...)
			if got := string(tw.Reported.AppendDocument(nil)); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if tw.Reported.Version != 1+int64(len(tt.patches)) || tw.Version != 2+int64(len(tt.patches)) || tw.ETag() != "AAAAAAAAAAE=" {
				t.Errorf("versions %d, %d, etag %s", tw.Reported.Version, tw.Version, tw.ETag())
			}
		})
	}
}

func TestWhatADeviceIsToldOfDesired(t *testing.T) {
	tw := NewTwin()
	steps := []struct{ body, want string }{
		{`{"properties":{"desired":{"b":1,"a":{"x":null,"y":2}}}}`, `{"a":{"x":null,"y":2},"b":1,"$version":2}`},
		{`{"tags":{"t":1}}`, ``},
		{`{"properties":{"desired":{}}}`, ``},
		{`{"properties":{"desired":{"$version":7}}}`, ``},
		{`{"properties":{"reported":{"x":1}},"deviceId":null,"etag":null}`, ``},
		{`{"properties":null}`, ``},
		{`{"properties":{"desired":{"b":null}}}`, `{"b":null,"$version":3}`},
		{`{"properties":{"desired":{"b":2}}}`, `{"b":2,"$version":4}`},
		{`{"properties":{"desired":null}}`, `{"a":null,"b":null,"$version":5}`},
		{`{"properties":{"desired":null}}`, `{"$version":6}`},
	}
	for _, s := range steps {
		got, err := tw.Apply(&TwinChange{Body: []byte(s.body)}, noon)
		if err != nil || string(got.Patch) != s.want {
			t.Errorf("%s: told %q, want %q, %v", s.body, got.Patch, s.want, err)
		}
		if s.want != "" && got.Version != tw.Desired.Version {
			t.Errorf("%s: version %d, the section has %d", s.body, got.Version, tw.Desired.Version)
		}
	}
	// six changes: tags once, desired five times.
	if tw.Version != 2+6 || tw.ETag() != "AAAAAAAAAAc=" {
		t.Errorf("version %d, etag %s", tw.Version, tw.ETag())
	}
	if got := string(tw.AppendDeviceView(nil)); got != `{"desired":{"$version":6},"reported":{"$version":1}}` {
		t.Errorf("device view %s", got)
	}
}

func TestReplaceMakesTheSuppliedDocuments(t *testing.T) {
	tw := reported(t, `{"r":1}`)
	if _, err := tw.Apply(&TwinChange{Body: []byte(`{"tags":{"a":1},"properties":{"desired":{"b":{"c":1}}}}`)}, noon); err != nil {
		t.Fatal(err)
	}
	told, err := tw.Apply(&TwinChange{Replace: true, Body: []byte(`{"properties":{"desired":{"b":{"d":2,"e":null}}}}`)}, noon)
	if err != nil || string(told.Patch) != `{"b":{"d":2},"$version":3}` {
		t.Errorf("told %s, %v", told.Patch, err)
	}
	if got := string(tw.Tags.AppendDocument(nil)) + string(tw.AppendDeviceView(nil)); got != `{}{"desired":{"b":{"d":2},"$version":3},"reported":{"r":1,"$version":2}}` {
		t.Errorf("twin %s", got)
	}
	if d, err := tw.ReplaceDesired([]byte(`{"z":1}`), noon); err != nil || string(d.Patch) != `{"z":1,"$version":4}` {
		t.Errorf("ReplaceDesired: %s %v", d.Patch, err)
	}
}

func TestServicePatchIsAllOrNothing(t *testing.T) {
	tw := NewTwin()
	before := string(tw.Tags.AppendDocument(nil))
	for name, body := range map[string]string{
		"desired invalid": `{"tags":{"a":1},"properties":{"desired":{"b.c":1}}}`,
		"desired large":   `{"tags":{"a":1},"properties":{"desired":` + manyStrings(9) + `}}`,
		"tags over 8 KiB": `{"properties":{"desired":{"x":1}},"tags":` + manyStrings(3) + `}`,
		"desired string":  `{"tags":{"a":1},"properties":{"desired":"x"}}`,
		"broken":          `{"tags":{"a":1},"properties":{"desired":{}}`,
		"array":           `[]`,
	} {
		if _, err := tw.Apply(&TwinChange{Body: []byte(body)}, noon); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := tw.Apply(&TwinChange{Body: []byte(`{"tags":{"a":1}}`), IfMatch: "old"}, noon); !errors.Is(err, ErrPrecondition) {
		t.Errorf("old etag: %v", err)
	}
	if got := string(tw.Tags.AppendDocument(nil)); got != before || tw.Version != 2 || tw.Tags.Version != 1 {
		t.Errorf("the twin changed: %s", got)
	}
}
