package device

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
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

func TestMetadata(t *testing.T) {
	tw := NewTwin()
	at := func(h int) time.Time { return noon.Add(time.Duration(h) * time.Hour) }
	steps := []string{`{"a":{"b":1,"c":2},"d":[1]}`, `{"a":{"c":3}}`, `{"d":null}`}
	for i, p := range steps {
		if _, err := tw.ApplyDesired([]byte(p), at(i)); err != nil {
			t.Fatal(err)
		}
	}
	want := `{"a":{"b":1,"c":3},"$metadata":{"$lastUpdated":"2026-01-02T14:00:00Z","$lastUpdatedVersion":4,` +
		`"a":{"$lastUpdated":"2026-01-02T13:00:00Z","$lastUpdatedVersion":3,` +
		`"b":{"$lastUpdated":"2026-01-02T12:00:00Z","$lastUpdatedVersion":2},` +
		`"c":{"$lastUpdated":"2026-01-02T13:00:00Z","$lastUpdatedVersion":3}}},"$version":4}`
	if got := string(tw.Desired.AppendJSON(nil)); got != want {
		t.Errorf("desired\n got %s\nwant %s", got, want)
	}
	if _, err := tw.ApplyReported([]byte(`{"x":1}`), noon.Add(123456700)); err != nil {
		t.Fatal(err)
	}
	want = `{"x":1,"$metadata":{"$lastUpdated":"2026-01-02T12:00:00.1234567Z","x":{"$lastUpdated":"2026-01-02T12:00:00.1234567Z"}},"$version":2}`
	if got := string(tw.Reported.AppendJSON(nil)); got != want {
		t.Errorf("reported\n got %s\nwant %s", got, want)
	}
	fresh := NewTwin()
	if got := string(fresh.Desired.AppendJSON(nil)); got != `{"$metadata":{"$lastUpdated":"0001-01-01T00:00:00Z"},"$version":1}` {
		t.Errorf("new section %s", got)
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

func TestServiceView(t *testing.T) {
	d := Document{Twin: reported(t, `{"x":1}`), Entry: Entry{
		Identity: Identity{DeviceID: "d1", ETag: "NDE=", GenerationID: "g", Status: Disabled, StatusReason: "a\"b\x01", StatusUpdated: noon, ParentScopes: []string{"p", "q"}},
		Presence: Presence{Connected: true, LastActivity: noon, Queued: 2},
	}}
	d.Twin.ModelID = "dtmi:x:y;1"
	if _, err := d.Twin.Apply(&TwinChange{Body: []byte(`{"tags":{"site":"a"}}`)}, noon); err != nil {
		t.Fatal(err)
	}
	want := `{"deviceId":"d1","etag":"AAAAAAAAAAI=","deviceEtag":"NDE=","status":"disabled","statusReason":"a\"b\u0001","statusUpdateTime":"2026-01-02T12:00:00Z",` +
		`"connectionState":"Connected","lastActivityTime":"2026-01-02T12:00:00Z","cloudToDeviceMessageCount":2,"authenticationType":"sas",` +
		`"x509Thumbprint":{"primaryThumbprint":null,"secondaryThumbprint":null},"modelId":"dtmi:x:y;1","version":4,"tags":{"site":"a"},` +
		`"properties":{"desired":{"$metadata":{"$lastUpdated":"0001-01-01T00:00:00Z"},"$version":1},` +
		`"reported":{"x":1,"$metadata":{"$lastUpdated":"2026-01-02T12:00:00Z","x":{"$lastUpdated":"2026-01-02T12:00:00Z"}},"$version":2}},` +
		`"capabilities":{"iotEdge":false},"deviceScope":"","parentScopes":["p","q"]}`
	if got := string(d.AppendServiceView(nil)); got != want || !json.Valid([]byte(got)) {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

func TestACopyIsASnapshot(t *testing.T) {
	tw := reported(t, `{"a":{"b":1},"c":2}`)
	snapshot := tw
	if _, err := tw.ApplyReported([]byte(`{"a":{"b":9,"x":1},"c":null}`), noon); err != nil {
		t.Fatal(err)
	}
	if got := string(snapshot.Reported.AppendDocument(nil)); got != `{"a":{"b":1},"c":2}` {
		t.Errorf("the snapshot shows %s", got)
	}
}

func TestSmallTwinsDontKeepLargePatches(t *testing.T) {
	tw := NewTwin()
	blank := strings.Repeat(" ", 100<<10)
	for i := range 50 {
		if _, err := tw.ApplyReported([]byte(fmt.Sprintf(`{%s"k%d":%d}`, blank, i, i)), noon); err != nil {
			t.Fatal(err)
		}
		if tw.Reported.held > 8<<10 {
			t.Fatalf("after %d patches %d bytes are kept alive for a document of %d", i+1, tw.Reported.held, tw.Reported.root.text)
		}
	}
}

func TestTwinSurvivesItsStoredForm(t *testing.T) {
	tw := reported(t, `{"a":{"b":[1, 2],"c":{"d":"x\u00e9"}},"e":{}}`, `{"a":{"c":{"d":5}}}`)
	tw.ModelID = "dtmi:a;1"
	if _, err := tw.Apply(&TwinChange{Body: []byte(`{"tags":{"t":1},"properties":{"desired":{"z":{"y":true}}}}`)}, noon.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	b, err := tw.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	var got Twin
	if err := got.UnmarshalBinary(b); err != nil {
		t.Fatal(err)
	}
	show := func(tw *Twin) string {
		d := Document{Twin: *tw}
		return string(d.AppendServiceView(nil))
	}
	if show(&got) != show(&tw) || got.Reported.root.size != tw.Reported.root.size || got.Desired.root.text != tw.Desired.root.text {
		t.Errorf("\n got %s\nwant %s", show(&got), show(&tw))
	}
	again, _ := got.AppendBinary(nil)
	if !bytes.Equal(again, b) {
		t.Error("the stored form is not stable")
	}
	for n := range b {
		if err := got.UnmarshalBinary(b[:n]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
}

// TestRandomPatchesAgreeWithAModel merges random patches here and in plain maps.
func TestRandomPatchesAgreeWithAModel(t *testing.T) {
	const seed = 7
	r := rand.New(rand.NewPCG(seed, seed))
	tw, model := NewTwin(), map[string]any{}
	for i := range 3000 {
		patch := randomObject(r, 3)
		text, _ := json.Marshal(patch)
		if _, err := tw.ApplyReported(text, noon); err != nil {
			t.Fatalf("seed %d, patch %d %s: %v", seed, i, text, err)
		}
		model = modelMerge(model, patch)
		var got map[string]any
		if err := json.Unmarshal(tw.Reported.AppendDocument(nil), &got); err != nil || !reflect.DeepEqual(got, model) {
			t.Fatalf("seed %d, patch %d %s:\n got %v\nwant %v", seed, i, text, got, model)
		}
		if i%100 == 0 {
			b, _ := tw.AppendBinary(nil)
			tw = Twin{}
			if err := tw.UnmarshalBinary(b); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func randomObject(r *rand.Rand, depth int) map[string]any {
	out := map[string]any{}
	for range r.IntN(4) {
		key := string(rune('a' + r.IntN(5)))
		switch n := r.IntN(8); {
		case n < 2:
			out[key] = nil
		case n < 4 && depth > 0:
			out[key] = randomObject(r, depth-1)
		case n == 5:
			out[key] = []any{float64(r.IntN(9)), "x"}
		default:
			out[key] = float64(r.IntN(100))
		}
	}
	return out
}

func modelMerge(target any, patch map[string]any) map[string]any {
	old, _ := target.(map[string]any)
	out := maps.Clone(old)
	if out == nil {
		out = map[string]any{}
	}
	for _, k := range slices.Sorted(maps.Keys(patch)) {
		switch v := patch[k].(type) {
		case nil:
			delete(out, k)
		case map[string]any:
			out[k] = modelMerge(out[k], v)
		default:
			out[k] = v
		}
	}
	return out
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

func FuzzTwinStoredForm(f *testing.F) {
	tw := NewTwin()
	if _, err := tw.ApplyReported([]byte(`{"a":{"b":1},"c":[2]}`), noon); err != nil {
		f.Fatal(err)
	}
	b, _ := tw.AppendBinary(nil)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var tw Twin
		if err := tw.UnmarshalBinary(b); err != nil {
			return
		}
		again, err := tw.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		var same Twin
		if err := same.UnmarshalBinary(again); err != nil {
			t.Errorf("written again it can't be read: %v", err)
		}
		tw.AppendDeviceView(nil)
	})
}

func BenchmarkApplyReported(b *testing.B) {
	tw := NewTwin()
	if _, err := tw.ApplyReported([]byte(`{"fw":{"version":"1.2.3","state":"idle"},"battery":81,"temperature":{"avg":20.5,"max":31},"uptime":1000}`), noon); err != nil {
		b.Fatal(err)
	}
	patch := []byte(`{"battery":80,"temperature":{"avg":21.5}}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tw.ApplyReported(patch, noon); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPatchOfAStoredTwin(b *testing.B) {
	tw := NewTwin()
	if _, err := tw.ApplyReported([]byte(`{"fw":{"version":"1.2.3","state":"idle"},"battery":81,"temperature":{"avg":20.5,"max":31},"uptime":1000}`), noon); err != nil {
		b.Fatal(err)
	}
	stored, _ := tw.AppendBinary(nil)
	patch := []byte(`{"battery":80,"temperature":{"avg":21.5}}`)
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		var t Twin
		if err := t.UnmarshalBinary(stored); err != nil {
			b.Fatal(err)
		}
		if _, err := t.ApplyReported(patch, noon); err != nil {
			b.Fatal(err)
		}
		out, _ = t.AppendBinary(out[:0])
	}
}
