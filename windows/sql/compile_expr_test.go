package sql

import (
	"strings"
	"testing"
)

// evaluate runs SELECT x FROM s over one payload and returns the value as
// JSON, with "!" and the reasons in front if there were row errors.
func evaluate(t testing.TB, x, payload string) (string, *Env) {
	t.Helper()
	queries, err := Compile("SELECT ("+x+") AS v FROM s", Options{})
	if err != nil {
		t.Fatalf("%s: %v", x, err)
	}
	q := queries[0]
	s := NewScanner(ScanOptions{}, q)
	env := s.Env(0)
	at, _ := parseDatetime("2024-02-29T12:34:56.1234567Z")
	if err := s.Scan([]byte(payload), &Envelope{Enqueued: at}); err != nil {
		t.Fatalf("%s: %v", payload, err)
	}
	row := string(q.AppendRow(nil, env))
	v := strings.TrimSuffix(strings.TrimPrefix(row, `{"v":`), "}")
	for _, e := range env.Errors {
		v = "!" + e.Reason + " " + v
	}
	return v, env
}

const evalPayload = `{"i":7,"j":-3,"big":9223372036854775807,"small":-9223372036854775808,"f":2.5,"z":0,"zf":0.0,
	"s":"Abc","n":null,"num":"12","bad":"x1","t":true,"no":false,"at":"2024-05-01T12:00:00+02:00",
	"r":{"a":1,"B":{"c":"deep"},"list":[10,20,{"k":"v"}]},"u":"žluť","w":"a b","exact":9007199254740993}`

