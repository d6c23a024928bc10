package query

import (
	"strings"
	"testing"

	"github.com/gemello/gemello/device"
)

func TestRouteConditions(t *testing.T) {
	d := &device.Document{Twin: device.NewTwin()}
	if _, err := d.Twin.Apply(&device.TwinChange{Body: []byte(`{"tags":{"Site":"Berlin"},"properties":{"desired":{"rate":5}}}`)}, d.Presence.Updated); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Twin.ApplyReported([]byte(`{"fw":{"ver":"1.2"}}`), d.Presence.Updated); err != nil {
		t.Fatal(err)
	}
	system := map[string]string{"contenttype": "application/json", "connectiondeviceid": "Dev1", "enqueuedtime": "2026-01-02T03:04:05Z"}
	properties := map[string]string{"severity": "1", "level": "Storage", "$own": "x", "to": "y"}
	m := &Message{
		System: func(name string) (string, bool) { v, ok := system[name]; return v, ok },
		Property: func(name string) (string, bool) {
			for k, v := range properties {
				if strings.EqualFold(k, name) {
					return v, true
				}
			}
			return "", false
		},
		Body: ` {"Weather":{"Temperature":50,"Time":"2026-03-09T00:00:00Z"},"list":[ {"a":1}, {"a":"B"} ],"n":null}`,
		Twin: &Twin{Document: d},
	}
	for _, c := range []struct {
		in   string
		want Verdict
	}{
		{"true", Yes},
		{"", Yes},
		{"TRUE AND NOT false", Yes},
		{"level = 'storage'", Yes},
		{"LEVEL = 'STORAGE' and Severity = '1'", Yes},
		{"severity <= 2", Unknown},
		{"as_number(severity) <= 2", Yes},
		{"as_number(level) <= 2", Unknown},
		{"missing = 'a'", Unknown},
		{"NOT missing = 'a'", Unknown},
		{"IS_DEFINED(missing)", No},
		{"$contentType = 'APPLICATION/JSON'", Yes},
		{"$CONNECTIONDEVICEID = 'dev1'", Yes},
		{"$own = 'X'", Yes}, // no system property: an application property with its $
		{"$enqueuedTime < '2026-01-02T04:04:05.1+01:00'", Yes},
		{"$to = 'y'", Unknown}, // the application property is another
		{"$body.weather.temperature >= 50", Yes},
		{"$BODY.Weather.Temperature < 20", No},
		{"$body.list[1].A = 'b'", Yes},
		{"$body.list[2].a = 'b'", Unknown},
		{"is_null($body.N) AND is_object($body.Weather) AND is_array($body.list) AND is_primitive($body.n)", Yes},
		{"$twin.tags.site = 'berlin'", Yes},
		{"$twin.Properties.Desired.RATE = 5 AND $twin.properties.reported.fw.ver = '1.2'", Yes},
		{"$twin.deviceId = 'x'", Unknown},
		{"STARTS_WITH(level, 'STO') AND ends_with(level, 'AGE') AND CONTAINS(level, 'oRa')", Yes},
		{"INDEX_OF(level, 'R') = 3 AND LENGTH(level) = 7 AND SUBSTRING(level, 1, 2) = 'to' AND CONCAT(LOWER(level), UPPER('x')) = 'storagex'", Yes},
		{"POWER(2, 3) = 8 AND SQUARE(3) = 9 AND SQRT(9) = 3 AND ABS(-1) = 1 AND SIGN(-7) = -1 AND CEILING(1.2) = 2 AND FLOOR(1.8) = 1 AND EXP(0) = 1", Yes},
		{"SQRT(-1) = 1", Unknown},
		{"1 / 0 = 1", Unknown},
	} {
		r, err := ParseRoute(c.in)
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		if got := r.Match(m); got != c.want {
			t.Errorf("%s: %d, want %d", c.in, got, c.want)
		}
		again, err := ParseRoute(r.String())
		if err != nil || again.String() != r.String() {
			t.Errorf("%s is printed as %s: %v", c.in, r, err)
		}
	}
	if _, err := ParseRoute("a = "); err == nil {
		t.Error("half a condition passed")
	}
}

func TestABodyThatIsNoJSONIsUndefined(t *testing.T) {
	r, err := ParseRoute("is_defined($body.a) OR is_defined($body.b)")
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{"", "x", "{", `{"a"`, `{"a":`, `{"a":}`, `{a:1}`, `[1]`, `{"x":{"a":1}`, `{"\q":1,"a":1}`} {
		if got := r.Match(&Message{Body: body}); got != No {
			t.Errorf("%s: %d", body, got)
		}
	}
}

func FuzzWalk(f *testing.F) {
	for _, s := range []string{`{"a":[1,{"b":"x"}]}`, `{"a":{"a":1},"A":2}`, `[[[`, `{"a" : "\ud83d\ude00" }`} {
		f.Add(s)
	}
	steps := []Step{{Name: "a"}, {Name: "b"}, {IsIndex: true, Index: 1}}
	f.Fuzz(func(t *testing.T, text string) {
		for i := range steps {
			for _, fold := range []bool{false, true} {
				v := walk(text, steps[i:], fold)
				v.AppendJSON(nil)
			}
		}
	})
}
