package backup

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

func sample(t testing.TB) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, &Header{
		Hub: "h", HubID: "07", Partitions: 1, Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Positions: []Position{{41, 42}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range sampleEntries() {
		if err := w.Add(&e); err != nil {
			t.Fatal(err)
		}
	}
	if s, err := w.Close(); err != nil || s != (Summary{1, 1, 1}) {
		t.Fatalf("%+v, %v", s, err)
	}
	return out.Bytes()
}

func sampleEntries() []Entry {
	return []Entry{
		{Kind: KindState, Key: "d1", Value: []byte{1, 2, 3}},
		{Kind: KindSetting, Key: "hub", Value: []byte(`{"id":"07"}`)},
		{Kind: KindFile, Key: "hub.key", Value: []byte("k")},
	}
}

func readAll(b []byte) (h Header, entries []Entry, err error) {
	r, err := NewReader(bytes.NewReader(b))
	if err != nil {
		return h, nil, err
	}
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return r.Header, entries, nil
		}
		if err != nil {
			return r.Header, entries, err
		}
		entries = append(entries, *e)
	}
}

func TestABackupReadsAsItWasWritten(t *testing.T) {
	h, entries, err := readAll(sample(t))
	if err != nil || h.Hub != "h" || h.Positions[0] != (Position{41, 42}) || !reflect.DeepEqual(entries, sampleEntries()) {
		t.Errorf("%+v %+v %v", h, entries, err)
	}
}

func TestEveryCutAndEveryFlippedByteIsFound(t *testing.T) {
	whole := sample(t)
	for n := range whole {
		if _, _, err := readAll(whole[:n]); n >= len(magic) && !errors.Is(err, ErrPartial) || err == nil {
			t.Errorf("cut to %d of %d bytes: %v", n, len(whole), err)
		}
		bad := bytes.Clone(whole)
		bad[n] ^= 0x40
		if _, _, err := readAll(bad); err == nil {
			t.Errorf("byte %d flipped: no error", n)
		}
	}
	if _, _, err := readAll(append(bytes.Clone(whole), 0)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a byte too many: %v", err)
	}
	if _, _, err := readAll([]byte("gemello backup 2")); !errors.Is(err, ErrFormat) {
		t.Errorf("another version: %v", err)
	}
}

func TestTheDocumentedExampleIsWhatIsWritten(t *testing.T) {
	page, err := os.ReadFile("../../docs/format/backup.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut(string(page), "```hex backup\n")
	if !ok {
		t.Fatal("the page has no example")
	}
	text, _, _ = strings.Cut(text, "```")
	var digits strings.Builder
	for line := range strings.Lines(text) {
		bytesOf, _, _ := strings.Cut(line, "#")
		digits.WriteString(strings.Join(strings.Fields(bytesOf), ""))
	}
	if want := hex.EncodeToString(sample(t)); digits.String() != want {
		t.Errorf("the page has\n%s\nwritten is\n%s", digits.String(), want)
	}
}

func FuzzReader(f *testing.F) {
	f.Add(sample(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, entries, err := readAll(b)
		if err == nil && len(entries) > len(b) {
			t.Errorf("%d entries of %d bytes", len(entries), len(b))
		}
	})
}
