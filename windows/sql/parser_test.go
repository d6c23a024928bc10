package sql

import (
	"os"
	"strings"
	"testing"
)

// examples are the example queries of the semantics, section 14, by name.
func examples(t testing.TB) map[string]string {
	t.Helper()
	b, err := os.ReadFile("testdata/examples.sql")
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]string{}
	for _, part := range strings.Split(string(b), "-- Q")[1:] {
		name, _, _ := strings.Cut(part, " ")
		m["Q"+name] = "-- Q" + part
	}
	return m
}

func TestExamplesSurviveThePrinter(t *testing.T) {
	m := examples(t)
	if len(m) != 28 {
		t.Fatalf("%d examples, want 28", len(m))
	}
	for name, text := range m {
		roundTrip(t, name, text)
	}
}

func roundTrip(t *testing.T, name, text string) {
	t.Helper()
	s, err := parse(text)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	once := printScript(s)
	s, err = parse(once)
	if err != nil {
		t.Errorf("%s: printed text does not parse: %v\n%s", name, err, once)
		return
	}
	if twice := printScript(s); twice != once {
		t.Errorf("%s: printing changed the query:\n%s%s", name, once, twice)
	}
}

func TestExpressionsPrintInOneSpelling(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"a+b*c", "a + b * c"},
		{"(a+b)*c", "(a + b) * c"},
		{"a-(b-c)", "a - (b - c)"},
		{"(a-b)-c", "a - b - c"},
		{"a - -5", "a - -5"},
		{"-(5)", "-(5)"},
		{"- - a", "-(-a)"},
		{"-(-a)", "-(-a)"},
		{"-(+a)", "-+a"},
		{"~a", "~a"},
		{"not a=1 and b<>2 or c>=3", "NOT a = 1 AND b <> 2 OR c >= 3"},
		{"not (a=1 and b!=2)", "NOT (a = 1 AND b <> 2)"},
		{"(a = b) is null", "(a = b) IS NULL"},
		{"a is not null", "a IS NOT NULL"},
		{"x not between 1 and 2+3", "x NOT BETWEEN 1 AND 2 + 3"},
		{"x not in (1,'two',null)", "x NOT IN (1, 'two', NULL)"},
		{"x like N'50''s%'", "x LIKE '50''s%'"},
		{"case when a then 1 end", "CASE WHEN a THEN 1 END"},
		{"case a when 1 then 2 else 3 end", "CASE a WHEN 1 THEN 2 ELSE 3 END"},
		{"try_cast(x as nvarchar(max))", "TRY_CAST(x AS nvarchar(max))"},
		{"[a b].c.[d]]e]", "[a b].c.[d]]e]"},
		{"left(x, 2)", "left(x, 2)"},
		{"system.timestamp", "System.Timestamp()"},
		{"[system].timestamp", "[system].[timestamp]"},
		{"count(distinct x)", "count(DISTINCT x)"},
		{"f(distinct)", "f([distinct])"},
		{"1.50", "1.5"},
		{"1e3", "1000.0"},
		{"9223372036854775807", "9223372036854775807"},
		{"-9223372036854775808", "-9223372036854775808"},
		{"9223372036854775808", "9.223372036854775808e+18"},
		{"/* a /* nested */ comment */ a -- rest", "a"},
		{"lag(x, 1, 0) over (partition by d, e order by a desc, b limit duration(hour, 1) when x > 0)",
			"lag(x, 1, 0) OVER (PARTITION BY d, e ORDER BY a DESC, b LIMIT Duration(hour, 1) WHEN x > 0)"},
	} {
		s, err := parse("SELECT (" + c.text + "\n) FROM s")
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		got := printExpr(s.statements[0].queries[0].items[0].expr)
		if want := strings.Replace(c.want, "9.223372036854775808e+18", "9.223372036854776e+18", 1); got != want {
			t.Errorf("%s prints as %s, want %s", c.text, got, want)
		}
		roundTrip(t, c.text, "SELECT ("+c.text+"\n) FROM s")
	}
}

