package mqtt

import (
	"bytes"
	"strings"
	"testing"
)

func TestParseHeader(t *testing.T) {
	tests := []struct {
		rule string
		in   []byte
		want header
		ok   bool
		err  error
	}{
		{"nothing yet", []byte{0x30}, header{}, false, nil},
		{"one byte", []byte{0x32, 0x7f}, header{3, 2, 2, 127}, true, nil},
		{"two bytes", []byte{0x30, 0x80, 0x01}, header{3, 0, 3, 128}, true, nil},
		{"greatest", []byte{0x30, 0xff, 0xff, 0xff, 0x7f}, header{3, 0, 5, 268435455}, true, nil},
		{"cut", []byte{0x30, 0xff, 0xff, 0xff}, header{}, false, nil},
		{"five bytes", []byte{0x30, 0xff, 0xff, 0xff, 0x80}, header{}, false, errMalformed},
	}
	for _, tt := range tests {
		h, ok, err := parseHeader(tt.in)
		if h != tt.want || ok != tt.ok || (err != nil) != (tt.err != nil) {
			t.Errorf("%s: %+v, %v, %v", tt.rule, h, ok, err)
		}
	}
}

func TestPublishSizeIsWhatIsWritten(t *testing.T) {
	for _, level := range []byte{level311, level5} {
		for _, n := range []int{0, 120, 127, 128, 16380, 70000} {
			topic, body := []byte("a/b"), []byte(strings.Repeat("x", n))
			p := appendPublish(nil, level, topic, body)
			if got := publishSize(level, len(topic), n); got != len(p) {
				t.Errorf("level %d, body %d: size %d, written %d", level, n, got, len(p))
			}
			h, ok, err := parseHeader(p)
			if err != nil || !ok || h.size+h.length != len(p) || !bytes.HasSuffix(p, body) {
				t.Errorf("level %d, body %d: %+v, %v, %v", level, n, h, ok, err)
			}
		}
	}
}

func TestTextIsUTF8WithoutNul(t *testing.T) {
	for in, want := range map[string]bool{"": true, "é": true, "a\x00": false, "\xff": false, "\xed\xa0\x80": false} {
		d := decoder{b: str(in)}
		if d.text(); d.bad == want {
			t.Errorf("%q: bad is %v", in, d.bad)
		}
	}
}
