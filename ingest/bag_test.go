package ingest

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestParseBag(t *testing.T) {
	tests := []struct {
		rule string
		in   string
		want []Property
		err  error
	}{
		{"empty", "", nil, nil},
		{"system keys arrive encoded", "%24.mid=m%201&%24.ct=application%2Fjson&%24.ce=utf-8&a%20b=c%26d%3De%2Ff",
			[]Property{{"$.mid", "m 1"}, {"$.ct", "application/json"}, {"$.ce", "utf-8"}, {"a b", "c&d=e/f"}}, nil},
		{"or plain", "$.mid=1&$.cdid=d", []Property{{"$.mid", "1"}, {"$.cdid", "d"}}, nil},
		{"plus is a plus", "a=b+c", []Property{{"a", "b+c"}}, nil},
		{"split at the first =", "a=b=c", []Property{{"a", "b=c"}}, nil},
		{"key alone", "a&b=1", []Property{{"a", ""}, {"b", "1"}}, nil},
		{"empty pairs are skipped", "&a=1&&b=2&", []Property{{"a", "1"}, {"b", "2"}}, nil},
		{"repeated keys stay", "a=1&a=2", []Property{{"a", "1"}, {"a", "2"}}, nil},
		{"lower-case hex", "a%2fb=%c3%a9", []Property{{"a/b", "é"}}, nil},
		{"short escape", "a=%2", nil, ErrInvalid},
		{"bad escape", "a=%zz", nil, ErrInvalid},
		{"value without key", "=1", nil, ErrInvalid},
		{"not UTF-8 once decoded", "a=%ff", nil, ErrInvalid},
		{"not UTF-8 as it stands", "a=\xff", nil, ErrInvalid},
		{"over the limit", "a=" + strings.Repeat("x", MaxBag), nil, ErrTooLarge},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			got, err := ParseBag(tt.in)
			if !errors.Is(err, tt.err) || !slices.Equal(got, tt.want) {
				t.Errorf("ParseBag(%.60q) = %q, %v; want %q, %v", tt.in, got, err, tt.want, tt.err)
			}
			if size, err := CheckBag(tt.in); !errors.Is(err, tt.err) || size != MessageSize(0, tt.want) {
				t.Errorf("CheckBag(%.60q) = %d, %v; want %d, %v", tt.in, size, err, MessageSize(0, tt.want), tt.err)
			}
		})
	}
}

func TestAppendBagEncodesAllButUnreserved(t *testing.T) {
	got := string(AppendBag([]byte("x=1"), Property{"$.ct", "application/json"}, Property{"a b", "+~é"}, Property{"n", ""}))
	if want := "x=1&%24.ct=application%2Fjson&a%20b=%2B~%C3%A9&n="; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestTrimBagRemovesOneOfEach(t *testing.T) {
	for in, want := range map[string]string{"?a=1/": "a=1", "a=1": "a=1", "/": "", "?": "", "a=b//": "a=b/"} {
		if got := TrimBag(in); got != want {
			t.Errorf("TrimBag(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestMessageSizeCountsNoSystemNames(t *testing.T) {
	props := []Property{{"$.mid", "12"}, {"app", "345"}}
	if got := MessageSize(10, props); got != 10+2+3+3 {
		t.Errorf("got %d", got)
	}
}

func TestSystemName(t *testing.T) {
	for key, want := range map[string]string{"$.ct": "content-type", "$.sub": "dt-subject", "$.later": "$.later", "iothub-ack": "", "$ct": ""} {
		if got, ok := SystemName(key); got != want || ok != (want != "") {
			t.Errorf("SystemName(%q) = %q, %v", key, got, ok)
		}
	}
}

// What was parsed can be written and parsed again, and the check agrees with
// the parser about validity and size.
func FuzzParseBag(f *testing.F) {
	for _, s := range []string{"", "a=1&b=%20", "%24.mid=m%201&k", "%2", "=", "a=%ff", "%24%2emid=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		props, err := ParseBag(s)
		size, cerr := CheckBag(s)
		if (err == nil) != (cerr == nil) {
			t.Fatalf("ParseBag: %v, CheckBag: %v", err, cerr)
		}
		if err != nil {
			return
		}
		if want := MessageSize(0, props); size != want {
			t.Fatalf("size %d, want %d", size, want)
		}
		text := string(AppendBag(nil, props...))
		if len(text) > MaxBag {
			return
		}
		again, err := ParseBag(text)
		if err != nil || !slices.Equal(again, props) {
			t.Fatalf("%q became %q, %v", props, again, err)
		}
	})
}
