package sql

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gemello/gemello/windows"
)

// scannerOf reads the members given as dotted paths; * is the whole payload.
func scannerOf(paths ...string) *Scanner {
	q := &Query{}
	for _, p := range paths {
		f := field{}
		if p != "*" {
			f.path = strings.Split(p, ".")
		}
		q.field(f)
	}
	return NewScanner(ScanOptions{}, q)
}

func show(env *Env, n int) string {
	var b []byte
	for i := range n {
		if i > 0 {
			b = append(b, ' ')
		}
		v := env.column(i)
		b = appendJSON(b, &v)
	}
	return string(b)
}

func TestMembersAreFound(t *testing.T) {
	for _, c := range []struct{ paths, payload, want string }{
		{"a", `{"a":1}`, "1"},
		{"a", ` { "a" : 1 , "b" : [ 1 , { } ] } `, "1"},
		{"a b", "{\"b\":\t\"x\",\r\n\"a\":true}", `true "x"`},
		{"a.b a.c", `{"a":{"c":2,"b":1}}`, "1 2"},
		{"a.b", `{"a":5}`, "null"},
		{"a.b", `{"a":[{"b":1}]}`, "null"},
		{"a a.b", `{"a":{"b":1,"x":null}}`, `{"b":1,"x":null} 1`},
		{"* a a.b", `{"a":{"b":1}}`, `{"a":{"b":1}} {"b":1} 1`},
		{"a", `{"a":[1,"x",null,{"k":false}]}`, `[1,"x",null,{"k":false}]`},
		{"a", `{}`, "null"},
		{"a", `{"":1,"a":2}`, "2"},
		// repeated names: the last one wins
		{"a", `{"a":1,"a":2}`, "2"},
		{"a.b a.c", `{"a":{"b":1},"a":{"c":2}}`, "null 2"},
		{"a.b", `{"a":{"b":1},"a":7}`, "null"},
		{"a", `{"a":1,"a":null}`, "null"},
		{"*", `{"a":1,"b":2,"a":3}`, `{"a":3,"b":2}`},
		// names: exact first, then in any case
		{"temp", `{"TEMP":1}`, "1"},
		{"temp", `{"TEMP":1,"temp":2}`, "2"},
		{"temp", `{"temp":2,"TEMP":1}`, "2"},
		{"temp", `{"TEMP":1,"Temp":2}`, "2"},
		{"a.b", `{"A":{"B":1}}`, "1"},
		{"a.b", `{"a":{"c":1},"A":{"b":2}}`, "null"},
		{"temp TEMP", `{"temp":1}`, "1 1"},
		{"temp TEMP", `{"temp":1,"TEMP":2}`, "1 2"},
		{"temp TEMP", `{"TEMP":2,"temp":1}`, "1 2"},
		{"temp.x TEMP.x temp.X", `{"Temp":{"x":1}}`, "1 1 1"},
		{"k", "{\"\u212a\":1}", "1"}, // the Kelvin sign folds to k
		{"ž", `{"Ž":1}`, "1"},
		// escapes
		{"a", `{"a":"x\n\"\\\/\b\f\r\t"}`, `"x\n\"\\/\u0008\u000c\r\t"`},
		{"a", `{"a":"\u00e9\ud83d\ude00"}`, `"é😀"`},
		{"a", `{"a":"\ud83d x"}`, "\"\uFFFD x\""},
		{"a", `{"a":"\ud83d\u0041"}`, "\"\uFFFDA\""},
		{"a", `{"a":"\ud83d\ud83d\ude00"}`, "\"\uFFFD😀\""},
		{"ab", `{"\u0061b":1}`, "1"},
		{"a b", `{"a":"\u0041","b":"\u0042"}`, `"A" "B"`},
		{"a", `{"a":""}`, `""`},
	} {
		paths := strings.Fields(c.paths)
		s := scannerOf(paths...)
		for range 2 { // the second time the layout is known
			if err := s.Scan([]byte(c.payload), &Envelope{}); err != nil {
				t.Errorf("%s: %v", c.payload, err)
				break
			}
			if got := show(s.Env(0), len(paths)); got != c.want {
				t.Errorf("%s of %s is %s, want %s", c.paths, c.payload, got, c.want)
			}
		}
	}
}

