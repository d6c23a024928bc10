package storage

import (
	"testing"

	"go.uber.org/goleak"
)

// A database that the disk failed while it was opened is left behind with its
// goroutines.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/gemello/gemello/persistence/broker/storage.park"),
		goleak.IgnoreAnyFunction("github.com/gemello/gemello/persistence/broker/storage.(*engine).openWith"),
		goleak.IgnoreAnyFunction("github.com/cockroachdb/pebble/v2.(*cleanupManager).mainLoop"),
		goleak.IgnoreAnyFunction("github.com/cockroachdb/pebble/v2/internal/genericcache.(*shard[...]).releaseLoop"))
}
