package storage

import "hash/maphash"

// defaultCompactKeys bounds the keys that one pass of compaction remembers: an
// entry takes about 40 bytes, and a pass that meets more keys ends earlier.
const defaultCompactKeys = 1 << 18

// newestByKey remembers the newest offset of each key of a stretch of a
// partition. Keys are kept as 128 bits of two hashes under seeds of this
// process: nobody can make two keys collide, and by chance it takes 2^64 of them.
type newestByKey struct {
	seeds  [2]maphash.Seed
	newest map[keyHash]int64
	max    int
}

type keyHash [2]uint64

func newNewestByKey(maxKeys int) *newestByKey {
	return &newestByKey{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, newest: make(map[keyHash]int64), max: maxKeys}
}

func (n *newestByKey) hash(key []byte) keyHash {
	return keyHash{maphash.Bytes(n.seeds[0], key), maphash.Bytes(n.seeds[1], key)}
}

// put remembers that key is at offset, which is larger than those before. It
// reports false when there is no room for another key.
func (n *newestByKey) put(key []byte, offset int64) bool {
	h := n.hash(key)
	if _, ok := n.newest[h]; !ok && len(n.newest) >= n.max {
		return false
	}
	n.newest[h] = offset
	return true
}

// superseded reports whether a record of key comes after offset.
func (n *newestByKey) superseded(key []byte, offset int64) bool {
	at, ok := n.newest[n.hash(key)]
	return ok && at > offset
}

func (n *newestByKey) reset() { clear(n.newest) }