func TestExpressions(t *testing.T) {
	for _, c := range []struct{ x, want string }{
		// arithmetic (semantics 6.6)
		{"i + j", "4"}, {"i - j", "10"}, {"i * j", "-21"}, {"i / j", "-2"}, {"i % j", "1"}, {"j % i", "-3"},
		{"i + f", "9.5"}, {"i / f", "2.8"}, {"i / 2.0", "3.5"}, {"5.5 % 2", "1.5"}, {"-5.5 % 2", "-1.5"},
		{"big + 1", "null"}, {"small - 1", "null"}, {"big * 2", "null"}, {"small * -1", "null"}, {"small / -1", "null"}, {"small % -1", "0"},
		{"-small", "null"}, {"-big", "-9223372036854775807"}, {"big + 0.0", "9223372036854776000"},
		{"3037000500 * 3037000500", "null"}, {"-3037000499 * 3037000499", "-9223372030926249001"},
		{"4611686018427387904 * -2", "-9223372036854775808"},
		{"i / z", "null"}, {"i % z", "null"}, {"f / zf", "null"}, {"1e308 * 10", "null"},
		{"n + 1", "null"}, {"1 + n * z", "null"},
		{"i & 3", "3"}, {"i | 8", "15"}, {"i ^ 1", "6"}, {"~i", "-8"}, {"-f", "-2.5"}, {"+f", "2.5"},
		{"s + w", `"Abca b"`}, {"s + 1", "!no arithmetic on nvarchar(max): CAST it first null"},
		{"t + 1", "!no arithmetic on bit: CAST it first null"}, {"-s", "!no - of nvarchar(max) null"},
		{"i & f", "!bitwise operators take bigints, not floats null"},
		{"missing", "null"}, {"r.missing.x", "null"}, {"s.x", "null"},
		// comparison (6.3)
		{"exact = 9007199254740992.0", "false"}, {"exact > 9007199254740992.0", "true"}, {"exact = 9007199254740993", "true"},
		{"big < 9223372036854775808.0", "true"}, {"big = 9223372036854775808.0", "false"}, {"i = 7.0", "true"}, {"i <> 7", "false"},
		{"num = 12", "true"}, {"num > 9", "true"}, {"num > '9'", "false"}, {"bad = 1", "null"}, {"1 <> bad", "null"}, {"13 > num", "true"},
		{"t = 1", "true"}, {"no = 0", "true"}, {"t = 'true'", "true"}, {"s = 'abc'", "false"}, {"s = 'Abc'", "true"},
		{"at < System.Timestamp()", "false"}, {"System.Timestamp() < '2024-03-01'", "true"}, {"r = r", "null"},
		{"CAST(at AS datetime) = '2024-05-01T10:00:00Z'", "true"},
		{"NULL = NULL", "null"}, {"n <> 1", "null"},
		// three-valued logic (6.4)
		{"n = 1 AND 1 = 2", "false"}, {"1 = 2 AND n = 1", "false"}, {"n = 1 AND 1 = 1", "null"}, {"n = 1 OR 1 = 1", "true"},
		{"n = 1 OR 1 = 2", "null"}, {"NOT n = 1", "null"}, {"NOT i = 1", "true"}, {"n IS NULL", "true"}, {"i IS NOT NULL", "true"},
		{"i BETWEEN 1 AND 7", "true"}, {"i NOT BETWEEN 1 AND 7", "false"}, {"i BETWEEN 8 AND n", "false"}, {"i BETWEEN n AND 8", "null"},
		{"i IN (1, 7.0)", "true"}, {"i IN (1, n)", "null"}, {"i NOT IN (1, n)", "null"}, {"i NOT IN (1, 2)", "true"}, {"n IN (1)", "null"}, {"i IN ('7')", "true"},
		{"t AND i", "true"}, {"no OR z", "false"}, {"s AND t", "null"},
		// conditional
		{"CASE WHEN n = 1 THEN 'a' WHEN i = 7 THEN 'b' ELSE 'c' END", `"b"`}, {"CASE WHEN n = 1 THEN 'a' END", "null"},
		{"CASE i WHEN 1 THEN 'a' WHEN 7.0 THEN 'b' END", `"b"`}, {"CASE n WHEN NULL THEN 1 ELSE 2 END", "2"},
		{"IIF(i > 1, s, w)", `"Abc"`}, {"IIF(n > 1, s, w)", `"a b"`}, {"COALESCE(n, missing, i)", "7"}, {"NULLIF(i, 7)", "null"}, {"NULLIF(i, 8)", "7"},
		{"IIF(1 = 1, 1, CAST('x' AS bigint))", "1"},
		// LIKE
		{"s LIKE 'A%'", "true"}, {"s LIKE 'a%'", "false"}, {"s LIKE '_b_'", "true"}, {"s LIKE '%c'", "true"}, {"s LIKE '[A-C]bc'", "true"},
		{"s LIKE '[^A-C]bc'", "false"}, {"'50%' LIKE '50[%]'", "true"}, {"'a[b' LIKE 'a[b'", "true"}, {"u LIKE 'žl_ť'", "true"}, {"n LIKE 'a'", "null"},
		{"i LIKE '7'", "true"}, {"s NOT LIKE '%x%'", "true"}, {"r LIKE 'a'", "!expected nvarchar, got record null"},
		// CAST (6.5, 6.7)
		{"CAST(num AS bigint)", "12"}, {"CAST(' 12 ' AS bigint)", "12"}, {"CAST('1.5' AS bigint)", "!nvarchar(max) value can't be cast to bigint null"},
		{"TRY_CAST('1.5' AS bigint)", "null"}, {"CAST(f AS bigint)", "2"}, {"CAST(-2.5 AS bigint)", "-2"}, {"CAST(1e300 AS bigint)", "!float value can't be cast to bigint null"},
		{"CAST('1e3' AS float)", "1000"}, {"TRY_CAST('NaN' AS float)", "null"}, {"TRY_CAST('Infinity' AS float)", "null"}, {"TRY_CAST('0x10' AS float)", "null"},
		{"TRY_CAST('1_0' AS float)", "null"}, {"TRY_CAST('1e999' AS float)", "null"}, {"CAST('NaN' AS float)", "!nvarchar(max) value can't be cast to float null"},
		{"CAST(f AS nvarchar(max))", `"2.5"`}, {"CAST(big AS nvarchar(max))", `"9223372036854775807"`}, {"CAST(t AS nvarchar(max))", `"1"`},
		{"CAST(r.list AS nvarchar(max))", `"[10,20,{\"k\":\"v\"}]"`}, {"CAST(at AS datetime)", `"2024-05-01T10:00:00.0000000Z"`},
		{"CAST(System.Timestamp() AS nvarchar(max))", `"2024-02-29T12:34:56.1234567Z"`}, {"TRY_CAST(i AS datetime)", "null"},
		{"CAST(i AS bit)", "true"}, {"CAST('false' AS bit)", "false"}, {"CAST(t AS bigint)", "1"}, {"CAST(n AS bigint)", "null"}, {"CAST(r AS record)", `{"a":1,"B":{"c":"deep"},"list":[10,20,{"k":"v"}]}`},
		// mathematics
		{"ABS(j)", "3"}, {"ABS(-2.5)", "2.5"}, {"ABS(small)", "null"}, {"CEILING(f)", "3"}, {"FLOOR(-2.5)", "-3"}, {"FLOOR(i)", "7"},
		{"EXP(0)", "1"}, {"EXP(1000)", "null"}, {"SQRT(9)", "3"}, {"SQRT(-1)", "null"}, {"SQUARE(j)", "9"}, {"POWER(2, 10)", "1024"}, {"POWER(10, 400)", "null"},
		{"SIGN(j)", "-1"}, {"SIGN(-2.5)", "-1"}, {"ROUND(2.345, 2)", "2.35"}, {"ROUND(-2.5)", "-3"}, {"ROUND(1250, -2)", "1300"}, {"ROUND(1249, -2)", "1200"}, {"ROUND(big, -1)", "null"},
		{"ROUND(12345.678, -2)", "12300"}, {"ROUND(1e300, 5)", "1e+300"}, {"ABS(s)", "!expected a number, got nvarchar(max) null"}, {"ABS(n)", "null"},
		// strings
		{"LEN(u)", "4"}, {"UPPER(u)", `"ŽLUŤ"`}, {"LOWER(s)", `"abc"`}, {"TRIM('  a ')", `"a"`}, {"LTRIM('  a ')", `"a "`}, {"RTRIM('  a ')", `"  a"`},
		{"REVERSE(u)", `"ťulž"`}, {"UNICODE(u)", "382"}, {"NCHAR(382)", `"ž"`}, {"NCHAR(55296)", "null"}, {"CONCAT(s, n, i, t)", `"Abc71"`}, {"CONCAT_WS('-', s, n, i)", `"Abc-7"`},
		{"LEFT(u, 2)", `"žl"`}, {"RIGHT(u, 2)", `"uť"`}, {"LEFT(s, 99)", `"Abc"`}, {"RIGHT(s, 0)", `""`}, {"RIGHT(u, 9223372036854775807)", `"žluť"`},
		{"SUBSTRING(s, 2, 1)", `"b"`}, {"SUBSTRING(s, 0, 2)", `"A"`}, {"SUBSTRING(s, 3, 99)", `"c"`}, {"SUBSTRING(s, 9, 1)", `""`}, {"SUBSTRING(s, -9223372036854775808, 9223372036854775807)", `""`},
		{"SUBSTRING(s, 1, -1)", "!expected a length that is not negative null"},
		{"REPLACE(s, 'b', 'XX')", `"AXXc"`}, {"REPLACE(s, '', 'X')", `"Abc"`}, {"REPLICATE('ab', 3)", `"ababab"`}, {"REPLICATE('ab', 9999999)", "null"}, {"SPACE(2)", `"  "`},
		{"CHARINDEX('c', s)", "3"}, {"CHARINDEX('x', s)", "0"}, {"CHARINDEX('u', u)", "3"}, {"CHARINDEX('b', 'abcb', 3)", "4"},
		{"PATINDEX('%b%', s)", "2"}, {"PATINDEX('b%', s)", "0"}, {"PATINDEX('%u_', u)", "3"}, {"PATINDEX('%', s)", "1"},
		{"REGEXMATCH(s, '^[A-Z]')", "1"}, {"REGEXMATCH(s, '^z')", "0"}, {"REGEXMATCH(n, 'a')", "null"}, {"LEN(r)", "!expected nvarchar, got record null"},
		// dates
		{"DATEADD(day, 1, at)", `"2024-05-02T10:00:00.0000000Z"`}, {"DATEADD(month, 1, '2024-01-31')", `"2024-02-29T00:00:00.0000000Z"`},
		{"DATEADD(yy, -1, '2024-02-29')", `"2023-02-28T00:00:00.0000000Z"`}, {"DATEADD(quarter, 1, '2023-11-30')", `"2024-02-29T00:00:00.0000000Z"`},
		{"DATEADD(ms, i, '1970-01-01T00:00:00Z')", `"1970-01-01T00:00:00.0070000Z"`}, {"DATEADD(ms, big, '1970-01-01')", "null"}, {"DATEADD(year, 8000, at)", "null"},
		{"DATEADD(mcs, 1, '0001-01-01')", `"0001-01-01T00:00:00.0000010Z"`}, {"DATEADD(second, -1, '0001-01-01')", "null"}, {"DATEADD(second, f, '2024-01-01')", `"2024-01-01T00:00:02.0000000Z"`},
		{"DATEADD(day, 1, s)", "!not a datetime null"}, {"DATEADD(day, s, at)", "!expected a whole number, got nvarchar(max) null"}, {"DATEADD(ms, s, '1970-01-01')", "!expected a whole number, got nvarchar(max) null"},
		{"DATEDIFF(minute, '2024-01-01T00:00:59.9Z', '2024-01-01T00:01:00.1Z')", "1"}, {"DATEDIFF(year, '2023-12-31', '2024-01-01')", "1"},
		{"DATEDIFF(second, '1969-12-31T23:59:59.5Z', '1970-01-01T00:00:00.5Z')", "1"}, {"DATEDIFF(week, '2024-05-04', '2024-05-05')", "1"}, {"DATEDIFF(day, at, '2024-05-01')", "0"},
		{"DATEDIFF(nanosecond, '0001-01-01', '9999-12-31')", "null"}, {"DATEDIFF(quarter, '2024-03-31', '2024-04-01')", "1"},
		{"DATEPART(year, at)", "2024"}, {"DATEPART(dayofyear, '2024-12-31')", "366"}, {"DATEPART(weekday, '2024-05-05')", "1"}, {"DATEPART(week, '2024-01-01')", "1"},
		{"DATEPART(week, '2024-01-07')", "2"}, {"DATEPART(iso_week, '2024-12-30')", "1"}, {"DATEPART(isowk, '2021-01-03')", "53"}, {"DATEPART(ms, System.Timestamp())", "123"}, {"DATEPART(mcs, System.Timestamp())", "123456"},
		{"DATEPART(ns, System.Timestamp())", "123456700"}, {"DATENAME(month, at)", `"May"`}, {"DATENAME(dw, '2024-05-05')", `"Sunday"`}, {"DATENAME(hour, at)", `"10"`},
		{"DAY(at)", "1"}, {"MONTH(at)", "5"}, {"YEAR(at)", "2024"}, {"DATETIMEFROMPARTS(2024, 2, 29, 1, 2, 3, 4)", `"2024-02-29T01:02:03.0040000Z"`}, {"DATETIMEFROMPARTS(2023, 2, 29, 1, 2, 3, 4)", "!no such date or time null"},
		// records and arrays
		{"r.a", "1"}, {"R.b.C", `"deep"`}, {"r.B", `{"c":"deep"}`}, {"GetArrayElement(r.list, 1)", "20"}, {"GetArrayElement(r.list, 5)", "null"}, {"GetArrayLength(r.list)", "3"},
		{"GetRecordPropertyValue(GetArrayElement(r.list, 2), 'K')", `"v"`}, {"GetRecordPropertyValue(r, 'nope')", "null"}, {"GetType(r)", `"record"`}, {"GetType(r.list)", `"array"`}, {"GetType(i)", `"bigint"`}, {"GetType(n)", `"null"`},
		{"GetArrayLength(r)", "!expected an array, got record null"}, {"JSON_PARSE('{\"a\":[1,2.0]}')", `{"a":[1,2]}`}, {"JSON_PARSE(s)", "!not JSON null"}, {"JSON_PARSE('1 2')", "!not JSON null"},
		{"System.Timestamp", `"2024-02-29T12:34:56.1234567Z"`},
	} {
		got, _ := evaluate(t, c.x, evalPayload)
		if got != c.want {
			t.Errorf("%s = %s, want %s", c.x, got, c.want)
		}
	}
}

