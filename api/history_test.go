package api

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gemello/gemello/device"
)

// fakeHistories tells the changes that it holds.
type fakeHistories struct {
	steps []TwinChange
	whole bool
	fail  error // at the end, when set
}

func (f *fakeHistories) TwinHistory(_ context.Context, _ string, visit func(*TwinChange) error) (bool, error) {
	for i := range f.steps {
		if err := visit(&f.steps[i]); err != nil {
			return false, err
		}
	}
	return f.whole, f.fail
}

// history is a device that was made, patched, refused a patch, and deleted, a
// minute apart.
func history(t *testing.T) *fakeHistories {
	t.Helper()
	f := &fakeHistories{whole: true}
	twin := device.NewTwin()
	step := func(kind, body string, refused error, gone bool) {
		at := testTime.Add(time.Duration(len(f.steps)) * time.Minute)
		if body != "" && refused == nil {
			if _, err := twin.Apply(&device.TwinChange{DeviceID: "d1", Body: []byte(body)}, at); err != nil {
				t.Fatal(err)
			}
		}
		s := TwinChange{Partition: 1, Offset: int64(40 + len(f.steps)), Time: at, Kind: kind, Audit: testAuthor, Body: []byte(body), Refused: refused}
		if !gone {
			s.Document = &device.Document{Entry: device.Entry{Identity: device.Identity{DeviceID: "d1"}}, Twin: twin}
		}
		f.steps = append(f.steps, s)
	}
	step("identity", "", nil, false)
	step("twin", `{"tags":{"site":"a"},"properties":{"desired":{"a/b":{"c":1},"n":1}}}`, nil, false)
	step("twin", `{"properties":{"desired":{"n":9}}}`, device.ErrPrecondition, false)
	step("twin", `{"properties":{"desired":{"a/b":null,"n":2}}}`, nil, false)
	step("delete", "", nil, true)
	return f
}

var testAuthor = device.Audit{Actor: "policy:service", Credential: "primary", Address: "192.0.2.1:5", RequestID: "r-1"}

func minute(n int) string {
	return testTime.Add(time.Duration(n) * time.Minute).Format(time.RFC3339)
}

func TestPastTwinsAreTold(t *testing.T) {
	for name, tt := range map[string]struct {
		query  string
		change func(*fakeHistories)
		status int
		says   string
	}{
		"as it was at a time":       {"?at=" + minute(1), nil, 200, `"version":3`},
		"between two changes":       {"?at=" + testTime.Add(150*time.Second).Format(time.RFC3339), nil, 200, `"version":3`},
		"as of a version":           {"?version=4", nil, 200, `"n":2`},
		"after its end":             {"?at=" + minute(9), nil, 404, "DeviceNotFound"},
		"before its beginning":      {"?at=" + minute(-1), nil, 404, "DeviceNotFound"},
		"before the log":            {"?at=" + minute(-1), func(f *fakeHistories) { f.whole = false }, 410, "HistoryGone"},
		"a version that never was":  {"?version=99", nil, 404, "DeviceNotFound"},
		"a version before the log":  {"?version=1", func(f *fakeHistories) { f.whole = false }, 410, "HistoryGone"},
		"a log that is gone":        {"?at=" + minute(1), func(f *fakeHistories) { f.fail = fmt.Errorf("%w: retention", ErrNoHistory) }, 410, "HistoryGone"},
		"a core that is gone":       {"?at=" + minute(1), func(f *fakeHistories) { f.fail = ErrUnavailable }, 503, "ServiceUnavailable"},
		"both a time and a version": {"?at=" + minute(1) + "&version=3", nil, 400, "exclude each other"},
		"no time":                   {"?at=noon", nil, 400, "noon"},
		"no version":                {"?version=0", nil, 400, "version"},
	} {
		f := history(t)
		if tt.change != nil {
			tt.change(f)
		}
		b := newAdminBench(t, func(o *AdminOptions) { o.Histories = f })
		w := b.call("GET", "/api/v1/twins/d1"+tt.query, "")
		if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.says) {
			t.Errorf("%s: %d %s, want %d %s", name, w.Code, w.Body, tt.status, tt.says)
		}
	}
}

func TestTheChangesOfATwinAreListed(t *testing.T) {
	b := newAdminBench(t, func(o *AdminOptions) { o.Histories = history(t) })
	type line struct {
		Time                                                 time.Time
		Offset, Version, DesiredVersion                      int64
		Kind, Actor, Credential, Address, RequestID, Refused string
		Change                                               json.RawMessage
	}
	read := func(query string) (list []line) {
		t.Helper()
		w := b.call("GET", "/api/v1/twins/d1/history"+query, "")
		for text := range strings.Lines(w.Body.String()) {
			var l line
			if err := json.Unmarshal([]byte(text), &l); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			list = append(list, l)
		}
		return list
	}
	all := read("")
	if len(all) != 5 {
		t.Fatalf("%d changes: %+v", len(all), all)
	}
	if l := all[1]; l.Offset != 41 || l.Kind != "twin" || l.Version != 3 || l.DesiredVersion != 2 || l.Actor != "policy:service" ||
		l.Credential != "primary" || l.Address != "192.0.2.1:5" || l.RequestID != "r-1" || !strings.Contains(string(l.Change), `"site":"a"`) {
		t.Errorf("%+v", l)
	}
	if all[2].Refused == "" || all[4].Version != 0 || all[4].Kind != "delete" {
		t.Errorf("refused %+v, deleted %+v", all[2], all[4])
	}
	if got := read("?from=" + minute(1) + "&to=" + minute(3)); len(got) != 3 || got[0].Offset != 41 || got[2].Offset != 43 {
		t.Errorf("a stretch of time: %+v", got)
	}
	wantAdminError(t, b.call("GET", "/api/v1/twins/d1/history?from=noon", ""), 400, "ArgumentInvalid")
	wantAdminError(t, newAdminBench(t, func(o *AdminOptions) { o.Histories = &fakeHistories{fail: ErrNoHistory} }).call("GET", "/api/v1/twins/d1/history", ""), 410, "HistoryGone")
}

func TestTheDifferenceOfATwinIsTold(t *testing.T) {
	for query, want := range map[string]string{
		"?from=" + minute(1) + "&to=" + minute(3): `{"changes":[{"path":"/properties/desired/a~1b/c","from":1},{"path":"/properties/desired/n","from":1,"to":2}]}`,
		"?from=" + minute(1) + "&to=" + minute(2): `{"changes":[]}`,
		"?from=" + minute(0) + "&to=" + minute(1): `{"changes":[{"path":"/tags/site","to":"a"},{"path":"/properties/desired/a~1b/c","to":1},{"path":"/properties/desired/n","to":1}]}`,
		"?from=" + minute(3):                      `{"changes":[{"path":"/tags/site","from":"a"},{"path":"/properties/desired/n","from":2}]}`,
	} {
		b := newAdminBench(t, func(o *AdminOptions) { o.Histories = history(t) })
		if w := b.call("GET", "/api/v1/twins/d1/diff"+query, ""); w.Code != 200 || w.Body.String() != want {
			t.Errorf("%s: %d %s\nwant %s", query, w.Code, w.Body, want)
		}
	}
	b := newAdminBench(t, func(o *AdminOptions) { o.Histories = history(t) })
	wantAdminError(t, b.call("GET", "/api/v1/twins/d1/diff", ""), 400, "ArgumentInvalid")
	wantAdminError(t, b.call("GET", "/api/v1/twins/d1/diff?from="+minute(1)+"&to=noon", ""), 400, "ArgumentInvalid")
}
