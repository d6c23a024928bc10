package storage_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gemello/gemello/internal/torture"
	"github.com/gemello/gemello/persistence/broker/storage"
)

var (
	tortureLives = flag.Int("lives", 10, "crashes of each seed's log")
	tortureSyncs = flag.Bool("failing-syncs", true, "fail syncs in some lives")
	tortureSeed  = flag.Uint64("seed", 1, "first of four seeds")
)

// TestLogKeepsItsPromisesThroughCrashes lets producers, a chain and a group use
// a log that crashes at random writes to its file system, which then loses what
// was not synced, and now and then fails a sync. They repeat what was not
// answered, as Kafka's clients do. What they know is compared with what the log
// holds.
func TestLogKeepsItsPromisesThroughCrashes(t *testing.T) {
	for seed := *tortureSeed; seed < *tortureSeed+4; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, seed)
			v := w.torture(*tortureLives)
			for _, f := range v.Findings {
				t.Log(f)
			}
			t.Log(v)
			if !v.Passed() {
				t.Error("the log broke its promises")
			}
			if v.Committed == 0 || v.Aborted == 0 || v.Copies == 0 || v.SeenLive == 0 {
				t.Error("too little happened to prove anything")
			}
		})
	}
}

// TestTortureFindsALogThatAnswersBeforeTheSync makes sure that a log that breaks
// its promises does not pass.
func TestTortureFindsALogThatAnswersBeforeTheSync(t *testing.T) {
	t.Parallel()
	w := newWorld(t, *tortureSeed)
	w.noSync = true
	if v := w.torture(10); v.Passed() {
		t.Errorf("it passed: %v", v)
	}
}

const (
	tortureIn, tortureOut = "in", "out"
	torturePartitions     = 3
	tortureChain          = "chain"
	tortureGroup          = "group"
)

var tortureTopics = []string{"a", "b", tortureIn, tortureOut}

// world is a log with its file system, which have several lives.
type world struct {
	t      *testing.T
	seed   uint64
	rng    *rand.Rand // main's
	ledger *torture.Ledger
	noSync bool
	ends   context.Context // done: workers finish
	end    context.CancelFunc

	mu     sync.Mutex // guards the following; a crash happens under it
	life   int
	log    *storage.Log // nil: it is being opened
	corpse *storage.Log // to be closed
	up     chan struct{}
	disk   *vfs.MemFS
	next   *vfs.MemFS // what the crash has left
	least  *vfs.MemFS // what it had to leave
	dead   chan struct{}
	live   map[torture.TopicPartition][]torture.Seen
	force  func() // crashes the present life
	fails  int    // syncs that were failed
	fuse   *fuse
}

// fuse is what a life's file system does: crash at a write, fail syncs.
type fuse struct {
	mu     sync.Mutex
	rng    *rand.Rand
	left   int // writes until the crash; negative: none
	oneIn  int // of the syncs that fails; 0: none
	spared int // writes until the next sync may fail
	failed int
}

// spare is how many writes are let alone after a sync that failed, and from the
// birth of a log on: more than opening takes. Pebble starts work in the background
// while it opens a database, and panics there when the opening fails.
const spare = 150

// burn reports whether this operation is the last one, or fails.
func (f *fuse) burn(op errorfs.Op) (crash, fail bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch op.Kind {
	case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
		if f.oneIn > 0 && f.left != 0 && f.spared <= 0 && f.rng.IntN(f.oneIn) == 0 {
			f.failed++
			f.spared = spare
			fail = true
		}
	}
	f.spared--
	if f.left > 0 {
		f.left--
		crash = f.left == 0
	}
	return crash, fail
}

// quench ends crashes and failures.
func (f *fuse) quench() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left, f.oneIn = -1, 0
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{
		t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 0)), ledger: torture.NewLedger(), up: make(chan struct{}),
		disk: vfs.NewCrashableMem(), live: map[torture.TopicPartition][]torture.Seen{},
	}
	w.ends, w.end = context.WithCancel(context.Background())
	return w
}

