package storage

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// imageFS takes an image of what the disk holds after a power cut just before
// its k-th write since it was armed.
type imageFS struct {
	vfs.FS
	mu    sync.Mutex // guards the following; held while the image is taken
	left  int        // 0: not armed
	image *vfs.MemFS
}

func newImageFS(survivePercent int, seed uint64) *imageFS {
	mem := vfs.NewCrashableMem()
	f := &imageFS{}
	rng := rand.New(rand.NewPCG(seed, 3))
	f.FS = errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
			return nil
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.left > 0 {
			if f.left--; f.left == 0 {
				f.image = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: survivePercent, RNG: rng})
			}
		}
		return nil
	}))
	return f
}

func (f *imageFS) arm(k int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left = k
}

// TestACrashInTheMiddleOfUpkeepLosesNothing cuts the power before each of the
// first writes of rounds of compaction and retention.
func TestACrashInTheMiddleOfUpkeepLosesNothing(t *testing.T) {
	for k := 1; ; k++ {
		fs := newImageFS(50*(k%3), uint64(k))
		c := newClock()
		o := c.options(fs)
		o.Retention = time.Hour
		l := open(t, o)
		l.upkeep.maxKeys = 7
		table, log := at("t", 0), at("log", 0)
		mustCreate(t, l, "t", 1, "cleanup.policy", "compact", "delete.retention.ms", "1000")
		mustCreate(t, l, "log", 1)
		id, epoch, err := l.InitProducer(ctx, "x", time.Minute, -1, -1)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			put(t, l, table, keyed{id: id, epoch: epoch, seq: int32(2 * i), txn: true}, "x",
				kv{key: fmt.Sprint(i % 5), value: fmt.Sprint(i)}, kv{key: fmt.Sprint("b", i%11)})
			if _, _, err := l.EndTxn(ctx, "x", id, epoch, i%3 != 0, false); err != nil {
				t.Fatal(err)
			}
			put(t, l, log, keyed{}, "", kv{key: "k", value: fmt.Sprint(i)})
		}
		records, end := follow(t, l, table, 0)
		want := latest(nil, records)
		c.move(2 * time.Hour)
		fs.arm(k)
		for range 3 {
			mustKeepUp(t, l)
			c.move(2 * time.Second)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if fs.image == nil {
			if k < 20 {
				t.Fatalf("%d writes only: nothing was tested", k)
			}
			return
		}
		o.FS = fs.image
		l = open(t, o)
		mustVerify(t, l)
		got, stop := follow(t, l, table, 0)
		if !maps.Equal(latest(nil, got), want) || stop != end {
			t.Fatalf("crash before write %d: %s up to %d, want the table %v up to %d", k, shown(got), stop, want, end)
		}
		start, _, high, err := l.Offsets(log)
		if err != nil || high != 20 || start != 0 && start != 20 {
			t.Fatalf("crash before write %d: log from %d to %d, %v", k, start, high, err)
		}
		for range 3 {
			mustKeepUp(t, l)
			c.move(2 * time.Second)
		}
		if got, _ := follow(t, l, table, 0); !maps.Equal(latest(nil, got), want) {
			t.Fatalf("crash before write %d, then compaction: %s", k, shown(got))
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
