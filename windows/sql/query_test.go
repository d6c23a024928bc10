package sql

import (
	"testing"

	"github.com/gemello/gemello/windows"
)

const hoppingQuery = `SELECT deviceId, DATEDIFF(millisecond,'1970-01-01T00:00:00Z',System.Timestamp()) - 60000 AS windowStart,
	DATEDIFF(millisecond,'1970-01-01T00:00:00Z',System.Timestamp()) AS windowEnd,
	COUNT(*) AS count, SUM(temperature) AS sum, MIN(temperature) AS min, MAX(temperature) AS max
	INTO [out-ours] FROM [telemetry] TIMESTAMP BY DATEADD(millisecond, ts, '1970-01-01T00:00:00Z')
	GROUP BY deviceId, HoppingWindow(second, 60, 5)`

func compileOne(t testing.TB, text string) *Query {
	t.Helper()
	queries, err := Compile(text, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return queries[0]
}

func TestAWindowedQueryFromRecordToRow(t *testing.T) {
	q := compileOne(t, hoppingQuery)
	s := NewScanner(ScanOptions{}, q)
	env := s.Env(0)
	if err := s.Scan([]byte(benchPayload), &Envelope{}); err != nil {
		t.Fatal(err)
	}
	ts, ok := q.EventTime(env)
	if !ok || ts != windows.TickOfMillis(1700000000123) {
		t.Fatalf("event time %v %v, errors %v", ts, ok, env.Errors)
	}
	key := q.AppendKey(nil, env)
	if want := windows.AppendTuple(nil, windows.StringOf("device-000001")); string(key) != string(want) {
		t.Fatalf("key %q, want %q", key, want)
	}
	args := q.AppendArgs(nil, env)
	if len(args) != 1 || args[0].Float() != 21.37 {
		t.Fatalf("arguments %v", args)
	}
	end := windows.TickOfMillis(1700000005000)
	results := []windows.Value{windows.BigintOf(12), windows.FloatOf(256.44), windows.FloatOf(20), windows.FloatOf(22.5)}
	if err := env.SetResult(key, results, end-60*windows.Second, end); err != nil {
		t.Fatal(err)
	}
	got := string(q.AppendRow(nil, env))
	want := `{"deviceId":"device-000001","windowStart":1699999945000,"windowEnd":1700000005000,"count":12,"sum":256.44,"min":20,"max":22.5}`
	if got != want || len(env.Errors) > 0 {
		t.Errorf("row\n%s, want\n%s; errors %v", got, want, env.Errors)
	}
	if k := string(q.AppendRowKey(nil, env)); k != "device-000001" {
		t.Errorf("row key %q", k)
	}
	t.Log(q.Explain())
	t.Log(q.plan())
}

func TestOneQueryServesManyEnvironmentsAtOnce(t *testing.T) {
	q := compileOne(t, `SELECT deviceId, REPLACE(status, 'o', CONCAT('0', seq)) AS s, PATINDEX('%k', status) AS p, REGEXMATCH(status, '^o') AS r,
		CASE WHEN temperature BETWEEN 1 AND 2 THEN 'a' ELSE DATENAME(month, DATEADD(day, seq, '2024-01-01')) END AS m FROM s WHERE status LIKE 'o%'`)
	const want = `{"deviceId":"device-000001","s":"017k","p":2,"r":1,"m":"January"}`
	done := make(chan string)
	for range 4 {
		go func() {
			s := NewScanner(ScanOptions{}, q)
			env := s.Env(0)
			for range 200 {
				if err := s.Scan([]byte(benchPayload), &Envelope{}); err != nil {
					done <- err.Error()
					return
				}
				if got := string(q.AppendRow(nil, env)); got != want || !q.Accept(env) {
					done <- got
					return
				}
			}
			done <- want
		}()
	}
	for range 4 {
		if got := <-done; got != want {
			t.Errorf("row %s, want %s", got, want)
		}
	}
}
