package eventlog

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

func sampleCheckpoint() *Checkpoint {
	c := &Checkpoint{
		Core: "gemello.p.devices.3", Offset: 1000, Arrival: 17_000_000_000_000_000, Watermark: 16_999_999_950_000_000,
		JournalSeq: 7, JournalOffset: 42, OutboxSeq: 3,
		RewindOffset: 900, RewindArrival: 16_999_999_000_000_000, RewindWatermark: 16_999_998_950_000_000,
		SettingsVersion: 12, WrittenAt: 1_700_000_000_000, Released: true, Node: "n1",
		Pipelines: []PipelineClock{
			{ID: "t", From: 0, MaxTs: 16_999_999_970_000_000, Watermark: 16_999_999_950_000_000, Arrival: 17_000_000_000_000_000,
				Rewind: 900, RewindM: 16_999_998_970_000_000, RewindW: 16_999_998_950_000_000, RewindA: 16_999_999_000_000_000,
				OpenWindows: 24},
			{ID: "u", Watermark: math.MinInt64, MaxTs: math.MinInt64, Suspended: true, Reason: "topic alerts: deleted"},
		},
	}
	for i := range c.PlanHash {
		c.PlanHash[i] = byte(i)
	}
	return c
}

func TestCheckpointSurvivesItsEncoding(t *testing.T) {
	for _, c := range []*Checkpoint{{}, sampleCheckpoint(), {Offset: math.MaxInt64, Watermark: math.MinInt64, JournalSeq: math.MaxUint64}} {
		b := AppendCheckpoint([]byte("before"), c)
		got, err := DecodeCheckpoint(b[len("before"):])
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, c) {
			t.Errorf("got %+v, want %+v", got, c)
		}
	}
}

func TestCheckpointRefusesEveryDamage(t *testing.T) {
	good := AppendCheckpoint(nil, sampleCheckpoint())
	refused := func(name string, b []byte) {
		t.Helper()
		if _, err := DecodeCheckpoint(b); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: got %v, want ErrCorrupt", name, err)
		}
	}
	for i := range good {
		refused("cut short", good[:i])
		b := bytes.Clone(good)
		b[i] ^= 0x10
		refused("flipped bit", b)
	}
	refused("trailing byte", append(bytes.Clone(good), 0))
	body := good[:len(good)-crcSize]
	refused("bytes too many under a right checksum", seal(append(bytes.Clone(body), 0), 0))
	refused("bytes too few under a right checksum", seal(bytes.Clone(body[:len(body)-1]), 0))
	other := bytes.Clone(body)
	other[0] = 2
	refused("another version", seal(other, 0))
	other = bytes.Clone(body)
	other[1] = 0x80
	refused("unknown flag", seal(other, 0))
}

func TestVarintsHaveOneForm(t *testing.T) {
	// core length 0 written as 0x80 0x00
	b := AppendCheckpoint(nil, &Checkpoint{})
	long := append([]byte{b[0], b[1], 0x80, 0x00}, b[3:len(b)-crcSize]...)
	if _, err := DecodeCheckpoint(seal(long, 0)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("got %v, want ErrCorrupt", err)
	}
}

// pageExample returns the bytes of the worked example of a format page.
func pageExample(t *testing.T, page string) []byte {
	t.Helper()
	text, err := os.ReadFile("../../docs/format/" + page)
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```hex\n(.*?)```").FindSubmatch(text)
	if m == nil {
		t.Fatalf("%s has no hex example", page)
	}
	var digits strings.Builder
	for line := range strings.Lines(string(m[1])) {
		field, _, _ := strings.Cut(line, "#")
		digits.WriteString(strings.Join(strings.Fields(field), ""))
	}
	b, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCheckpointPageExampleIsWhatTheCodeWrites(t *testing.T) {
	want := &Checkpoint{
		Core: "hub.p.devices.3", Offset: 1000, Arrival: 20, Watermark: 15, JournalSeq: 7, JournalOffset: 42, OutboxSeq: 3,
		RewindOffset: 900, RewindArrival: 12, RewindWatermark: 7, SettingsVersion: 12, WrittenAt: 1_700_000_000_000,
		Released: true, Node: "n1",
		Pipelines: []PipelineClock{{ID: "t", From: 0, MaxTs: 17, Watermark: 15, Arrival: 20, Rewind: 900, RewindM: 9, RewindW: 7, RewindA: 12,
			OpenWindows: 24, Suspended: true, Reason: "gone"}},
	}
	for i := range want.PlanHash {
		want.PlanHash[i] = byte(i)
	}
	b := pageExample(t, "checkpoint.md")
	got, err := DecodeCheckpoint(b)
	if err != nil {
		t.Fatalf("%v; the code writes %x", err, AppendCheckpoint(nil, want))
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if again := AppendCheckpoint(nil, want); !bytes.Equal(again, b) {
		t.Errorf("the code writes %x", again)
	}
}

func FuzzDecodeCheckpoint(f *testing.F) {
	f.Add(AppendCheckpoint(nil, sampleCheckpoint()))
	f.Add(AppendCheckpoint(nil, &Checkpoint{}))
	f.Add([]byte{1, 0, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		// The checksum would stop the fuzzer at the door.
		for _, in := range [][]byte{b, seal(bytes.Clone(b), 0)} {
			c, err := DecodeCheckpoint(in)
			if err != nil {
				if !errors.Is(err, ErrCorrupt) {
					t.Fatalf("%v is not an ErrCorrupt", err)
				}
				continue
			}
			if again := AppendCheckpoint(nil, c); !bytes.Equal(again, in) {
				t.Fatalf("%x decodes to %+v, which encodes to %x", in, c, again)
			}
		}
	})
}
