package partition

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gemello/gemello/device"
)

// TestFormatPageShowsDevicesAsTheyAreStored reads the page's example and writes
// it again.
func TestFormatPageShowsDevicesAsTheyAreStored(t *testing.T) {
	page, err := os.ReadFile("../../docs/format/device-state.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```hex device\n(.*?)```").FindSubmatch(page)
	if m == nil {
		t.Fatal("no example of a device")
	}
	example, err := hex.DecodeString(strings.Join(strings.Fields(regexp.MustCompile(`#.*`).ReplaceAllString(string(m[1]), "")), ""))
	if err != nil {
		t.Fatal(err)
	}
	want := Device{Session: "s1", Modules: []string{"m1"}}
	want.Identity = device.Identity{DeviceID: "d1", GenerationID: "1", ETag: "NDE=", Auth: device.Auth{Type: device.AuthNone}}
	want.Twin = device.NewTwin()
	want.Presence = device.Presence{Connected: true, Updated: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	if err := want.setConfigured(&Configured{Status: map[string]string{"cfg1": statusApplied}, Patch: `{"rate":5}`}); err != nil {
		t.Fatal(err)
	}
	b, err := appendDevice(nil, &want)
	if err != nil || !bytes.Equal(b, example) {
		t.Errorf("stored %x, %v\npage   %x", b, err, example)
	}
	got, err := decodeDevice(example)
	if err != nil {
		t.Fatal(err)
	}
	if got.Configurations != `{"cfg1":{"status":"Applied"}}` || got.Session != "s1" || len(got.Modules) != 1 {
		t.Errorf("read as %+v", got)
	}
	for version := range byte(8) {
		b := append([]byte{version}, example[1:]...)
		if _, err := decodeDevice(b); (version == deviceFormat) != (err == nil) || err != nil && !errors.Is(err, errCorrupt) {
			t.Errorf("version %d: %v", version, err)
		}
	}
}
