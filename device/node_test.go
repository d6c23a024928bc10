package device

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

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
