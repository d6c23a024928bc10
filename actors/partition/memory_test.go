package partition

import (
	"maps"
	"slices"
)

// memory is a store, and scratch space, as a map. A scan is over a snapshot of
// the keys, as Pebble's iterators are.
type memory map[string][]byte

func (m memory) Get(key []byte) ([]byte, error) {
	v, ok := m[string(key)]
	if !ok {
		return nil, nil
	}
	return slices.Clone(v), nil
}

func (m memory) Scan(lo, hi []byte, visit func(key, value []byte) error) error {
	var keys []string
	for k := range m {
		if k >= string(lo) && k < string(hi) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		if err := visit([]byte(k), slices.Clone(m[k])); err != nil {
			return err
		}
	}
	return nil
}

// memoryBatch applies at once.
type memoryBatch struct{ m memory }

func (b memoryBatch) Set(key, value []byte) { b.m[string(key)] = slices.Clone(value) }

func (b memoryBatch) Delete(key []byte) { delete(b.m, string(key)) }

func (b memoryBatch) DeleteRange(lo, hi []byte) {
	maps.DeleteFunc(b.m, func(k string, _ []byte) bool { return k >= string(lo) && k < string(hi) })
}

// memoryScratch is scratch space.
type memoryScratch struct{ memory }

func (s memoryScratch) Set(key, value []byte) error {
	memoryBatch{s.memory}.Set(key, value)
	return nil
}

func (s memoryScratch) DeleteRange(lo, hi []byte) error {
	memoryBatch{s.memory}.DeleteRange(lo, hi)
	return nil
}