func TestALayoutThatChangesIsReadAnew(t *testing.T) {
	s := scannerOf("a", "b")
	for _, c := range []struct{ payload, want string }{
		{`{"a":1,"b":2}`, "1 2"}, {`{"b":2,"a":1}`, "1 2"}, {`{"x":{},"b":2}`, "null 2"}, {`{"a":1,"b":2}`, "1 2"},
		{`{"a" :1,"b": 2}`, "1 2"}, {`{"A":1,"B":2,"a":3}`, "3 2"}, {`{"a":1}`, "1 null"},
	} {
		if err := s.Scan([]byte(c.payload), &Envelope{}); err != nil {
			t.Fatal(err)
		}
		if got := show(s.Env(0), 2); got != c.want {
			t.Errorf("%s is %s, want %s", c.payload, got, c.want)
		}
	}
}

func TestMalformedPayloadsAreRefusedWherever(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, c := range []struct{ payload, want string }{
		{``, "payload is empty, expected a JSON object"},
		{`  `, "payload is empty, expected a JSON object"},
		{`[]`, "payload is not a JSON object"},
		{`"a"`, "payload is not a JSON object"},
		{"\xef\xbb\xbf{}", "payload is not a JSON object"},
		{`{`, "ends early, expected a name in quotes"},
		{`{"a":1`, "ends early, expected ',' or the closing bracket"},
		{`{"a":1}x`, "more text after the JSON object"},
		{`{"a":1,}`, "unexpected character, expected a name in quotes"},
		{`{"a" 1}`, "unexpected character, expected ':'"},
		{`{"a":}`, "unexpected character, expected a value"},
		{`{"z":tru}`, "unexpected character, expected a value"},
		{`{"z":nulL}`, "unexpected character, expected a value"},
		{`{"z":01}`, "unexpected character, expected no digit after a leading zero"},
		{`{"a":01}`, "unexpected character, expected no digit after a leading zero"},
		{`{"a":-}`, "unexpected character, expected a digit"},
		{`{"a":1.}`, "unexpected character, expected a digit"},
		{`{"a":1e}`, "unexpected character, expected a digit"},
		{`{"a":.5}`, "unexpected character, expected a value"},
		{`{"a":+5}`, "unexpected character, expected a value"},
		{`{"a":NaN}`, "unexpected character, expected a value"},
		{`{"z":1.}`, "unexpected character, expected a digit"},
		{`{"z":"x`, "ends inside a string"},
		{`{"z":"x\`, "ends inside a string"},
		{`{"z":"\x"}`, "unknown escape"},
		{`{"z":"\u12g4"}`, "escape without four hexadecimal digits"},
		{`{"z":"\u12`, "escape without four hexadecimal digits"},
		{"{\"z\":\"a\nb\"}", "control character in a string"},
		{"{\"z\":\"longer than eight \x01\"}", "control character in a string"},
		{"{\"z\":\"\xff\"}", "string is not valid UTF-8"},
		{"{\"z\":\"longer than eight \xc3\"}", "string is not valid UTF-8"},
		{"{\"\xff\":1}", "string is not valid UTF-8"},
		{`{"z":[1 2]}`, "unexpected character, expected ',' or the closing bracket"},
		{`{"z":[1,]}`, "unexpected character, expected a value"},
		{`{"z":{"a":1 "b":2}}`, "unexpected character, expected ',' or the closing bracket"},
		{`{"z":` + deep(64) + `}`, "nested more than 64 deep"},
		{`{"a":` + deep(64) + `}`, "nested more than 64 deep"},
		{`{"z":` + strings.Repeat("[", 1<<20-5), "payload of 1048576 bytes"},
		{`{"z":` + strings.Repeat("[", 1<<19), "nested more than 64 deep"},
		{`{"z":` + strings.Repeat(`{"z":`, 1<<17), "nested more than 64 deep"},
	} {
		s := scannerOf("a")
		err := s.Scan([]byte(c.payload), &Envelope{})
		var d *DataError
		switch {
		case strings.HasPrefix(c.want, "payload of"):
			if err = s.Scan([]byte(c.payload+" "), &Envelope{}); err == nil || !strings.Contains(err.Error(), "longer than the limit of 1048576") {
				t.Errorf("long payload: %v", err)
			}
		case !errors.As(err, &d):
			t.Errorf("%.40q: error %v, want a DataError", c.payload, err)
		case d.Reason != c.want:
			t.Errorf("%.40q: %v, want %s", c.payload, err, c.want)
		}
	}
	if err := scannerOf("a").Scan([]byte(`{"z":`+deep(63)+`,"a":`+deep(63)+`}`), &Envelope{}); err != nil {
		t.Errorf("64 deep: %v", err)
	}
}

func TestNumbersAreReadFromTheirDigits(t *testing.T) {
	for _, text := range []string{
		"0", "-0", "1", "-1", "12345678", "123456789", "1700000000123",
		"9007199254740991", "9007199254740992", "9007199254740993", "-9007199254740993",
		"9223372036854775806", "9223372036854775807", "-9223372036854775807", "-9223372036854775808",
	} {
		v := scanNumber(t, text, 0)
		var want int64
		fmt.Sscan(text, &want)
		if v.Kind() != windows.Bigint || v.Bigint() != want {
			t.Errorf("%s is %v %d", text, v.Kind(), v.Bigint())
		}
	}
	for _, text := range []string{
		"9223372036854775808", "-9223372036854775809", "18446744073709551616", "99999999999999999999",
		"1234567890123456789012345678901234567890", "-1234567890123456789012345678901234567890",
	} {
		v := scanNumber(t, text, 1)
		var want float64
		fmt.Sscan(text, &want)
		if v.Kind() != windows.Float || v.Float() != want {
			t.Errorf("%s is %v %g", text, v.Kind(), v.Float())
		}
	}
	for _, text := range []string{
		"0.0", "-0.0", "1.0", "1e0", "21.37", "-21.37", "0.1", "0.30000000000000004", "1e22", "1e23", "1e-22", "1e-23", "123456789012345.678", "9007199254740993.0", "9007199254740992.5",
		"1.7976931348623157e308", "1e308", "4.9e-324", "1e-400", "0e999999999999", "0.000000000000000000000001e24", "5e-324", "2.2250738585072014e-308", "1E5", "1e+5",
		"3.141592653589793238462643383279", "0.00000000000000000000000000001234567890123456789", "12345678901234567890.5", "1844674407370955161600000000e-10", "8.5e-7", "9223372036854775808.0", "18446744073709551616.5",
	} {
		v := scanNumber(t, text, 0)
		var want float64
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatal(err)
		}
		if v.Kind() != windows.Float || math.Float64bits(v.Float()) != math.Float64bits(want) {
			t.Errorf("%s is %v %g, want %g", text, v.Kind(), v.Float(), want)
		}
	}
	s := scannerOf("a")
	if err := s.Scan([]byte(`{"a":1e309}`), &Envelope{}); err != nil {
		t.Fatal(err)
	}
	v := s.Env(0).column(0)
	if _, overflows := s.TakeCounts(); !v.IsNull() || overflows != 1 {
		t.Errorf("1e309 is %v, %d overflows", v.Kind(), overflows)
	}
}

func scanNumber(t *testing.T, text string, wantCount int) windows.Value {
	t.Helper()
	s := scannerOf("a")
	if err := s.Scan([]byte(`{"a":`+text+`}`), &Envelope{}); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if n, _ := s.TakeCounts(); n != wantCount {
		t.Errorf("%s: %d bigints became floats, want %d", text, n, wantCount)
	}
	return s.Env(0).column(0)
}

func TestQueriesOfASourceShareOneScan(t *testing.T) {
	a := compileOne(t, "SELECT x, y INTO a FROM s")
	b := compileOne(t, "SELECT y, z.w INTO b FROM s AS t WHERE t.y > 1")
	s := NewScanner(ScanOptions{}, a, b)
	if len(s.values) != 3 {
		t.Errorf("%d slots, want 3", len(s.values))
	}
	if err := s.Scan([]byte(`{"x":1,"y":2,"z":{"w":3}}`), &Envelope{}); err != nil {
		t.Fatal(err)
	}
	if got := string(a.AppendRow(nil, s.Env(0))); got != `{"x":1,"y":2}` {
		t.Errorf("a: %s", got)
	}
	if got := string(b.AppendRow(nil, s.Env(1))); got != `{"y":2,"w":3}` || !b.Accept(s.Env(1)) {
		t.Errorf("b: %s", got)
	}
}

func TestBuiltInColumns(t *testing.T) {
	at, _ := parseDatetime("2024-05-01T10:00:00Z")
	envelope := &Envelope{DeviceID: "d1", MessageID: "m1", GenerationID: "g1", Enqueued: at, Processed: at + windows.Second, Partition: 3, Key: []byte("k1")}
	payload := `{"deviceId":"fake","moduleId":"fake","PartitionId":9,"temp":20.5,"payload":{"x":1}}`
	for _, c := range []struct{ text, want, key string }{
		{"SELECT deviceId, DEVICEID AS b, payload.deviceId AS c, moduleId AS m, PartitionId AS p FROM devices",
			`{"deviceId":"d1","b":"d1","c":"fake","m":null,"p":3}`, "d1"},
		{"SELECT EventEnqueuedUtcTime AS a, EventProcessedUtcTime AS b FROM devices",
			`{"a":"2024-05-01T10:00:00.0000000Z","b":"2024-05-01T10:00:01.0000000Z"}`, "d1"},
		{"SELECT IoTHub.ConnectionDeviceId AS d, iothub.messageid AS m, IoTHub.CorrelationId AS c, IoTHub.EnqueuedTime AS e FROM devices",
			`{"d":"d1","m":"m1","c":null,"e":"2024-05-01T10:00:00.0000000Z"}`, "d1"},
		{"SELECT IoTHub FROM [Devices]",
			`{"IoTHub":{"MessageId":"m1","CorrelationId":null,"ConnectionDeviceId":"d1","ConnectionDeviceGenerationId":"g1","EnqueuedTime":"2024-05-01T10:00:00.0000000Z","StreamId":null}}`, "d1"},
		{"SELECT d.deviceId, d.temp, d.payload.temp AS t, payload.payload.x AS x FROM devices d", `{"deviceId":"d1","temp":20.5,"t":20.5,"x":1}`, "d1"},
		{"SELECT * FROM devices",
			`{"temp":20.5,"payload":{"x":1},"deviceId":"d1","EventEnqueuedUtcTime":"2024-05-01T10:00:00.0000000Z","EventProcessedUtcTime":"2024-05-01T10:00:01.0000000Z","PartitionId":3,` +
				`"IoTHub":{"MessageId":"m1","CorrelationId":null,"ConnectionDeviceId":"d1","ConnectionDeviceGenerationId":"g1","EnqueuedTime":"2024-05-01T10:00:00.0000000Z","StreamId":null}}`, "d1"},
		{"SELECT payload FROM devices",
			`{"payload":{"deviceId":"fake","moduleId":"fake","PartitionId":9,"temp":20.5,"payload":{"x":1}}}`, "d1"},
		// A topic of the user's: the payload goes first, and payload is a name like any other.
		{"SELECT deviceId, PartitionId, payload.x, EventEnqueuedUtcTime AS e FROM t", `{"deviceId":"fake","PartitionId":9,"x":1,"e":"2024-05-01T10:00:00.0000000Z"}`, "k1"},
		{"SELECT *, temp * 2 AS temp FROM t", `{"deviceId":"fake","moduleId":"fake","PartitionId":9,"payload":{"x":1},"temp":41}`, "k1"},
		{"SELECT t.*, 1 AS one FROM t", `{"deviceId":"fake","moduleId":"fake","PartitionId":9,"temp":20.5,"payload":{"x":1},"one":1}`, "k1"},
	} {
		q := compileOne(t, c.text)
		s := NewScanner(ScanOptions{}, q)
		if err := s.Scan([]byte(payload), envelope); err != nil {
			t.Fatal(err)
		}
		if got := string(q.AppendRow(nil, s.Env(0))); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.text, got, c.want)
		}
		if got := string(q.AppendRowKey(nil, s.Env(0))); got != c.key {
			t.Errorf("%s: key %q, want %q", c.text, got, c.key)
		}
	}
}

