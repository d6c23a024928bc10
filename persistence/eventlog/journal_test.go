package eventlog

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"testing"
)

func sampleJournal() []JournalEntry {
	return []JournalEntry{
		{Seq: 8, Position: 1000, Kind: JournalIdleAdvance, Time: 17_000_000_000_000_000},
		{Seq: 9, Position: 1000, Kind: JournalArrivalStamp, Time: 17_000_000_000_010_000},
		{Seq: 10, Position: 1001, Kind: JournalArrivalStamp, Time: 17_000_000_000_010_000},
		{Seq: 11, Position: 1001, Kind: JournalSuspend, Payload: []byte("t\x00topic gone")},
		{Seq: 12, Position: 900, Kind: JournalGap, Time: math.MinInt64},
	}
}

func collectJournal(b []byte) (entries []JournalEntry, err error) {
	err = DecodeJournal(b, func(e JournalEntry) error {
		entries = append(entries, e)
		return nil
	})
	return entries, err
}

func TestJournalSurvivesItsEncoding(t *testing.T) {
	for _, want := range [][]JournalEntry{nil, sampleJournal()} {
		got, err := collectJournal(AppendJournal(nil, want))
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

func TestJournalRefusesEveryDamageBeforeTheFirstEntry(t *testing.T) {
	good := AppendJournal(nil, sampleJournal())
	refused := func(name string, b []byte) {
		t.Helper()
		entries, err := collectJournal(b)
		if !errors.Is(err, ErrCorrupt) || len(entries) > 0 {
			t.Errorf("%s: got %d entries and %v, want none and ErrCorrupt", name, len(entries), err)
		}
	}
	for i := range good {
		refused("cut short", good[:i])
		b := bytes.Clone(good)
		b[i] ^= 0x04
		refused("flipped bit", b)
	}
	body := good[:len(good)-crcSize]
	refused("bytes too many under a right checksum", seal(append(bytes.Clone(body), 0), 0))
	refused("bytes too few under a right checksum", seal(bytes.Clone(body[:len(body)-1]), 0))
	refused("unknown kind", AppendJournal(nil, []JournalEntry{{Seq: 1, Kind: JournalGap}, {Seq: 2, Kind: 9}}))
	refused("kind 0", AppendJournal(nil, []JournalEntry{{Seq: 1}}))
}

func TestJournalVisitorsErrorEndsTheDecoding(t *testing.T) {
	stop := errors.New("stop")
	calls := 0
	err := DecodeJournal(AppendJournal(nil, sampleJournal()), func(JournalEntry) error {
		calls++
		return stop
	})
	if !errors.Is(err, stop) || calls != 1 {
		t.Errorf("got %v after %d calls", err, calls)
	}
}

func TestJournalPageExampleIsWhatTheCodeWrites(t *testing.T) {
	want := []JournalEntry{
		{Seq: 8, Position: 1000, Kind: JournalIdleAdvance, Time: 20_000_000},
		{Seq: 9, Position: 1002, Kind: JournalSuspend, Payload: []byte("t gone")},
	}
	b := pageExample(t, "journal.md")
	got, err := collectJournal(b)
	if err != nil {
		t.Fatalf("%v; the code writes %x", err, AppendJournal(nil, want))
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if again := AppendJournal(nil, want); !bytes.Equal(again, b) {
		t.Errorf("the code writes %x", again)
	}
}

func FuzzDecodeJournal(f *testing.F) {
	f.Add(AppendJournal(nil, sampleJournal()))
	f.Add(AppendJournal(nil, nil))
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, in := range [][]byte{b, seal(bytes.Clone(b), 0)} {
			entries, err := collectJournal(in)
			if err != nil {
				if !errors.Is(err, ErrCorrupt) || len(entries) > 0 {
					t.Fatalf("%v with %d entries", err, len(entries))
				}
				continue
			}
			if again := AppendJournal(nil, entries); !bytes.Equal(again, in) {
				t.Fatalf("%x decodes to %+v, which encodes to %x", in, entries, again)
			}
		}
	})
}