// crash keeps what a crash at this moment leaves of the disk. What the log
// answers from here on does not count.
func (w *world) crash(f *fuse, disk *vfs.MemFS, dead chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f.mu.Lock()
	part := vfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 50, 100}[f.rng.IntN(3)], RNG: rand.New(rand.NewPCG(w.seed, f.rng.Uint64()))}
	f.mu.Unlock()
	w.die()
	w.next, w.least = disk.CrashClone(part), disk.CrashClone(vfs.CrashCloneCfg{})
	close(dead)
}

// die ends a life: what its log answers does not count any more. mu must be held.
func (w *world) die() {
	w.life++
	if w.log != nil {
		w.corpse, w.log, w.up = w.log, nil, make(chan struct{})
	}
}

// faultyFS has its faults in reused files, too.
type faultyFS struct {
	vfs.FS
	faults errorfs.Injector
}

func (f *faultyFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.ReuseForWrite(oldname, newname, category)
	if err != nil {
		return nil, err
	}
	return errorfs.WrapFile(file, f.faults), nil
}

// begin opens the log on what is left of the disk.
func (w *world) begin(f *fuse) (died <-chan struct{}) {
	dead := make(chan struct{})
	if dangling(w.disk) {
		w.disk = w.least
	}
	disk := w.disk
	var once sync.Once
	w.force = func() { once.Do(func() { w.crash(f, disk, dead) }) }
	injector := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
			return nil
		}
		crash, fail := f.burn(op)
		if crash {
			once.Do(func() { w.crash(f, disk, dead) })
		}
		if fail {
			return errorfs.ErrInjected
		}
		return nil
	})
	fs := &faultyFS{errorfs.Wrap(disk, injector), injector}
	log, err := storage.Open(context.Background(), storage.Options{
		Dir: "log", FS: fs, Retention: -1, RetentionBytes: -1, ReserveBytes: -1, NoSync: w.noSync, Housekeeping: 20 * time.Millisecond,
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fuse = f
	select {
	case <-dead: // on the way; nobody is to use it
		w.corpse = log
	default:
		if err != nil {
			w.t.Fatalf("life %d: %v", w.life, err)
		}
		w.log = log
		close(w.up)
	}
	return dead
}

// dangling reports whether a file is missing to which a marker points. Pebble
// makes the file and the marker before it syncs the directory once, which is
// right on file systems that keep the order of names, and the simulated crash
// does not.
func dangling(fs *vfs.MemFS) bool {
	names, err := fs.List("log/db")
	if err != nil {
		return false
	}
	newest := ""
	for _, n := range names {
		if strings.HasPrefix(n, "marker.manifest.") {
			newest = max(newest, n)
		}
	}
	if newest == "" {
		return false
	}
	_, file, _ := strings.Cut(strings.TrimPrefix(newest, "marker.manifest."), ".")
	return !slices.Contains(names, file)
}

// closeLife waits until a log has answered everything. Its errors say nothing:
// the disk is gone.
func (w *world) closeLife() {
	w.mu.Lock()
	log := w.corpse
	w.corpse = nil
	w.disk, w.next = w.next, nil
	w.mu.Unlock()
	if log != nil {
		_ = log.Close()
	}
}

// current returns the log, waiting for one that is being opened.
func (w *world) current() (int, *storage.Log) {
	for {
		w.mu.Lock()
		log, life, up := w.log, w.life, w.up
		w.mu.Unlock()
		if log != nil {
			return life, log
		}
		<-up
	}
}

// note runs f if the life in which something was answered has not ended.
func (w *world) note(life int, f func()) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if life != w.life {
		return false
	}
	f()
	return true
}

// patience is how long a life may last.
const patience = 20 * time.Second

