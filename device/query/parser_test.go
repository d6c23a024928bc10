package query

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/gemello/gemello/device"
)

func TestPrintedQueriesParseToThemselves(t *testing.T) {
	g := newGenerator(3)
	for range 5000 {
		q := g.query()
		text := q.String()
		got, err := Parse(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if !reflect.DeepEqual(got, q) {
			t.Fatalf("%s\nparsed and printed: %s", text, got)
		}
	}
}

func TestQueriesAreReadAsTheyAreMeant(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`select * from DEVICES`, `SELECT * FROM devices`},
		{"SELECT *\nFROM devices\tWHERE tags.site = \"a\" AND properties.reported.rate >= 60",
			`SELECT * FROM devices WHERE tags.site = 'a' AND properties.reported.rate >= 60`},
		{`SELECT * FROM devices WHERE devices.tags.site<>'a'`, `SELECT * FROM devices WHERE tags.site != 'a'`},
		{`SELECT devices.deviceId, devices.modules FROM devices`, `SELECT deviceId, modules FROM devices`},
		{`SELECT * FROM devices.modules WHERE devices.modules.deviceId IN ['d1', 'd2']`, `SELECT * FROM devices.modules WHERE deviceId IN ['d1', 'd2']`},
		{`SELECT * FROM devices.jobs WHERE devices.jobs.jobId = 'j1'`, `SELECT * FROM devices.jobs WHERE jobId = 'j1'`},
		{`SELECT TOP 5 * FROM devices`, `SELECT TOP 5 * FROM devices`},
		{`SELECT deviceId, status AS s FROM devices WHERE capabilities.iotEdge = true`, `SELECT deviceId, status AS s FROM devices WHERE capabilities.iotEdge = true`},
		{`SELECT COUNT() AS n FROM devices WHERE IS_DEFINED(tags.site)`, `SELECT COUNT() AS n FROM devices WHERE IS_DEFINED(tags.site)`},
		{`SELECT count(*) FROM devices`, `SELECT COUNT() FROM devices`},
		{`SELECT properties.reported.state AS state, COUNT() AS n FROM devices GROUP BY properties.reported.state`,
			`SELECT properties.reported.state AS state, COUNT() AS n FROM devices GROUP BY properties.reported.state`},
		{`SELECT * FROM devices WHERE STARTSWITH(devices.deviceId,'x')`, `SELECT * FROM devices WHERE STARTS_WITH(deviceId, 'x')`},
		{`SELECT * FROM devices WHERE configurations.[[cfg-1]].status='Applied'`, `SELECT * FROM devices WHERE configurations.[[cfg-1]].status = 'Applied'`},
		{`SELECT * FROM devices WHERE tags[[a b]].x[2] = 0x1F`, `SELECT * FROM devices WHERE tags.[[a b]].x[2] = 31`},
		{`SELECT * FROM devices WHERE tags.1st = .5 or tags.in = 1`, `SELECT * FROM devices WHERE tags.1st = 0.5 OR tags.in = 1`},
		{`SELECT * FROM devices WHERE NOT (a = 1 OR b = 2) AND c`, `SELECT * FROM devices WHERE NOT (a = 1 OR b = 2) AND c`},
		{`SELECT * FROM devices WHERE a - (b - 1) - c = -1`, `SELECT * FROM devices WHERE a - (b - 1) - c = -1`},
		{`SELECT * FROM devices WHERE a = 'it\'s\u0041\n'`, `SELECT * FROM devices WHERE a = 'it\'sA\u000a'`},
		{`SELECT deviceId as DeviceId, status as Status, lastActivityTime as LastActivityTime, statusUpdatedTime as StatusUpdatedTime, authenticationType as AuthenticationType, cloudToDeviceMessageCount as CloudToDeviceMessageCount, connectionState as ConnectionState, capabilities.iotEdge as IotEdge, modelId as ModelId FROM devices`,
			`SELECT deviceId AS DeviceId, status AS Status, lastActivityTime AS LastActivityTime, statusUpdatedTime AS StatusUpdatedTime, authenticationType AS AuthenticationType, cloudToDeviceMessageCount AS CloudToDeviceMessageCount, connectionState AS ConnectionState, capabilities.iotEdge AS IotEdge, modelId AS ModelId FROM devices`},
	} {
		q, err := Parse(c.in)
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		if got := q.String(); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.in, got, c.want)
		}
	}
}