func TestParseErrorsNameThePlaceAndWhatMayStandThere(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "line 1, column 1: nothing to run, expected SELECT"},
		{"SELEC 1", "line 1, column 1: unexpected 'SELEC', expected SELECT, WITH or CREATE TABLE"},
		{"SELECT a FROM", "line 1, column 14: unexpected the end of the text, expected a source name"},
		{"SELECT a,\n  FROM s", "line 2, column 3: unexpected 'FROM', expected an expression"},
		{"SELECT a FROM s WHERE a = 1 = 2", "line 1, column 29: unexpected '=', expected SELECT, WITH or CREATE TABLE"},
		{"SELECT a FROM s WHERE (a", "line 1, column 25: unexpected the end of the text, expected ')'"},
		{"SELECT 'é' + 'a FROM s", "line 1, column 14: string does not end, expected closing '"},
		{"SELECT a FROM a-b", "line 1, column 16: unexpected '-', expected [a-…] in brackets"},
		{"SELECT \"a\" FROM s", "line 1, column 8: double quotes are not used, expected 'text' or [name]"},
		{"SELECT a # b FROM s", "line 1, column 10: character '#' is not part of the language"},
		{"SELECT 12ab FROM s", "line 1, column 8: 12 runs into a name, expected a number"},
		{"SELECT 1e999 FROM s", "line 1, column 8: number 1e999 is out of range, expected a number within ±1.8e308"},
		{"SELECT a FROM s /* x", "line 1, column 17: comment does not end, expected */"},
		{"SELECT a FROM s ORDER BY a", "line 1, column 17: ORDER BY is not part of the language: rows of a stream come in the order of time"},
		{"SELECT DISTINCT a FROM s", "line 1, column 8: SELECT DISTINCT is not part of the language, expected GROUP BY"},
		{"SELECT a FROM s WHERE a IN (SELECT 1)", "line 1, column 29: subqueries are not part of the language, expected a list of values"},
		{"SELECT a FROM s RIGHT JOIN b ON 1=1", "line 1, column 17: RIGHT JOIN is not part of the language, expected INNER JOIN or LEFT JOIN"},
		{"SELECT a FROM s GROUP BY TumblingWindow(month, 1)", "line 1, column 41: unexpected 'month', expected day, hour, minute, second, millisecond or microsecond"},
		{"SELECT a FROM s GROUP BY Tumbling(second, 1.5)", "line 1, column 43: unexpected number 1.5, expected a whole number"},
		{"SELECT System.Now() FROM s", "line 1, column 8: System has no Now, expected System.Timestamp(), System.WindowStart(), System.WindowEnd(), or [system] for a column"},
		{"SELECT a FROM s MATCH_RECOGNIZE (", "line 1, column 17: not supported yet: MATCH_RECOGNIZE"},
		{"SELECT a\xff FROM s", "line 1, column 9: text is not valid UTF-8"},
		{"SELECT " + strings.Repeat("(", 500) + "a", "line 1, column 136: nested more than 128 deep"},
		{"SELECT " + strings.Repeat("- ", 500) + "a", "line 1, column 264: nested more than 128 deep"},
		{"SELECT a" + strings.Repeat("+a", 5000) + " FROM s", "line 1, column 4104: more than 4096 operators and operands"},
		{strings.Repeat(" ", MaxText+1), "line 1, column 1: text of 65537 bytes is longer than the limit of 65536"},
	} {
		_, err := parse(c.text)
		if err == nil {
			t.Errorf("%.60q: no error", c.text)
			continue
		}
		if _, ok := err.(*Error); !ok || err.Error() != c.want {
			t.Errorf("%.60q:\n got %v\nwant %s", c.text, err, c.want)
		}
	}
}

func FuzzParserRoundTrip(f *testing.F) {
	for _, text := range examples(f) {
		f.Add(text)
	}
	f.Add("SELECT -(-1), a = b.c, [x]].y] AS 'z' FROM [a.b] t WHERE NOT a LIKE 'x' AND CASE a WHEN 1 THEN 2 END IN (1, -2.5e3)")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parse(text)
		if err != nil {
			if _, ok := err.(*Error); !ok {
				t.Fatalf("%T is no *Error", err)
			}
			return
		}
		once := printScript(s)
		s2, err := parse(once)
		if err != nil {
			// Spelling a short text out may pass the limits.
			if len(once) > MaxText || strings.Contains(err.Error(), "nested more") {
				return
			}
			t.Fatalf("printed text does not parse: %v\n%s", err, once)
		}
		if twice := printScript(s2); twice != once {
			t.Fatalf("printing changed the query:\n%s%s", once, twice)
		}
	})
}
