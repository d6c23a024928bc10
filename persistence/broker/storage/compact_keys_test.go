package storage

import (
	"fmt"
	"testing"
)

func TestARecordIsSupersededByALaterOneOfItsKey(t *testing.T) {
	n := newNewestByKey(2)
	for offset, key := range []string{"a", "b", "a"} {
		if !n.put([]byte(key), int64(offset)) {
			t.Fatalf("no room for %q", key)
		}
	}
	for _, tc := range []struct {
		key    string
		offset int64
		want   bool
	}{{"a", 0, true}, {"a", 2, false}, {"b", 1, false}, {"c", 0, false}, {"", 0, false}} {
		if got := n.superseded([]byte(tc.key), tc.offset); got != tc.want {
			t.Errorf("%q at %d: superseded %t, want %t", tc.key, tc.offset, got, tc.want)
		}
	}
}

func TestRememberedKeysAreBounded(t *testing.T) {
	n := newNewestByKey(100)
	for i := range 100 {
		if !n.put(fmt.Append(nil, i), int64(i)) {
			t.Fatalf("key %d is refused", i)
		}
	}
	if n.put([]byte("one more"), 100) {
		t.Error("the limit is not kept")
	}
	if !n.put([]byte("7"), 101) || !n.superseded([]byte("7"), 7) {
		t.Error("a known key is refused when there is no room for new ones")
	}
	n.reset()
	if !n.put([]byte("one more"), 100) || n.superseded([]byte("7"), 7) {
		t.Error("keys are left after a reset")
	}
}
