package device

import (
	"encoding/hex"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// documented returns the bytes of an example in the format page.
func documented(t *testing.T, name string) []byte {
	t.Helper()
	page, err := os.ReadFile("../docs/format/device-state.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```hex " + name + "\n(.*?)```").FindSubmatch(page)
	if m == nil {
		t.Fatalf("no example %s", name)
	}
	text := regexp.MustCompile(`(?m)#.*$`).ReplaceAllString(string(m[1]), "")
	b, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestExamplesOfTheFormatPage(t *testing.T) {
	var id Identity
	if err := id.UnmarshalBinary(documented(t, "identity")); err != nil {
		t.Fatal(err)
	}
	if id.DeviceID != "d1" || id.GenerationID != "1767323045000-3-41" || id.ETag != "NDE=" || string(id.Auth.Secondary) != "\x03\x04" {
		t.Errorf("identity %+v", id)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	want := NewTwin()
	for i, p := range []string{`{"fw":{"version":"1.2"},"rate":5}`, `{"rate":6}`} {
		if _, err := want.ApplyReported([]byte(p), at.Add(time.Duration(i)*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	b, err := want.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := documented(t, "twin"); string(got) != string(b) {
		t.Errorf("the page has %x\nthe code writes %x", got, b)
	}
}

func TestVarintsHaveOneForm(t *testing.T) {
	for text, ok := range map[string]bool{"\x00": true, "\x7f": true, "\x80\x01": true, "\x80\x00": false, "\x80\x80\x00": false, "\x80": false,
		"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01": true, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02": false} {
		d := decoder{in: text}
		if d.uint(); d.bad == ok {
			t.Errorf("%x: read %v, want %v", text, !d.bad, ok)
		}
	}
}