func TestErrorsSayWhereAndWhatWouldBeRight(t *testing.T) {
	for _, c := range []struct {
		in           string
		line, column int
		part         string
	}{
		{"", 1, 1, "the end of the query instead of SELECT"},
		{"SELECT * FROM", 1, 14, "instead of devices"},
		{"SELECT * FROM twins", 1, 15, `"twins" instead of devices`},
		{"SELECT * FROM devices.x", 1, 23, "instead of modules or jobs"},
		{"SELECT * FROM devices\nWHERE é ==", 2, 10, "instead of a path"},
		{"SELECT * FROM devices WHERE a = 'x", 1, 33, "a string without end"},
		{`SELECT * FROM devices WHERE a = '\q'`, 1, 34, "unknown escape"},
		{"SELECT * FROM devices WHERE a = 1 = 2", 1, 35, "after what is a whole query"},
		{"SELECT * FROM devices WHERE a LIKE 'x%'", 1, 31, "LIKE is not part"},
		{"SELECT * FROM devices ORDER BY a", 1, 23, "ORDER is not part"},
		{"SELECT DISTINCT a FROM devices", 1, 8, "GROUP BY"},
		{"SELECT TOP 0 * FROM devices", 1, 12, "TOP needs"},
		{"SELECT TOP 1.5 * FROM devices", 1, 12, "TOP needs"},
		{"SELECT a, COUNT() FROM devices", 1, 8, "column 1 is neither"},
		{"SELECT a, b, COUNT() AS n FROM devices GROUP BY a", 1, 8, "column 2 is neither"},
		{"SELECT * FROM devices GROUP BY a", 1, 8, "can't be grouped"},
		{"SELECT a, COUNT() AS n FROM devices GROUP BY a, b", 1, 47, "one path"},
		{"SELECT a, COUNT() AS n FROM devices.modules GROUP BY a", 1, 45, "devices only"},
		{"SELECT jobId FROM devices.jobs", 1, 8, "SELECT * only"},
		{"SELECT tags.a.x, tags.b.x FROM devices", 1, 8, "two columns are named x"},
		{"SELECT MEDIAN(a) FROM devices", 1, 8, "no aggregate"},
		{"SELECT a + 1 FROM devices", 1, 10, "instead of FROM"},
		{"SELECT * FROM devices WHERE nope(a)", 1, 29, "no function nope"},
		{"SELECT * FROM devices WHERE is_defined()", 1, 40, "at least 1"},
		{"SELECT * FROM devices WHERE is_defined(a, b)", 1, 43, "at most 1"},
		{"SELECT * FROM devices WHERE a IN [b]", 1, 35, "constants only"},
		{"SELECT * FROM devices WHERE a IN []", 1, 35, "instead of a path"},
		{"SELECT * FROM devices WHERE a[x] = 1", 1, 31, "index"},
		{"SELECT * FROM devices WHERE 1x = 1", 1, 29, "malformed number"},
		{"SELECT * FROM devices WHERE a & b", 1, 31, `"&" has no meaning`},
		{"SELECT * FROM devices WHERE [[a = 1", 1, 29, "[[ without ]]"},
		{"SELECT * FROM devices WHERE " + strings.Repeat("(", 100) + "a" + strings.Repeat(")", 100), 1, 93, "nested deeper"},
		{"SELECT * FROM devices WHERE " + strings.Repeat("NOT ", 100) + "a", 1, 281, "nested deeper"},
		{"SELECT * FROM devices WHERE a = '" + strings.Repeat("x", MaxText) + "'", 1, 1, "are allowed"},
		{"SELECT * FROM devices WHERE \xff", 1, 29, "UTF-8"},
	} {
		_, err := Parse(c.in)
		var e *Error
		if !errors.As(err, &e) || !errors.Is(err, device.ErrArgument) {
			t.Errorf("%.60s: error %v", c.in, err)
			continue
		}
		if e.Line != c.line || e.Column != c.column || !strings.Contains(e.Message, c.part) {
			t.Errorf("%.60s: %v, want line %d, column %d: …%s…", c.in, e, c.line, c.column, c.part)
		}
	}
}

func TestConditionsOfJobs(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"*", "SELECT * FROM devices"},
		{"  ", "SELECT * FROM devices"},
		{"deviceId IN ['d1']", "SELECT * FROM devices WHERE deviceId IN ['d1']"},
		{"FROM devices.modules WHERE devices.modules.moduleId = 'm'", "SELECT * FROM devices.modules WHERE moduleId = 'm'"},
		{"FROM devices", "SELECT * FROM devices"},
	} {
		q, err := ParseCondition(c.in)
		if err != nil || q.String() != c.want {
			t.Errorf("%q: %v, %v", c.in, q, err)
		}
	}
	for _, bad := range []string{"* AND a", "FROM devices.jobs WHERE a = 1", "a = ", "SELECT * FROM devices", "FROM devices a = 1"} {
		if q, err := ParseCondition(bad); !errors.Is(err, device.ErrArgument) {
			t.Errorf("%q: %v, %v", bad, q, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"SELECT * FROM devices", `SELECT a.[[b]][1], COUNT() FROM devices WHERE a IN [1,'x'] GROUP BY a`, "SELECT TOP 3 a AS b FROM devices.modules WHERE NOT -a * 2 < .5e3 OR f('\\u0041')"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		q, err := Parse(text)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Offset > len(text) || e.Line < 1 || e.Column < 1 {
				t.Fatalf("%q: %#v", text, err)
			}
			return
		}
		again, err := Parse(q.String())
		if err != nil {
			t.Fatalf("%q is printed as %q: %v", text, q, err)
		}
		if again.String() != q.String() {
			t.Fatalf("%q is printed as %q, then as %q", text, q, again)
		}
		q.Match(JSON(`{"a":{"b":[1,2]}}`))
	})
}
