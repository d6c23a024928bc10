package device

import (
	"errors"
	"strings"
	"testing"
)

func TestMethodCallsAreChecked(t *testing.T) {
	long := `"` + strings.Repeat("x", MaxMethodPayload-2) + `"`
	for _, tt := range []struct {
		name string
		call MethodCall
		want error
	}{
		{"no payload", MethodCall{Name: "m"}, nil},
		{"null", MethodCall{Name: "m", Payload: []byte("null")}, nil},
		{"empty text", MethodCall{Name: "m", Payload: []byte(`""`)}, nil},
		{"component", MethodCall{Name: "thermostat1*getMaxMin", Payload: []byte("{}")}, nil},
		{"greatest", MethodCall{Name: "m", Payload: []byte(long)}, nil},
		{"too large", MethodCall{Name: "m", Payload: []byte(long + " ")}, ErrTooLarge},
		{"not JSON", MethodCall{Name: "m", Payload: []byte("{")}, ErrFormat},
		{"no name", MethodCall{}, ErrArgument},
		{"long name", MethodCall{Name: strings.Repeat("m", MaxMethodName+1)}, ErrArgument},
		{"name not UTF-8", MethodCall{Name: "\xff"}, ErrArgument},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.call.Check(); !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
		})
	}
}

func TestMethodAnswersAreChecked(t *testing.T) {
	long := strings.Repeat("1", MaxMethodPayload)
	for _, tt := range []struct{ payload, want string }{
		{"", "null"}, {" ", "null"}, {"null", "null"}, {`""`, `""`}, {`"foo"`, `"foo"`}, {" {} ", "{}"},
		{`{"b":1,"a":2.50}`, `{"b":1,"a":2.50}`}, {long, long}, {long + "1", ""}, {"{", ""}, {"text", ""}, {"\x00", ""},
	} {
		got, err := ReadMethodResult(-7, []byte(tt.payload))
		if (err == nil) != (tt.want != "") || string(got.Payload) != tt.want || err != nil && !errors.Is(err, ErrBadAnswer) {
			t.Errorf("%.20q: %.20q, %v", tt.payload, got.Payload, err)
		}
		if err == nil && got.Status != -7 {
			t.Errorf("status %d", got.Status)
		}
	}
}
