package windows

import "sync/atomic"

// State reads an operator's saved state. Slices given to visit are valid
// during the call only; an error of visit ends the scan and is returned.
type State interface {
	// Scan visits the entries with lo <= key < hi in order of the keys.
	Scan(lo, hi []byte, visit func(key, value []byte) error) error
	// Get returns nil for a key that is absent.
	Get(key []byte) ([]byte, error)
}

// Batch collects changes in order; they take effect together. It keeps no
// slice it is given.
type Batch interface {
	Set(key, value []byte)
	Delete(key []byte)
	DeleteRange(lo, hi []byte)
}

// Scratch is space for state that did not fit the memory budget. It may be
// lost with the process.
type Scratch interface {
	State
	Set(key, value []byte) error
	DeleteRange(lo, hi []byte) error
}

// Budget is the memory that operators share. It is safe for concurrent use.
type Budget struct {
	limit int64
	used  atomic.Int64
}

// NewBudget returns a budget of so many bytes.
func NewBudget(bytes int64) *Budget { return &Budget{limit: bytes} }

// Used and Limit are in bytes. Used may exceed Limit by what can't be moved
// out of memory: open slices and key names.
func (b *Budget) Used() int64  { return b.used.Load() }
func (b *Budget) Limit() int64 { return b.limit }

func (b *Budget) room() int64 { return b.limit - b.used.Load() }
