package device

import "testing"

func TestViewReadsASectionInPlace(t *testing.T) {
	tw := NewTwin()
	if _, err := tw.ApplyDesired([]byte(`{"fw":{"ver":"1.2","size":[1,2]},"rate":5}`), noon); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path []string
		fold bool
		want string
	}{
		{[]string{"rate"}, false, `5`},
		{[]string{"Rate"}, false, ``},
		{[]string{"Rate"}, true, `5`},
		{[]string{"fw"}, false, `{"size":[1,2],"ver":"1.2"}`},
		{[]string{"FW", "VER"}, true, `"1.2"`},
		{[]string{"rate", "x"}, false, ``},
		{[]string{"$version"}, false, `2`},
		{[]string{"fw", "$version"}, false, ``},
		{[]string{"$metadata", "rate"}, false, `{"$lastUpdated":"2026-01-02T12:00:00Z","$lastUpdatedVersion":2}`},
		{[]string{"$metadata", "rate", "$lastUpdatedVersion"}, false, `2`},
		{[]string{"$metadata", "$lastUpdated"}, false, `"2026-01-02T12:00:00Z"`},
		{[]string{"$metadata", "$version"}, false, ``},
		{nil, false, string(tw.Desired.AppendJSON(nil))},
	} {
		v, text := tw.Desired.View(), ""
		for _, key := range c.path {
			v, text = v.Member(key, c.fold)
		}
		if v.Exists() {
			text = string(v.AppendJSON(nil))
		}
		if text != c.want {
			t.Errorf("%q (fold %v): %s, want %s", c.path, c.fold, text, c.want)
		}
	}
	if v, text := tw.Tags.Members().Member("$version", false); v.Exists() || text != "" {
		t.Errorf("tags show a version: %s", text)
	}
}
