package device

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
)

// storedSections are the roots to compare with.
func storedSections(t *Twin) [3]View {
	return [3]View{t.Tags.Members(), t.Desired.Members(), t.Reported.Members()}
}

// sameAsView compares a stored value with the decoded one, and all below.
func sameAsView(t *testing.T, path string, s StoredValue, v View) {
	t.Helper()
	if s.Exists() != v.Exists() || s.Object() != v.Object() || string(s.Text()) != v.Text() {
		t.Fatalf("%s: stored %t %t %q, decoded %t %t %q", path, s.Exists(), s.Object(), s.Text(), v.Exists(), v.Object(), v.Text())
	}
	if !v.Object() {
		return
	}
	for _, k := range v.n.kids {
		m, ok := s.Member(k.key)
		if !ok {
			t.Fatalf("%s.%s is bad", path, k.key)
		}
		want, _ := v.Member(k.key, false)
		sameAsView(t, path+"."+k.key, m, want)
		for _, none := range []string{k.key + "x", k.key[:len(k.key)-1]} {
			want, _ := v.Member(none, false)
			if m, ok := s.Member(none); !ok || m.Exists() != want.Exists() {
				t.Fatalf("%s.%s: %t, %t", path, none, m.Exists(), ok)
			}
		}
	}
}

func randomStored(r *rand.Rand, depth int) map[string]any {
	out := map[string]any{}
	for range r.IntN(5) {
		key := fmt.Sprintf("k%d", r.IntN(20))
		switch n := r.IntN(6); {
		case n == 0 && depth < 6:
			out[key] = randomStored(r, depth+1)
		case n == 1:
			out[key] = []any{r.IntN(9), "x"}
		case n == 2:
			out[key] = fmt.Sprintf("text%*d", r.IntN(200), r.IntN(9))
		case n == 3:
			out[key] = true
		default:
			out[key] = r.IntN(1_000_000)
		}
	}
	return out
}

func TestStoredTwinReadsAsTheDecodedOne(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		tw := NewTwin()
		tw.ModelID = []string{"", "dtmi:x;1"}[r.IntN(2)]
		for range r.IntN(3) {
			b, _ := json.Marshal(map[string]any{"tags": randomStored(r, 0), "properties": map[string]any{"desired": randomStored(r, 0)}})
			if _, err := tw.Apply(&TwinChange{Body: b}, noon); err != nil {
				t.Fatal(err)
			}
			b, _ = json.Marshal(randomStored(r, 0))
			if _, err := tw.ApplyReported(b, noon); err != nil {
				t.Fatal(err)
			}
		}
		b, err := tw.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		views := storedSections(&tw)
		for _, order := range [][]SectionName{{SectionTags, SectionDesired, SectionReported}, {SectionReported, SectionTags, SectionDesired}} {
			s := StoredTwin(b)
			for _, name := range order {
				v, ok := s.Section(name)
				if !ok {
					t.Fatal("bad section")
				}
				sameAsView(t, fmt.Sprint(name), v, views[name])
			}
		}
	}
}

// Whatever the bytes are, reading them in place neither panics nor hangs, and
// bytes that decode read the same in place.
func FuzzStoredTwin(f *testing.F) {
	tw := NewTwin()
	if _, err := tw.ApplyReported([]byte(`{"a":{"b":{"c":[1,2]}},"d":"x","e":null,"f":12}`), noon); err != nil {
		f.Fatal(err)
	}
	b, _ := tw.AppendBinary(nil)
	f.Add(b)
	f.Add(b[:len(b)/2])
	f.Add([]byte{1, 2, 1, 0, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		s := StoredTwin(b)
		var roots [3]StoredValue
		good := true
		for name := range roots {
			v, ok := s.Section(SectionName(name))
			roots[name], good = v, good && ok
			for _, key := range []string{"", "a", "d", "zz"} {
				m, _ := v.Member(key)
				m, _ = m.Member("b")
				_ = m.Text()
			}
		}
		var tw Twin
		if tw.UnmarshalBinary(b) != nil {
			return
		}
		if !good {
			t.Fatal("a twin that decodes can't be read in place")
		}
		views := storedSections(&tw)
		for name, v := range views {
			sameAsViewFuzzed(t, roots[name], v)
		}
	})
}

// sameAsViewFuzzed is sameAsView for keys that may be empty.
func sameAsViewFuzzed(t *testing.T, s StoredValue, v View) {
	t.Helper()
	if s.Object() != v.Object() || string(s.Text()) != v.Text() {
		t.Fatalf("stored %q, decoded %q", s.Text(), v.Text())
	}
	if !v.Object() {
		return
	}
	for i := range v.n.kids {
		k := &v.n.kids[i]
		m, ok := s.Member(k.key)
		if !ok {
			t.Fatalf("%q is bad", k.key)
		}
		sameAsViewFuzzed(t, m, View{n: k})
	}
}
