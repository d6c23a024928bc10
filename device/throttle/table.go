package throttle

import (
	"sync"
	"time"
)

// Table holds a bucket for each of many keys, at most Items of them.
type Table struct {
	rate  Rate
	items int

	mu sync.Mutex // guards m
	m  map[string]*Bucket
}

// NewTable returns a table for a rate that holds at most items buckets.
func NewTable(r Rate, items int) *Table {
	return &Table{rate: r, items: items, m: map[string]*Bucket{}}
}

// Take is Bucket.Take of a key. When the table has no room it forgets the keys
// whose buckets are full again; if there are none, a new key is not limited:
// many keys at once are for the limit of the whole hub.
func (t *Table) Take(key string, now time.Time, n int) time.Duration {
	if t.rate.N == 0 {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.m[key]
	if b == nil {
		if len(t.m) >= t.items {
			for k, old := range t.m {
				if old.full(now) {
					delete(t.m, k)
				}
			}
		}
		if len(t.m) >= t.items {
			return 0
		}
		b = new(Bucket)
		t.m[key] = b
	}
	return b.Take(t.rate, now, n)
}

// Len counts the keys that are held.
func (t *Table) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.m)
}
