package sql

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gemello/gemello/windows"
)

// run takes payloads through a windowed query and its operator and returns the
// rows, in order, once the watermark is beyond everything.
func run(t *testing.T, q *Query, payloads ...string) []string {
	t.Helper()
	s := NewScanner(ScanOptions{}, q)
	env, rows := s.Env(0), q.NewEnv()
	op, err := windows.New(windows.Options{Window: *q.Window, Aggregates: q.Aggregates})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for i, p := range payloads {
		if err := s.Scan([]byte(p), &Envelope{}); err != nil {
			t.Fatal(err)
		}
		ts, ok := q.EventTime(env)
		if !ok {
			t.Fatalf("%s: %v", p, env.Errors)
		}
		env.Timestamp = ts
		if !q.Accept(env) {
			continue
		}
		o := op.Add(int64(i), ts, q.AppendKey(nil, env), q.AppendArgs(nil, env))
		if o.Refused != 0 {
			out = append(out, fmt.Sprintf("record %d refused by aggregates %b", i, o.Refused))
		}
	}
	err = op.Fire(windows.MaxTick, func(r *windows.Result) error {
		if err := rows.SetResult(r.Key, r.Values, r.Start, r.End); err != nil {
			return err
		}
		if !q.Keep(rows) {
			return nil
		}
		row := string(q.AppendRow(nil, rows))
		for _, e := range r.Errors {
			row += " error of " + q.Aggregates[e.Aggregate].Kind.String()
		}
		out = append(out, row)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

const secondsOf = " FROM s TIMESTAMP BY DATEADD(millisecond, CAST(t * 1000 AS bigint), '1970-01-01') "

func TestTumblingEdges15A(t *testing.T) {
	q := compileOne(t, "SELECT DATEDIFF(second, '1970-01-01', System.Timestamp()) AS e, deviceId, COUNT(*) AS n, SUM(v) AS s"+
		secondsOf+"GROUP BY deviceId, Tumbling(second, 10)")
	payloads := []string{
		`{"deviceId":"d1","t":0,"v":5}`, `{"deviceId":"d1","t":3,"v":7}`, `{"deviceId":"d1","t":10,"v":1}`,
		`{"deviceId":"d1","t":10.001,"v":2}`, `{"deviceId":"d1","t":20,"v":4}`, `{"deviceId":"d2","t":20,"v":9}`,
	}
	want := []string{`{"e":0,"deviceId":"d1","n":1,"s":5}`, `{"e":10,"deviceId":"d1","n":2,"s":8}`, `{"e":20,"deviceId":"d1","n":2,"s":6}`, `{"e":20,"deviceId":"d2","n":1,"s":9}`}
	compareRows(t, run(t, q, payloads...), want)
	q = compileOne(t, q.String()+" WINDOW BOUNDS START")
	want = []string{`{"e":10,"deviceId":"d1","n":2,"s":12}`, `{"e":20,"deviceId":"d1","n":2,"s":3}`, `{"e":30,"deviceId":"d1","n":1,"s":4}`, `{"e":30,"deviceId":"d2","n":1,"s":9}`}
	compareRows(t, run(t, q, payloads...), want)
}

func compareRows(t *testing.T, got, want []string) {
	t.Helper()
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("rows\n%s\nwant\n%s", g, w)
	}
}

func TestHoppingThatDoesNotDivide15C(t *testing.T) {
	queries, err := Compile("SELECT DATEDIFF(second, '1970-01-01', System.Timestamp()) AS e, SUM(v) AS s"+secondsOf+"GROUP BY Hopping(second, 10, 7)",
		Options{SinglePartition: true, UnixOrigin: true})
	if err != nil {
		t.Fatal(err)
	}
	got := run(t, queries[0], `{"t":-8,"v":1}`, `{"t":-3,"v":2}`, `{"t":0,"v":4}`, `{"t":4,"v":8}`, `{"t":7,"v":16}`)
	compareRows(t, got, []string{`{"e":-7,"s":1}`, `{"e":0,"s":7}`, `{"e":7,"s":28}`, `{"e":14,"s":16}`})
}

func TestNumbers15K(t *testing.T) {
	queries, err := Compile(`SELECT k, COUNT(*) AS n, COUNT(x) AS c, SUM(x) AS s, AVG(x) AS a, MIN(x) AS lo, MAX(x) AS hi, IIF(k = 'b', VAR(x), 0) AS v, IIF(k = 'b', VARP(x), 0) AS p`+
		secondsOf+`GROUP BY k, Tumbling(second, 10)`, Options{SinglePartition: true})
	if err != nil {
		t.Fatal(err)
	}
	var payloads []string
	for _, c := range []struct{ key, inputs string }{
		{"a", "9007199254740992, 9007199254740993, null"}, {"b", "-5, 3, -7"}, {"c", "9223372036854775807, 1"}, {"d", "9223372036854775807, 1, -5"},
		{"e", "1, 2.5, null"}, {"g", "null, null"}, {"h", `1, 1.0, "1"`}, {"i", "1e16, 1.0, -1e16"},
	} {
		for _, x := range strings.Split(c.inputs, ", ") {
			payloads = append(payloads, `{"t":1,"k":"`+c.key+`","x":`+x+`}`)
		}
	}
	got := run(t, queries[0], payloads...)
	compareRows(t, got, []string{
		"record 18 refused by aggregates 11001100",
		`{"k":"a","n":3,"c":2,"s":18014398509481985,"a":9007199254740992,"lo":9007199254740992,"hi":9007199254740993,"v":0,"p":0}`,
		`{"k":"b","n":3,"c":3,"s":-9,"a":-3,"lo":-7,"hi":3,"v":28,"p":18.666666666666668}`,
		`{"k":"c","n":2,"c":2,"s":null,"a":4611686018427388000,"lo":1,"hi":9223372036854775807,"v":0,"p":0} error of SUM`,
		`{"k":"d","n":3,"c":3,"s":9223372036854775803,"a":3074457345618258400,"lo":-5,"hi":9223372036854775807,"v":0,"p":0}`,
		`{"k":"e","n":3,"c":2,"s":3.5,"a":1.75,"lo":1,"hi":2.5,"v":0,"p":0}`,
		`{"k":"g","n":2,"c":0,"s":null,"a":null,"lo":null,"hi":null,"v":0,"p":0}`,
		`{"k":"h","n":3,"c":3,"s":2,"a":1,"lo":1,"hi":"1","v":0,"p":0}`,
		`{"k":"i","n":3,"c":3,"s":1,"a":0.3333333333333333,"lo":-10000000000000000,"hi":10000000000000000,"v":0,"p":0}`,
	})
}

func TestAGroupWithoutAggregates(t *testing.T) {
	q := compileOne(t, "SELECT deviceId"+secondsOf+"GROUP BY deviceId, Tumbling(second, 10)")
	got := run(t, q, `{"t":1,"deviceId":"a"}`, `{"t":2,"deviceId":"b"}`, `{"t":3,"deviceId":"a"}`)
	compareRows(t, got, []string{`{"deviceId":"a"}`, `{"deviceId":"b"}`})
}
