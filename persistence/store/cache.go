package store

import "github.com/cockroachdb/pebble/v2"

// Cache is the block cache and the table of open files that all stores of a
// process share: 16 to 64 stores of their own would multiply both.
type Cache struct {
	blocks *pebble.Cache
	files  *pebble.FileCache
}

const (
	defaultCacheBytes = 64 << 20
	// maxOpenTables bounds the open table files of all stores together; the
	// default limit of descriptors on Linux is 1024.
	maxOpenTables = 256
)

// NewCache returns a cache of the size given; 0 means 64 MiB. Close it after
// the stores that use it.
func NewCache(bytes int64) *Cache {
	if bytes <= 0 {
		bytes = defaultCacheBytes
	}
	return &Cache{blocks: pebble.NewCache(bytes), files: pebble.NewFileCache(1, maxOpenTables)}
}

// Bytes returns the memory that the cached blocks take.
func (c *Cache) Bytes() int64 { return c.blocks.Size() }

// Close releases the caller's reference. Open stores keep theirs.
func (c *Cache) Close() {
	c.files.Unref()
	c.blocks.Unref()
}
