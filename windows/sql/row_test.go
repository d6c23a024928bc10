package sql

import (
	"encoding/json"
	"math"
	"strconv"
	"testing"

	"github.com/gemello/gemello/windows"
)

func TestResultRowsAndTheirKeys(t *testing.T) {
	at, _ := parseDatetime("2024-05-01T10:00:00Z")
	const from = " FROM s GROUP BY "
	text := func(s string) windows.Value { return windows.StringOf(s) }
	for _, c := range []struct {
		text    string
		keys    []windows.Value
		results []windows.Value
		row     string // "" if HAVING refuses it
		key     string
	}{
		{"SELECT deviceId, COUNT(*) AS n" + from + "deviceId, Tumbling(minute, 1)", []windows.Value{text("d\"1")}, []windows.Value{windows.BigintOf(3)},
			`{"deviceId":"d\"1","n":3}`, `d"1`},
		{"SELECT UPPER(deviceId) AS d, System.WindowStart() AS a, System.WindowEnd() AS b, System.Timestamp AS c" + from + "deviceId, Tumbling(minute, 1)", []windows.Value{text("d1")}, nil,
			`{"d":"D1","a":"2024-05-01T09:59:00.0000000Z","b":"2024-05-01T10:00:00.0000000Z","c":"2024-05-01T10:00:00.0000000Z"}`, "d1"},
		{"SELECT site, deviceId" + from + "deviceId, site, Tumbling(minute, 1)", []windows.Value{text("d1"), text("s1")}, nil,
			`{"site":"s1","deviceId":"d1"}`, `["d1","s1"]`},
		{"SELECT n + 1 AS m, deviceId" + from + "deviceId, n, Tumbling(minute, 1)", []windows.Value{text("d1"), windows.BigintOf(4)}, nil,
			`{"m":5,"deviceId":"d1"}`, `["d1",4]`},
		{"SELECT deviceId" + from + "deviceId, Tumbling(minute, 1)", []windows.Value{{}}, nil, `{"deviceId":null}`, ""},
		{"SELECT deviceId" + from + "deviceId, Tumbling(minute, 1)", []windows.Value{text("")}, nil, `{"deviceId":""}`, ""},
		{"SELECT deviceId" + from + "deviceId, Tumbling(minute, 1)", []windows.Value{text("a\x00b")}, nil, `{"deviceId":"a\u0000b"}`, "a\x00b"},
		{"SELECT deviceId" + from + "deviceId, Tumbling(minute, 1)", []windows.Value{windows.BigintOf(7)}, nil, `{"deviceId":7}`, "7"},
		{"SELECT deviceId, SUM(x) AS s" + from + "deviceId, Tumbling(minute, 1) HAVING SUM(x) > 10", []windows.Value{text("d1")}, []windows.Value{windows.FloatOf(10.5)},
			`{"deviceId":"d1","s":10.5}`, "d1"},
		{"SELECT deviceId, SUM(x) AS s" + from + "deviceId, Tumbling(minute, 1) HAVING SUM(x) > 10", []windows.Value{text("d1")}, []windows.Value{windows.FloatOf(9.5)}, "", ""},
		{"SELECT deviceId, SUM(x) AS s" + from + "deviceId, Tumbling(minute, 1) HAVING s > 10", []windows.Value{text("d1")}, []windows.Value{{}}, "", ""},
		{"SELECT deviceId, COUNT(*) AS n" + from + "deviceId, Tumbling(minute, 1) HAVING N >= 2 AND deviceId <> 'd2'", []windows.Value{text("d1")}, []windows.Value{windows.BigintOf(2)},
			`{"deviceId":"d1","n":2}`, "d1"},
		// An alias that shadows the column it is made of means the alias.
		{"SELECT deviceId, COUNT(*) + 1 AS deviceid2, MAX(x) AS x" + from + "deviceId, Tumbling(minute, 1) HAVING x = 5 AND deviceid2 = 3",
			[]windows.Value{text("d1")}, []windows.Value{windows.BigintOf(2), windows.BigintOf(5)}, `{"deviceId":"d1","deviceid2":3,"x":5}`, "d1"},
	} {
		q := compileOne(t, c.text)
		env := q.NewEnv()
		if err := env.SetResult(windows.AppendTuple(nil, c.keys...), c.results, at-windows.Minute, at); err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		row, key := "", ""
		if q.Keep(env) {
			row, key = string(q.AppendRow(nil, env)), string(q.AppendRowKey(nil, env))
		}
		if row != c.row || key != c.key {
			t.Errorf("%s:\n got %s %q\nwant %s %q", c.text, row, key, c.row, c.key)
		}
	}
}

func TestColumnsOfTheWindowFollowTheWindow(t *testing.T) {
	q := compileOne(t, "SELECT DATEDIFF(second, '1970-01-01', System.Timestamp()) AS e, 1 / (DATEDIFF(second, '1970-01-01', System.Timestamp()) - 120) AS x, 'c' AS c FROM s GROUP BY deviceId, Tumbling(minute, 1)")
	env := q.NewEnv()
	key := windows.AppendTuple(nil, windows.StringOf("d"))
	for _, c := range []struct {
		end  windows.Tick
		want string
	}{
		{60 * windows.Second, `{"e":60,"x":0,"c":"c"}`}, {60 * windows.Second, `{"e":60,"x":0,"c":"c"}`},
		{120 * windows.Second, `{"e":120,"x":null,"c":"c"}`}, {120 * windows.Second, `{"e":120,"x":null,"c":"c"}`}, {60 * windows.Second, `{"e":60,"x":0,"c":"c"}`},
	} {
		if err := env.SetResult(key, nil, c.end-windows.Minute, c.end); err != nil {
			t.Fatal(err)
		}
		if got := string(q.AppendRow(nil, env)); got != c.want {
			t.Errorf("row %s, want %s", got, c.want)
		}
	}
	if env.Counts.DivisionsByZero != 2 {
		t.Errorf("%d divisions by zero counted, want one for each row", env.Counts.DivisionsByZero)
	}
}

