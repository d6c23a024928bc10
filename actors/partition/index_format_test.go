package partition

import (
	"encoding/hex"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/gemello/gemello/device"
)

// The examples of docs/format/store.md are what a core saves and reads.
func TestSavedIndexIsTheExampleOfTheFormatPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/format/store.md")
	if err != nil {
		t.Fatal(err)
	}
	example := func(name string) string {
		m := regexp.MustCompile("(?s)```hex " + name + "\n(.*?)```").FindSubmatch(page)
		if m == nil {
			t.Fatalf("the page has no example %s", name)
		}
		text := regexp.MustCompile(`(?m)#.*$`).ReplaceAllString(string(m[1]), "")
		b, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	fl := newFleet(t)
	for _, d := range []struct{ id, site string }{{"d1", `"a"`}, {"d2", `"2026-01-02"`}} {
		fl.apply(device.KindIdentity, d.id, change(t, d.id, "", 0))
		fl.apply(device.KindTwin, d.id, `{"tags":{"site":`+d.site+`}}`)
	}
	fl.module(device.KindIdentity, "d1", "m", moduleChange(t, "d1", "m", ""))
	fl.module(device.KindTwin, "d1", "m", `{"tags":{"site":7}}`)
	fl.flush()
	fl.indexed("tags.site")
	definition := example("index")
	if got := string(fl.store[definition[:11]]); got != definition[11:] {
		t.Errorf("saved %x\nthe page has %x", got, definition[11:])
	}
	x, ok := decodeIndex([]byte(definition[3:11]), []byte(definition[11:]))
	if !ok || !x.ready || x.text != "tags.site" || x.built != "d2" {
		t.Errorf("read %+v, %t", x, ok)
	}
	for n := range definition[11:] {
		if _, ok := decodeIndex([]byte(definition[3:11]), []byte(definition[11:11+n])); ok {
			t.Errorf("%d bytes of a definition are accepted", n)
		}
	}
	entries := strings.Split(example("entries"), "\x00\x01v")[1:]
	for _, e := range entries {
		if v, ok := fl.store["\x00\x01v"+e]; !ok || len(v) > 0 {
			t.Errorf("entry %x of the page is not there", e)
		}
	}
	stored := 0
	for k := range fl.store {
		if strings.HasPrefix(k, "\x00\x01v") {
			stored++
		}
	}
	if stored != len(entries) {
		t.Errorf("%d entries, the page has %d", stored, len(entries))
	}
}