func TestWhatBecomesNullIsCounted(t *testing.T) {
	for _, c := range []struct {
		x    string
		want Counts
	}{
		{"i / z + 1 % z + f / zf", Counts{DivisionsByZero: 3}},
		{"big + 1", Counts{Overflows: 1}},
		{"1 / 0", Counts{DivisionsByZero: 1}}, // constants, too: every row reports it
		{"1e308 * 10", Counts{Overflows: 1}},
		{"SQRT(-1)", Counts{Overflows: 1}},
		{"DATEADD(year, 9999, at)", Counts{Overflows: 1}},
		{"REPLICATE('x', 2000000)", Counts{Overflows: 1}},
		{"n + 1", Counts{}},
	} {
		if _, env := evaluate(t, c.x, evalPayload); env.Counts != c.want {
			t.Errorf("%s counts %+v, want %+v", c.x, env.Counts, c.want)
		}
	}
}

func TestRowErrorsNameExpressionAndValue(t *testing.T) {
	_, env := evaluate(t, "1 + CAST(bad AS bigint)", evalPayload)
	if len(env.Errors) != 1 {
		t.Fatalf("errors %v", env.Errors)
	}
	e := env.Errors[0]
	if e.Expr != "CAST(bad AS bigint)" || e.Value.Str() != "x1" {
		t.Errorf("error %+v", e)
	}
	_, env = evaluate(t, strings.Repeat("CAST(bad AS bigint) + ", 40)+"1", evalPayload)
	if len(env.Errors) != MaxRowErrors {
		t.Errorf("%d errors, want %d", len(env.Errors), MaxRowErrors)
	}
}

func TestLongExpressionsRun(t *testing.T) {
	got, _ := evaluate(t, strings.Repeat("i + ", 1000)+"i", evalPayload)
	if got != "7007" {
		t.Errorf("sum %s", got)
	}
}