func TestAForeignKeyIsRefused(t *testing.T) {
	q := compileOne(t, "SELECT deviceId FROM s GROUP BY deviceId, Tumbling(minute, 1)")
	env := q.NewEnv()
	for _, key := range [][]byte{nil, {0x18, 'a'}, {0xee}, windows.AppendTuple(nil, windows.StringOf("a"), windows.StringOf("b"))} {
		if err := env.SetResult(key, nil, 0, 1); err == nil {
			t.Errorf("key %x is taken", key)
		}
	}
}

func TestFloatsAreWrittenInTheShortestForm(t *testing.T) {
	for _, c := range []struct {
		f    float64
		want string
	}{
		{0, "0"}, {math.Copysign(0, -1), "0"}, {1, "1"}, {-1, "-1"}, {0.1, "0.1"}, {-21.37, "-21.37"}, {0.000001, "0.000001"}, {0.0000001, "1e-07"},
		{1.5e-7, "1.5e-07"}, {123456789.125, "123456789.125"}, {999999999.999999, "999999999.999999"}, {1e15, "1000000000000000"}, {1e20, "100000000000000000000"},
		{1e21, "1e+21"}, {1.7976931348623157e308, "1.7976931348623157e+308"}, {5e-324, "5e-324"}, {0.30000000000000004, "0.30000000000000004"},
		{math.NaN(), "null"}, {math.Inf(1), "null"}, {math.Inf(-1), "null"}, {1e9 + 0.001, "1000000000.001"}, {1e12 + 0.5, "1000000000000.5"},
	} {
		if got := string(appendFloat(nil, c.f)); got != c.want {
			t.Errorf("%g is written %s, want %s", c.f, got, c.want)
		}
	}
}

func FuzzFloatsAgainstTheStandardLibrary(f *testing.F) {
	for _, x := range []float64{21.37, 256.44000000000005, 0.1, 1e-7, 999999999.9999995, 123456.7890125, 0.0000015, 2.2250738585072014e-308} {
		f.Add(math.Float64bits(x), int32(2137), uint8(2))
	}
	check := func(t *testing.T, x float64) {
		if x != x || math.IsInf(x, 0) || x == 0 {
			return
		}
		format := byte('f')
		if a := math.Abs(x); a < 1e-6 || a >= 1e21 {
			format = 'e'
		}
		want := strconv.FormatFloat(x, format, -1, 64)
		if got := string(appendFloat(nil, x)); got != want {
			t.Fatalf("%g is written %s, want %s", x, got, want)
		}
	}
	f.Fuzz(func(t *testing.T, bits uint64, n int32, decimals uint8) {
		check(t, math.Float64frombits(bits))
		x := float64(n) / pow10[decimals%10]
		check(t, x)
		check(t, x*3)
		check(t, math.Nextafter(x, 1e300))
	})
}

func FuzzQuotedStringsAreJSON(f *testing.F) {
	f.Add("a\"\\\n\r\t\x00\x1f\x7f é😀\xff\xc3")
	f.Fuzz(func(t *testing.T, s string) {
		var got, want string
		if err := json.Unmarshal(appendQuoted(nil, s), &got); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		b, _ := json.Marshal(s)
		if err := json.Unmarshal(b, &want); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Fatalf("%q comes back as %q, want %q", s, got, want)
		}
	})
}

func TestNothingIsAllocatedInSteadyState(t *testing.T) {
	q := compileOne(t, hoppingQuery)
	p := compileOne(t, "SELECT deviceId, temperature * 1.8 + 32 AS f FROM [telemetry] WHERE temperature > 20 AND status = 'ok'")
	s := NewScanner(ScanOptions{}, q, p)
	payloads := [][]byte{[]byte(benchPayload), []byte(`{"status":"\u006fk","ts":1,"temperature":99,"deviceId":"d2"}`)}
	envelope := &Envelope{}
	var key, row []byte
	var args []windows.Value
	results := []windows.Value{windows.BigintOf(12), windows.FloatOf(256.44), windows.FloatOf(0.1234567890123), windows.FloatOf(22.5)}
	run := func() {
		for _, data := range payloads {
			if err := s.Scan(data, envelope); err != nil {
				t.Fatal(err)
			}
			env := s.Env(0)
			if _, ok := q.EventTime(env); !ok || !p.Accept(s.Env(1)) {
				t.Fatal("record refused")
			}
			key = q.AppendKey(key[:0], env)
			args = q.AppendArgs(args[:0], env)
			row = p.AppendRow(row[:0], s.Env(1))
			if err := env.SetResult(key, results, 0, windows.Minute); err != nil || !q.Keep(env) {
				t.Fatal("result refused", err)
			}
			row = q.AppendRow(row[:0], env)
			row = q.AppendRowKey(row[:0], env)
		}
	}
	run()
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("%v allocations a run, want none", n)
	}
}