// reference reads a payload with encoding/json, which shares no code with the
// scanner.
func reference(data []byte) (any, error) {
	if !json.Valid(data) {
		return nil, errors.New("not valid")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	err := d.Decode(&v)
	return v, err
}

func agrees(v *windows.Value, want any) bool {
	switch w := want.(type) {
	case nil:
		return v.IsNull()
	case bool:
		return v.Kind() == windows.Bit && v.Bit() == w
	case string:
		return v.Kind() == windows.String && v.Str() == w
	case json.Number:
		return numberAgrees(v, w.String())
	case []any:
		a := v.Array()
		if v.Kind() != windows.Array || len(a) != len(w) {
			return false
		}
		for i := range w {
			if !agrees(&a[i], w[i]) {
				return false
			}
		}
		return true
	case map[string]any:
		if v.Kind() != windows.Record || len(v.Record().Fields) != len(w) {
			return false
		}
		for i := range v.Record().Fields {
			f := &v.Record().Fields[i]
			member, ok := w[f.Name]
			if !ok || !agrees(&f.Value, member) {
				return false
			}
		}
		return true
	}
	return false
}

func numberAgrees(v *windows.Value, text string) bool {
	if !strings.ContainsAny(text, ".eE") {
		i, _ := new(big.Int).SetString(text, 10)
		if i.IsInt64() {
			return v.Kind() == windows.Bigint && v.Bigint() == i.Int64()
		}
	}
	var f float64
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		return v.IsNull()
	}
	return v.Kind() == windows.Float && math.Float64bits(v.Float()) == math.Float64bits(f)
}

