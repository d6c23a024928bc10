package partition

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gemello/gemello/windows"
)

func formatPage(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/format/dead-letter.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func refused(t *testing.T, f refusal) string {
	t.Helper()
	var e Effects
	deadLetter(&e, "late", f)
	if e.Len() != 1 {
		t.Fatalf("%d rows", e.Len())
	}
	out := e.Output(0)
	if out.Topic != "late" || string(out.Key) != string(f.Key) {
		t.Errorf("topic %s, key %q", out.Topic, out.Key)
	}
	return string(out.Value)
}

func TestRefusalIsTheExampleOfTheFormatPage(t *testing.T) {
	at := windows.TickOf(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	got := refused(t, refusal{
		Reason: ReasonLate, Pipeline: "temperature", Source: "gemello.device-log", Partition: 5, Offset: 17,
		Key: []byte("d1"), Payload: []byte(`{"t":1}`), Arrival: at,
		Event: at - 10*windows.Second, Timestamp: at - 10*windows.Second, Watermark: at - 5*windows.Second, timed: true,
	})
	m := regexp.MustCompile("(?s)```json\n(.*?)\n```").FindStringSubmatch(formatPage(t))
	if m == nil || m[1] != got {
		t.Errorf("the row is\n%s\nthe page has\n%v", got, m)
	}
}

func TestRefusalQuotesAnyPayload(t *testing.T) {
	for name, tc := range map[string]struct {
		payload string
		want    map[string]any
	}{
		"no text": {"\xff\x00", map[string]any{"payloadBase64": "/wA=", "payloadSize": 2.0}},
		"long":    {strings.Repeat("x", maxQuoted+1), map[string]any{"payload": strings.Repeat("x", maxQuoted), "payloadSize": float64(maxQuoted + 1)}},
		"nothing": {"", map[string]any{"payloadSize": 0.0}},
	} {
		t.Run(name, func(t *testing.T) {
			text := refused(t, refusal{Reason: ReasonMalformed, Source: "s", Payload: []byte(tc.payload), Arrival: windows.Unset})
			want := map[string]any{"reason": "malformed", "source": "s", "partition": 0.0, "offset": 0.0}
			for k, v := range tc.want {
				want[k] = v
			}
			var got map[string]any
			if err := json.Unmarshal([]byte(text), &got); err != nil {
				t.Fatal(err)
			}
			if len(got) != len(want) {
				t.Errorf("members of %.200s", text)
			}
			for k, v := range want {
				if got[k] != v {
					t.Errorf("%s is %.80v", k, got[k])
				}
			}
		})
	}
}

func TestEveryReasonIsOnTheFormatPage(t *testing.T) {
	page := formatPage(t)
	for _, r := range []string{
		ReasonMalformed, ReasonTooLarge, ReasonEmpty, ReasonTsInvalid, ReasonRowError, ReasonRowLarge, ReasonControl,
		ReasonLate, ReasonOutOfOrder, ReasonEarly, ReasonPastGrace,
	} {
		if !strings.Contains(page, "\n| `"+r+"` | ") {
			t.Errorf("no row for %s", r)
		}
	}
}
