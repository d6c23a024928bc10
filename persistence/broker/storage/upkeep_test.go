package storage

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

var errSync = errors.New("the disk did not sync")

// syncFailer fails a sync of the write-ahead log now and then while it is armed.
type syncFailer struct {
	mu     sync.Mutex // guards the following
	rng    *rand.Rand
	armed  bool
	failed int
}

func (f *syncFailer) MaybeError(op errorfs.Op) error {
	if op.Kind != errorfs.OpFileSync && op.Kind != errorfs.OpFileSyncData || !strings.HasSuffix(op.Path, ".log") {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.armed && f.rng.IntN(10) == 0 {
		f.failed++
		return errSync
	}
	return nil
}

func (*syncFailer) String() string { return "(SyncFailer)" }

// TestUpkeepAndAppendsGoOnAfterFailedSyncs lets syncs fail while two writers
// append to a compacted topic that is also cut. What was acknowledged, and not
// deleted, is there in the end.
func TestUpkeepAndAppendsGoOnAfterFailedSyncs(t *testing.T) {
	failer := &syncFailer{rng: rand.New(rand.NewPCG(5, 5))}
	c := newClock()
	o := c.options(errorfs.Wrap(vfs.NewMem(), failer))
	o.Retention = -1
	l := open(t, o)
	mustCreate(t, l, "t", 2, "cleanup.policy", "compact", "min.cleanable.dirty.ratio", "0")
	mustCreate(t, l, "log", 1, "retention.bytes", fmt.Sprint(2<<20))
	failer.mu.Lock()
	failer.armed = true
	failer.mu.Unlock()
	// may has what a key may have: the last value that was acknowledged, none if
	// none was, and those tried since. The seeds of the writers are fixed, but not
	// how many of their attempts meet a log that is down.
	may := [2]map[string][]string{{}, {}}
	for i := range may {
		for key := range 10 {
			may[i][fmt.Sprint(key)] = []string{""}
		}
	}
	var writers sync.WaitGroup
	for i := range 2 {
		writers.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 6))
			for n := range 300 {
				key, value := fmt.Sprint(rng.IntN(10)), fmt.Sprint(n)+strings.Repeat("x", 1<<rng.IntN(16))
				r := appendAll(l,
					Append{TopicPartition: at("t", int32(i)), Batch: keyed{ms: l.now()}.bytes(t, kv{key: key, value: value})},
					Append{TopicPartition: at("log", 0), Batch: keyed{ms: l.now()}.bytes(t, kv{key: key, value: value})})
				if r[0].Err == nil {
					may[i][key] = nil
				}
				may[i][key] = append(may[i][key], value)
			}
		})
	}
	done := make(chan struct{})
	go func() {
		writers.Wait()
		close(done)
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		if err := l.keepUp(l.now()); err != nil && !errors.Is(err, errStorage) && !errors.Is(err, errNoDatabase) {
			t.Fatal(err)
		}
	}
	failer.mu.Lock()
	failer.armed = false
	if failer.failed < 3 {
		t.Errorf("%d syncs failed: too few to show anything", failer.failed)
	}
	failer.mu.Unlock()
	deadline := time.Now().Add(30 * time.Second)
	for l.keepUp(l.now()) != nil && time.Now().Before(deadline) {
		<-time.After(time.Millisecond)
	}
	check := func() {
		t.Helper()
		mustVerify(t, l)
		for i := range 2 {
			got, _ := follow(t, l, at("t", int32(i)), 0)
			table := latest(nil, got)
			for key, values := range may[i] {
				if !slices.Contains(values, table[key]) {
					t.Errorf("partition %d, key %s has a value of %d bytes that is not the last", i, key, len(table[key]))
				}
			}
		}
	}
	check()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, o)
	defer l.Close()
	check()
}