func depthOf(v any) int {
	d := 0
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			d = max(d, depthOf(e))
		}
	case map[string]any:
		for _, e := range v {
			d = max(d, depthOf(e))
		}
	default:
		return 0
	}
	return d + 1
}

func FuzzScanAgainstTheStandardLibrary(f *testing.F) {
	for _, s := range []string{
		benchPayload, evalPayload, `{"a":{"b":[1,2.5,"x\u00e9\ud83d\ude00",null,true]},"A":-0,"ts":1e400}`,
		`{"a":9007199254740993,"b":-9223372036854775808,"a":1e308,"ts":-0.0,"c":1234567890123456789012345678901234567890}`,
		`{"a":{"b":{"c":1}},"a":{"b":2}}`, `{"a":[[[[{}]]]]}`, `{"a":"12345678\n90","ts":12345678901234567}`, `{"ts":0.1234567890123456789e-5}`,
	} {
		f.Add([]byte(s))
	}
	whole := scannerOf("*")
	parts := scannerOf("a", "a.b", "ts", "temperature")
	scalars := scannerOf("ts", "b.c")
	f.Fuzz(func(t *testing.T, data []byte) {
		want, wantErr := reference(data)
		object, isObject := want.(map[string]any)
		valid := wantErr == nil && isObject && utf8.Valid(data) && depthOf(want) <= MaxDepth && !bytes.HasPrefix(bytes.TrimSpace(data), []byte("\xef\xbb\xbf"))
		for _, s := range []*Scanner{whole, parts, scalars} {
			if err := s.Scan(data, &Envelope{}); (err == nil) != valid {
				t.Fatalf("%q: error %v; standard library: %v", data, err, wantErr)
			}
		}
		if !valid {
			return
		}
		if err := whole.Scan(data, &Envelope{}); err != nil {
			t.Fatal(err)
		}
		if v := whole.Env(0).column(0); !agrees(&v, want) {
			t.Fatalf("%q: %s", data, show(whole.Env(0), 1))
		}
		if err := parts.Scan(data, &Envelope{}); err != nil {
			t.Fatal(err)
		}
		env := parts.Env(0)
		for i, path := range [][]string{{"a"}, {"a", "b"}, {"ts"}, {"temperature"}} {
			want, exact := lookup(object, path)
			if v := env.column(i); exact && !agrees(&v, want) {
				t.Fatalf("%q: %v is %s, want %v", data, path, show(env, 4), want)
			}
		}
	})
}

