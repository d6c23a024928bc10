package store

import (
	"bytes"
	"math"
	"slices"
	"testing"
)

func TestOrderOfKeysIsOrderOfNumbers(t *testing.T) {
	numbers := []int64{math.MinInt64, -1 << 32, -256, -1, 0, 1, 255, 1 << 40, math.MaxInt64}
	var last []byte
	for _, n := range numbers {
		k := AppendInt64(nil, n)
		if last != nil && bytes.Compare(last, k) >= 0 {
			t.Errorf("key of %d does not sort after the one before", n)
		}
		last = k
		got, rest, err := Int64(append(k, 9))
		if got != n || !bytes.Equal(rest, []byte{9}) || err != nil {
			t.Errorf("Int64(key of %d) = %d, %v, %v", n, got, rest, err)
		}
	}
	if v, _, err := Uint64(AppendUint64(nil, math.MaxUint64)); v != math.MaxUint64 || err != nil {
		t.Error(v, err)
	}
	for _, short := range [][]byte{nil, make([]byte, 7)} {
		if _, _, err := Int64(short); err == nil {
			t.Errorf("Int64 of %d bytes is no error", len(short))
		}
		if _, _, err := Uint64(short); err == nil {
			t.Errorf("Uint64 of %d bytes is no error", len(short))
		}
	}
}

func TestOrderOfKeysIsOrderOfStringsWhateverFollows(t *testing.T) {
	names := []string{"", "\x00", "\x00\x00", "\x00\xff", "\x01", "a", "a\x00", "a\x00b", "ab", "b", "\xff", "\xff\xff"}
	if !slices.IsSorted(names) {
		t.Fatal("the table must be in order")
	}
	var last []byte
	for _, n := range names {
		k := AppendString(AppendPrefix(nil, 1, KindTwin), n)
		if last != nil && bytes.Compare(append(slices.Clone(last), 0xFF, 0xFF), k) >= 0 {
			t.Errorf("key of %q does not sort after the one before", n)
		}
		last = k
	}
}

func TestPrefixEndIsTheUpperBoundOfThePrefix(t *testing.T) {
	for _, c := range []struct{ prefix, end []byte }{
		{[]byte{1, 2}, []byte{1, 3}},
		{[]byte{1, 0xFF}, []byte{2}},
		{[]byte{0xFF, 0xFF}, nil},
		{nil, nil},
	} {
		if got := PrefixEnd(c.prefix); !bytes.Equal(got, c.end) {
			t.Errorf("PrefixEnd(%x) = %x, want %x", c.prefix, got, c.end)
		}
	}
}

func FuzzString(f *testing.F) {
	f.Add([]byte("a\x00\xffb\x00\x01rest"))
	f.Add([]byte("\x00"))
	f.Fuzz(func(t *testing.T, key []byte) {
		s, rest, err := String(key)
		if err != nil {
			return
		}
		if again := append(AppendString(nil, s), rest...); !bytes.Equal(again, key) {
			t.Fatalf("%x decodes to %q and encodes to %x", key, s, again)
		}
	})
}
