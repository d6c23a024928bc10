package store

import (
	"errors"
	"math"
	"reflect"
	"testing"
)

func TestAppliedSurvivesEncoding(t *testing.T) {
	for _, a := range []Applied{
		{},
		{Offset: -1, JournalSeq: math.MaxUint64, JournalOffset: math.MinInt64, SettingsVersion: 1, Term: "node-1/7", Extra: []byte{0, 255}},
		{Offset: math.MaxInt64},
	} {
		got, err := decodeApplied(appendApplied(nil, a))
		if err != nil || !reflect.DeepEqual(got, a) {
			t.Errorf("got %+v, %v, want %+v", got, err, a)
		}
	}
}

func TestAppliedOfUnknownShapeIsRefused(t *testing.T) {
	good := appendApplied(nil, Applied{Offset: 300, Term: "t", Extra: []byte{1, 2, 3}})
	for i := range good {
		if _, err := decodeApplied(good[:i]); err == nil {
			t.Errorf("the first %d of %d bytes are accepted", i, len(good))
		}
	}
	if _, err := decodeApplied(append(good, 0)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a byte too many: %v", err)
	}
	good[0] = appliedVersion + 1
	if _, err := decodeApplied(good); !errors.Is(err, ErrFormat) {
		t.Errorf("a later version: %v, want ErrFormat", err)
	}
}

// TestAppliedVersion1IsFixed pins the bytes of docs/format/store.md.
func TestAppliedVersion1IsFixed(t *testing.T) {
	got := appendApplied(nil, Applied{Offset: 300, JournalSeq: 5, JournalOffset: -1, SettingsVersion: 2, Term: "n1", Extra: []byte{9}})
	want := []byte{1, 0xd8, 0x04, 5, 1, 2, 2, 'n', '1', 1, 9}
	if string(got) != string(want) {
		t.Errorf("encoding changed: % x, want % x", got, want)
	}
}

func FuzzDecodeApplied(f *testing.F) {
	f.Add(appendApplied(nil, Applied{Offset: 300, Term: "t", Extra: []byte{1}}))
	f.Add([]byte{1, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := decodeApplied(b)
		if err != nil {
			return
		}
		again, err := decodeApplied(appendApplied(nil, a))
		if err != nil || !reflect.DeepEqual(again, a) {
			t.Fatalf("%x: %+v became %+v, %v", b, a, again, err)
		}
	})
}
