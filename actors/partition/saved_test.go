package partition

import (
	"bytes"
	"encoding/hex"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/gemello/gemello/windows"
)

// TestSavedPipelineIsTheExampleOfTheFormatPage pins the bytes of
// docs/format/store.md in both directions.
func TestSavedPipelineIsTheExampleOfTheFormatPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/format/store.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```hex pipeline\n(.*?)```").FindSubmatch(page)
	if m == nil {
		t.Fatal("the page has no example")
	}
	text := regexp.MustCompile(`(?m)#.*$`).ReplaceAllString(string(m[1]), "")
	example, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		t.Fatal(err)
	}
	p := &pipeline{timeline: windows.NewTimeline(windows.Policy{}, windows.ByEvent)}
	if err := p.decode(example); err != nil {
		t.Fatal(err)
	}
	at := windows.Clocks{Arrival: 20, Newest: 17, Watermark: 15}
	if p.from != 1000 || len(p.rewind.marks) != 1 || p.rewind.marks[0].offset != 1020 || p.rewind.marks[0].clocks != at || p.timeline.Clocks() != at {
		t.Errorf("from %d, marks %+v, clocks %+v", p.from, p.rewind.marks, p.timeline.Clocks())
	}
	if got := p.encode(nil); !bytes.Equal(got, example) {
		t.Errorf("encoded %x\nthe page has %x", got, example)
	}
	for n := range example {
		if err := p.decode(example[:n]); err == nil {
			t.Errorf("%d of %d bytes are accepted", n, len(example))
		}
	}
}

func TestKeyOfAPipelineIsTheEndOfItsID(t *testing.T) {
	want := []byte{0, 2, 't', 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0xaa}
	if got := pipelineKeyOf('t', "temperature@00112233445566aa"); !bytes.Equal(got, want) {
		t.Errorf("key %x, want %x", got, want)
	}
}