// lookup follows a path of exact names; false if some name is there in another
// case only, where rules of the dialect's own apply.
func lookup(o map[string]any, path []string) (any, bool) {
	v, ok := o[path[0]]
	if !ok {
		for name := range o {
			if strings.EqualFold(name, path[0]) {
				return nil, false
			}
		}
		return nil, true
	}
	if len(path) == 1 {
		return v, true
	}
	inner, ok := v.(map[string]any)
	if !ok {
		return nil, true
	}
	return lookup(inner, path[1:])
}

func FuzzNumbers(f *testing.F) {
	for _, s := range []string{"9007199254740992", "-9007199254740993", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809",
		"1e308", "1.8e308", "-0", "-0.0", "1234567890123456789012345678901234567890", "0.1", "123456.789e-30", "1e22", "1e23", "8.41e21"} {
		f.Add(s)
	}
	s := scannerOf("a")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.ContainsAny(text, " \t\r\n{}[]\",:") || text == "true" || text == "false" || text == "null" {
			return
		}
		err := s.Scan([]byte(`{"a":`+text+`}`), &Envelope{})
		if (err == nil) != json.Valid([]byte(text)) {
			t.Fatalf("%q: %v", text, err)
		}
		if err != nil {
			return
		}
		v := s.Env(0).column(0)
		if !numberAgrees(&v, text) {
			t.Fatalf("%s is %s", text, show(s.Env(0), 1))
		}
		out := appendJSON(nil, &v)
		var back jsonText
		back.data = out
		var again windows.Value
		if i := back.value(0, 0, &again); i != len(out) {
			t.Fatalf("%s is written %s", text, out)
		}
		if v.IsNull() {
			return
		}
		zero := windows.BigintOf(0)
		if order, ok := windows.Compare(&v, &again); !ok || order != 0 {
			// A float beyond bigint may be written without a fraction.
			if c, _ := windows.Compare(&v, &zero); c == 0 || !reflect.DeepEqual(asFloat(&v), asFloat(&again)) {
				t.Fatalf("%s is written %s", text, out)
			}
		}
	})
}
