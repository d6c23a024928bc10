package https

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gemello/gemello/ingest"
)

func TestBatchOfTheSDKs(t *testing.T) {
	// Node's form, then Java's (azure-iot-wire 14).
	f := &fakeHub{}
	res := ask(t, f, "POST", "/devices/d/messages/events?"+version,
		`[{"body":"aGk=","properties":{"iothub-app-Temp":"a b","iothub-messageid":"1"}},{"body":""},{"body":"eA==","base64Encoded":true,"properties":{"iothub-contenttype":"t"}},{"body":"plain","base64Encoded":false,"properties":{"n":1.5}}]`,
		"Content-Type", batchType+"; charset=utf-8")
	if res.StatusCode != 204 {
		t.Fatal(res.Status)
	}
	var got []string
	for _, m := range f.messages {
		got = append(got, string(m.Body)+"|"+m.Bag)
	}
	if s := strings.Join(got, " "); s != "hi|Temp=a%20b&%24.mid=1 | x|%24.ct=t plain|n=1.5" {
		t.Error(s)
	}
}

func TestABatchIsRefusedAsAWhole(t *testing.T) {
	half := base64.StdEncoding.EncodeToString(make([]byte, ingest.MaxMessage/2))
	for _, tc := range []struct {
		name, body string
		want       error
	}{
		{"no array", `{"body":""}`, ingest.ErrInvalid},
		{"no body", `[{"body":"aGk="},{}]`, ingest.ErrInvalid},
		{"no base64", `[{"body":"aGk="},{"body":"*"}]`, ingest.ErrInvalid},
		{"an object as a property", `[{"body":"","properties":{"iothub-app-a":{}}}]`, ingest.ErrInvalid},
		{"a property without a name", `[{"body":"","properties":{"iothub-app-":""}}]`, ingest.ErrInvalid},
		{"a system key", `[{"body":"","properties":{"$.cdid":"x"}}]`, ingest.ErrInvalid},
		{"unescaped quotes as Java sends them", `[{"body":"","properties":{"iothub-app-a":"x"y"}}]`, ingest.ErrInvalid},
		{"too much together", fmt.Sprintf(`[{"body":%q},{"body":%q,"properties":{"iothub-app-a":"1"}}]`, half, half), ingest.ErrTooLarge},
		{"too many", "[" + strings.Repeat(`{"body":""},`, maxBatch) + `{"body":""}]`, ingest.ErrTooLarge},
		{"too many properties", `[{"body":"","properties":{"iothub-app-a":"` + strings.Repeat("/", ingest.MaxBag/2) + `"}}]`, ingest.ErrTooLarge},
	} {
		if m, err := decodeBatch([]byte(tc.body)); !errors.Is(err, tc.want) || m != nil {
			t.Errorf("%s: %d messages, %v", tc.name, len(m), err)
		}
	}
	if m, err := decodeBatch([]byte(fmt.Sprintf(`[{"body":%q},{"body":%q}]`, half, half))); err != nil || len(m) != 2 {
		t.Errorf("the greatest batch: %d, %v", len(m), err)
	}
}

func FuzzDecodeBatch(f *testing.F) {
	f.Add([]byte(`[{"body":"aGk=","properties":{"iothub-app-a":"b"}}]`))
	f.Add([]byte(`[{"body":"x","base64Encoded":false,"properties":{"a":1,"b":null}}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		messages, err := decodeBatch(b)
		if err != nil {
			if messages != nil || !errors.Is(err, ingest.ErrInvalid) && !errors.Is(err, ingest.ErrTooLarge) {
				t.Fatalf("%d messages, %v", len(messages), err)
			}
			return
		}
		total := 0
		for _, m := range messages {
			size, err := ingest.CheckBag(m.Bag)
			if err != nil {
				t.Fatalf("bag %q: %v", m.Bag, err)
			}
			total += size + len(m.Body)
		}
		if total > ingest.MaxMessage {
			t.Fatalf("%d bytes", total)
		}
	})
}

func FuzzProperties(f *testing.F) {
	f.Add("iothub-app-a", "b", "IoTHub-MessageId", "1")
	f.Add("iothub-app-$.x", "\xe9", "dt-subject", "")
	f.Fuzz(func(t *testing.T, k1, v1, k2, v2 string) {
		props, err := properties(map[string][]string{k1: {v1}, k2: {v2}})
		if err != nil {
			return
		}
		m, size, err := message(nil, props)
		if err != nil {
			return
		}
		if got, err := ingest.CheckBag(m.Bag); err != nil && strings.ToValidUTF8(k1+k2, "") == k1+k2 || err == nil && got != size {
			t.Fatalf("bag %q: %d bytes, counted %d, %v", m.Bag, got, size, err)
		}
	})
}

func FuzzHeaderEscapes(f *testing.F) {
	f.Add("a b\r\n%ü")
	f.Fuzz(func(t *testing.T, s string) {
		if v := fieldValue(s); strings.ContainsAny(v, "\r\n\x00") {
			t.Fatalf("%q", v)
		}
		if n := token(s); strings.ContainsAny(n, " :\r\n\"") || ingest.Unescape(n) != s && !strings.Contains(s, "%") {
			t.Fatalf("%q for %q", n, s)
		}
	})
}