func (w *world) torture(lives int) *torture.Verdict {
	began := time.Now()
	died := w.begin(w.newFuse(-1, false))
	_, log := w.current()
	for _, name := range tortureTopics {
		if _, err := log.CreateTopic(context.Background(), storage.Topic{Name: name, Partitions: torturePartitions}); err != nil {
			w.t.Fatal(err)
		}
	}
	var all, chains sync.WaitGroup
	for i := range 4 {
		x := w.newWriter(fmt.Sprintf("txn-%d", i), uint64(10+i))
		x.v2 = i%2 == 0
		x.late = i == 3
		all.Go(x.transactions)
	}
	for i := range 2 {
		x := w.newWriter(fmt.Sprintf("idempotent-%d", i), uint64(20+i))
		x.txnID = ""
		all.Go(x.appends)
	}
	all.Go(func() { w.commits(rand.New(rand.NewPCG(w.seed, 30))) })
	all.Go(func() { w.follow(rand.New(rand.NewPCG(w.seed, 31))) })
	all.Go(func() { w.churn(rand.New(rand.NewPCG(w.seed, 32))) })
	c := w.newWriter(tortureChain, 33)
	c.v2 = w.seed%2 == 0
	drained := make(chan struct{})
	chains.Go(func() { c.chain(drained) })

	v := &torture.Verdict{}
	for range lives {
		w.mu.Lock()
		w.fuse.arm(1 + w.rng.IntN(600))
		w.mu.Unlock()
		select {
		case <-died:
		case <-time.After(patience):
			// The disk failed so often that the log waits for its next start.
			w.force()
		}
		v.Kills++
		// Until a life is born. What its beginning writes grows with the log.
		for most := 600; ; most *= 2 {
			w.closeLife()
			f := w.newFuse(1+w.rng.IntN(most), w.rng.IntN(4) == 0 && !w.noSync)
			died = w.begin(f)
			w.mu.Lock()
			born := w.log != nil
			w.mu.Unlock()
			if born {
				break
			}
			v.Kills++
		}
	}
	w.mu.Lock()
	w.fuse.quench()
	w.mu.Unlock()
	select {
	case <-died: // just before
		w.closeLife()
		w.begin(w.newFuse(-1, false))
	default:
	}
	w.end()
	all.Wait()
	close(drained)
	chains.Wait()
	kills := v.Kills
	_, log = w.current()
	first := w.account(log)
	// Once more, as if the power had failed.
	w.mu.Lock()
	w.die()
	w.next = w.disk.CrashClone(vfs.CrashCloneCfg{})
	w.mu.Unlock()
	w.closeLife()
	w.begin(w.newFuse(-1, false))
	_, log = w.current()
	second := w.account(log)
	second.Live = w.live
	v = torture.Judge(w.ledger, second, tortureChain)
	v.Same(first, second)
	v.Kills, v.Elapsed = kills+1, time.Since(began)
	if err := log.Close(); err != nil {
		w.t.Errorf("close: %v", err)
	}
	w.t.Logf("%d syncs failed", w.fails)
	return v
}

func (w *world) newFuse(left int, failing bool) *fuse {
	f := &fuse{rng: rand.New(rand.NewPCG(w.seed, 1000+w.rng.Uint64N(1<<40))), left: left, spared: spare}
	if failing && *tortureSyncs {
		f.oneIn = 5 + w.rng.IntN(50)
	}
	if w.fuse != nil {
		w.fails += w.fuse.failed
	}
	return f
}

// arm sets the fuse unless it burns already.
func (f *fuse) arm(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left < 0 {
		f.left = n
	}
}

// idle waits a little where the log has nothing to say.
func idle(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	<-timer.C
}

// again tells errors after which a client repeats its request.
func again(err error) bool {
	return errors.Is(err, kerr.KafkaStorageError) || errors.Is(err, storage.ErrClosed)
}

func stp(tp torture.TopicPartition) storage.TopicPartition {
	return storage.TopicPartition{Topic: tp.Topic, Partition: tp.Partition}
}
