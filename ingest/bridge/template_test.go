package bridge

import (
	"slices"
	"strings"
	"testing"

	"github.com/gemello/gemello/ingest"
)

func TestTemplateMatchesLevelByLevel(t *testing.T) {
	type props = []ingest.Property
	for _, c := range []struct {
		rule, template, topic string
		device                string
		props                 props
		ok                    bool
	}{
		{"a placeholder takes one level", "plant/{deviceId}/data", "plant/pump-1/data", "pump-1", nil, true},
		{"literals are compared byte for byte", "plant/{deviceId}/data", "Plant/pump-1/data", "", nil, false},
		{"a missing level does not match", "plant/{deviceId}/data", "plant/pump-1", "", nil, false},
		{"a level too much does not match", "plant/{deviceId}/data", "plant/pump-1/data/x", "", nil, false},
		{"an empty level is a level", "plant/{deviceId}/data", "plant/pump-1/data/", "", nil, false},
		{"a device id is never empty", "plant/{deviceId}/data", "plant//data", "", nil, false},
		{"+ takes any level", "+/{deviceId}", "x/d", "d", nil, true},
		{"+ takes an empty level", "+/{deviceId}", "/d", "d", nil, true},
		{"# takes the rest", "{deviceId}/#", "d/a/b/c", "d", nil, true},
		{"# takes no rest as well", "{deviceId}/#", "d", "d", nil, true},
		{"# takes an empty level", "{deviceId}/#", "d/", "d", nil, true},
		{"a leading slash is an empty first level", "/{deviceId}", "/d", "d", nil, true},
		{"a leading slash counts", "/{deviceId}", "d", "", nil, false},
		{"other placeholders are properties", "{site}/{deviceId}/{kind}", "oslo/d/temp", "d",
			props{{Key: "site", Value: "oslo"}, {Key: "kind", Value: "temp"}}, true},
		{"other placeholders are never empty", "{site}/{deviceId}", "/d", "", nil, false},
		{"wildcards in front spare $ topics", "{deviceId}/#", "$SYS/broker", "", nil, false},
		{"+ in front spares $ topics", "+/{deviceId}", "$SYS/d", "", nil, false},
		{"a $ topic can be named", "$x/{deviceId}", "$x/d", "d", nil, true},
		{"an invalid device id is for the caller to judge", "{deviceId}", "a b", "a b", nil, true},
		{"the empty topic has one empty level", "{deviceId}", "", "", nil, false},
	} {
		t.Run(c.rule, func(t *testing.T) {
			tpl, err := ParseTemplate(c.template)
			if err != nil {
				t.Fatal(err)
			}
			d, p, ok := tpl.Match(c.topic)
			if ok != c.ok || ok && (d != c.device || !slices.Equal(p, c.props)) {
				t.Errorf("%q on %q: %q %v %v, want %q %v %v", c.topic, c.template, d, p, ok, c.device, c.props, c.ok)
			}
		})
	}
	if _, _, ok := (Template{}).Match("x"); ok {
		t.Error("the zero template matches")
	}
}

func TestTemplateGivesItsFilter(t *testing.T) {
	for template, want := range map[string]string{
		"plant/{deviceId}/data": "plant/+/data",
		"{site}/+/{deviceId}/#": "+/+/+/#",
		"/{deviceId}":           "/+",
	} {
		tpl, err := ParseTemplate(template)
		if err != nil {
			t.Fatal(err)
		}
		if got := tpl.Filter(); got != want {
			t.Errorf("filter of %q is %q, want %q", template, got, want)
		}
	}
}

func TestTemplateErrorsSayWhatToWrite(t *testing.T) {
	for template, want := range map[string]string{
		"":                           "{deviceId}",
		"plant/+/data":               "{deviceId}",
		"{deviceId}/#/x":             "last level",
		"x{deviceId}":                "whole level",
		"{deviceId}/a+":              "whole level",
		"{deviceId}/{}":              "not a name",
		"{deviceId}/{1st}":           "not a name",
		"{deviceId}/{$.cdid}":        "not a name",
		"{deviceId}/{deviceId}":      "twice",
		"$share/g/{deviceId}":        "$share/",
		"{deviceId}/\x00":            "NUL",
		strings.Repeat("x/", 40_000): "65535",
	} {
		if _, err := ParseTemplate(template); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: error %v does not speak of %q", template, err, want)
		}
	}
}

func FuzzTemplate(f *testing.F) {
	f.Add("plant/{deviceId}/data", "plant/pump-1/data")
	f.Add("{site}/+/{deviceId}/#", "a//b/c/d")
	f.Add("/{deviceId}", "$SYS/x")
	f.Fuzz(func(t *testing.T, template, topic string) {
		tpl, err := ParseTemplate(template)
		if err != nil {
			return
		}
		if err := checkFilter(tpl.Filter()); err != nil {
			t.Fatalf("filter %q of %q %v", tpl.Filter(), template, err)
		}
		id, props, ok := tpl.Match(topic)
		// The same by the definition of MQTT 4.7, over whole lists of levels.
		want, got := strings.Split(topic, "/"), strings.Split(template, "/")
		rest := got[len(got)-1] == "#"
		if rest {
			got = got[:len(got)-1]
		}
		matches := len(want) == len(got) || rest && len(want) > len(got)
		if strings.HasPrefix(topic, "$") && (len(got) == 0 || strings.HasPrefix(got[0], "{") || got[0] == "+") {
			matches = false
		}
		var wantID string
		var wantProps []ingest.Property
		for i := 0; matches && i < len(got); i++ {
			switch {
			case got[i] == "{deviceId}":
				wantID = want[i]
				matches = wantID != ""
			case strings.HasPrefix(got[i], "{"):
				wantProps = append(wantProps, ingest.Property{Key: strings.Trim(got[i], "{}"), Value: want[i]})
				matches = want[i] != ""
			case got[i] != "+":
				matches = got[i] == want[i]
			}
		}
		if ok != matches || ok && (id != wantID || !slices.Equal(props, wantProps)) {
			t.Fatalf("%q on %q: %q %v %v, want %q %v %v", topic, template, id, props, ok, wantID, wantProps, matches)
		}
	})
}
