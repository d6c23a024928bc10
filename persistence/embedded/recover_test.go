package embedded

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gemello/gemello/persistence/eventlog"
)

var twoPartitions = eventlog.TopicSpec{Name: "out", Partitions: 2}

// cutLast removes the last batch of a segment and its index entry.
func cutLast(t *testing.T, path string) {
	t.Helper()
	var last batch
	whole, err := scanSegment(path, func(b batch) error { last = b; return nil })
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, whole-last.size); err != nil {
		t.Fatal(err)
	}
	idx := strings.TrimSuffix(path, ".dat") + ".idx"
	info, err := os.Stat(idx)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(idx, info.Size()-indexEntrySize); err != nil {
		t.Fatal(err)
	}
}

func TestKillLeavesAcknowledgedRecordsAndOffsets(t *testing.T) {
	s := start(t, Options{Dir: t.TempDir()})
	l := connect(t, s.Addr(), eventlog.SASL{})
	ensure(t, l, twoPartitions)
	for i := range 5 {
		commit(t, l, "core", record("out", 0, "a", fmt.Sprint(i)), record("out", 1, "b", fmt.Sprint(i)))
	}
	before, err := l.Offsets(within(t), "out")
	if err != nil {
		t.Fatal(err)
	}
	dir := killed(t, s)
	for range 3 { // and killed again, with nothing written in between
		again := start(t, Options{Dir: dir})
		l := connect(t, again.Addr(), eventlog.SASL{})
		after, err := l.Offsets(within(t), "out")
		if err != nil {
			t.Fatal(err)
		}
		for p := range int32(2) {
			if after[p] != before[p] {
				t.Errorf("partition %d: %+v became %+v", p, before[p], after[p])
			}
			if got, want := read(t, l, "out", p), read(t, connect(t, s.Addr(), eventlog.SASL{}), "out", p); !slices.Equal(got, want) {
				t.Errorf("partition %d: got %v, want %v", p, got, want)
			}
		}
		dir = killed(t, again)
	}
}

func TestKillWithinACommitLeavesAllOfIt(t *testing.T) {
	s := start(t, Options{Dir: t.TempDir()})
	l := connect(t, s.Addr(), eventlog.SASL{})
	ensure(t, l, twoPartitions)
	commit(t, l, "core", record("out", 0, "a", "1"), record("out", 1, "b", "1"))
	commit(t, l, "core", record("out", 0, "a", "2"), record("out", 1, "b", "2"))
	for p := range int32(2) {
		dir := killed(t, s)
		cutLast(t, segment(t, dir, "out", p)) // its commit marker
		again := start(t, Options{Dir: dir})
		l := connect(t, again.Addr(), eventlog.SASL{})
		for q, key := range []string{"a", "b"} {
			if got, want := read(t, l, "out", int32(q)), []string{key + "=1", key + "=2"}; !slices.Equal(got, want) {
				t.Errorf("without the marker of %d, partition %d: got %v, want %v", p, q, got, want)
			}
		}
		commit(t, l, "core", record("out", 0, "a", "3"))
		if got := read(t, l, "out", 0); !slices.Equal(got, []string{"a=1", "a=2", "a=3"}) {
			t.Errorf("after another commit: %v", got)
		}
	}
}

func TestKillBeforeACommitLeavesNothingOfItAndFencesItsProducer(t *testing.T) {
	s := start(t, Options{Dir: t.TempDir()})
	l := connect(t, s.Addr(), eventlog.SASL{})
	ensure(t, l, twoPartitions)
	commit(t, l, "core", record("out", 0, "a", "1"), record("out", 1, "b", "1"))
	commit(t, l, "core", record("out", 0, "a", "2"), record("out", 1, "b", "2"))
	dir := killed(t, s)
	known, err := openProducers(dir)
	if err != nil {
		t.Fatal(err)
	}
	for p := range int32(2) {
		cutLast(t, segment(t, dir, "out", p))
	}
	again := start(t, Options{Dir: dir})
	l = connect(t, again.Addr(), eventlog.SASL{})
	for p, want := range []string{"a=1", "b=1"} {
		if got := read(t, l, "out", int32(p)); !slices.Equal(got, []string{want}) {
			t.Errorf("partition %d: got %v, want %s", p, got, want)
		}
	}
	ranges, err := l.Offsets(within(t), "out")
	if err != nil {
		t.Fatal(err)
	}
	if r := ranges[0]; r.Stable != r.High {
		t.Errorf("something is still open: %+v", r)
	}
	now, err := openProducers(again.dir)
	if err != nil {
		t.Fatal(err)
	}
	for id, e := range known.known {
		if e.TxID == "core" && now.known[id].Epoch < e.Epoch+1 {
			t.Errorf("epoch %d became %d", e.Epoch, now.known[id].Epoch)
		}
	}
	commit(t, l, "core", record("out", 0, "a", "3"))
	if got := read(t, l, "out", 0); !slices.Equal(got, []string{"a=1", "a=3"}) {
		t.Errorf("after another commit: %v", got)
	}
}

func TestTornTailIsCutOff(t *testing.T) {
	s := start(t, Options{Dir: t.TempDir()})
	l := connect(t, s.Addr(), eventlog.SASL{})
	ensure(t, l, twoPartitions)
	long := strings.Repeat("1", 100)
	commit(t, l, "core", record("out", 0, "a", long))
	whole, err := os.ReadFile(segment(t, s.dir, "out", 0))
	if err != nil {
		t.Fatal(err)
	}
	torn := markerBatch(2, 0, 1, 0, true, 0)
	torn[len(torn)-1] ^= 1
	for name, tail := range map[string][]byte{
		"part of a header":     whole[:20],
		"part of a batch":      whole[:100],
		"a batch gone bad":     torn,
		"zeros that were room": make([]byte, 4096),
	} {
		t.Run(name, func(t *testing.T) {
			dir := killed(t, s)
			path := segment(t, dir, "out", 0)
			if err := os.WriteFile(path, append(slices.Clone(whole), tail...), 0o600); err != nil {
				t.Fatal(err)
			}
			again := start(t, Options{Dir: dir})
			l := connect(t, again.Addr(), eventlog.SASL{})
			commit(t, l, "core", record("out", 0, "a", "2"))
			if got := read(t, l, "out", 0); !slices.Equal(got, []string{"a=" + long, "a=2"}) {
				t.Errorf("got %v", got)
			}
		})
	}
	t.Run("entries of the producer log", func(t *testing.T) {
		dir := killed(t, s)
		path := filepath.Join(dir, "pids.log")
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(raw, raw[:13]...), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := recoverDir(within(t), dir, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || len(got) != len(raw) {
			t.Errorf("%d bytes of %d are left, %v", len(got), len(raw), err)
		}
	})
}

func TestBatchWithoutIndexEntryIsKept(t *testing.T) {
	s := start(t, Options{Dir: t.TempDir()})
	l := connect(t, s.Addr(), eventlog.SASL{})
	ensure(t, l, twoPartitions)
	commit(t, l, "core", record("out", 0, "a", "1"))
	dir := killed(t, s)
	if err := os.Truncate(strings.TrimSuffix(segment(t, dir, "out", 0), ".dat")+".idx", indexEntrySize); err != nil {
		t.Fatal(err)
	}
	again := start(t, Options{Dir: dir})
	if got := read(t, connect(t, again.Addr(), eventlog.SASL{}), "out", 0); !slices.Equal(got, []string{"a=1"}) {
		t.Errorf("got %v", got)
	}
}

func TestDamageInTheMiddleIsRefusedByName(t *testing.T) {
	s := start(t, Options{Dir: t.TempDir()})
	l := connect(t, s.Addr(), eventlog.SASL{})
	ensure(t, l, twoPartitions)
	commit(t, l, "core", record("out", 0, "a", "1"))
	dir := killed(t, s)
	path := segment(t, dir, "out", 0)
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	raw[65] ^= 1
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := Start(within(t), Options{Dir: dir})
	if err == nil {
		again.Close()
		t.Fatal("started")
	}
	if !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v", err)
	}
}

func TestMarkerIsWhatTheBrokerWrites(t *testing.T) {
	s := start(t, Options{Dir: t.TempDir()})
	l := connect(t, s.Addr(), eventlog.SASL{})
	ensure(t, l, twoPartitions)
	commit(t, l, "core", record("out", 0, "a", "1"))
	var marker batch
	path := segment(t, s.dir, "out", 0)
	whole, err := scanSegment(path, func(b batch) error { marker = b; return nil })
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	raw = raw[whole-marker.size:]
	ours := markerBatch(marker.base, marker.leaderEpoch, marker.producerID, marker.producerEpoch, true, marker.maxTimestamp)
	if !slices.Equal(ours, raw) {
		t.Errorf("ours   %x\nbroker %x", ours, raw)
	}
}

func FuzzScanSegment(f *testing.F) {
	f.Add(markerBatch(3, 0, 1, 2, true, 5))
	f.Add(append(markerBatch(3, 0, 1, 2, true, 5), markerBatch(4, 0, 1, 2, false, 5)...))
	f.Fuzz(func(t *testing.T, raw []byte) {
		path := filepath.Join(t.TempDir(), "0.dat")
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		whole, err := scanSegment(path, func(batch) error { return nil })
		if whole > int64(len(raw)) || err == nil && whole != int64(len(raw)) {
			t.Fatalf("%d of %d bytes are whole, %v", whole, len(raw), err)
		}
	})
}

// serveProcess runs a server in a process of its own.
func serveProcess(t *testing.T, dir, listen string) (addr string, kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serveDir+"="+dir, serveDir+"_LISTEN="+listen)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	dead := false
	kill = func() {
		if !dead {
			dead = true
			cmd.Process.Kill()
			cmd.Wait()
			in.Close()
		}
	}
	t.Cleanup(kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "127.0.0.1:") {
		t.Fatalf("the server said %q, %v", line, err)
	}
	return strings.TrimSpace(line), kill
}

// A writer that goes on over kills of the log, as a core does: a term until an
// error, then a new one that reads the checkpoint. Each commit writes its
// number to every partition, so a torn, lost or doubled one shows.
func TestCommitsAreAtomicAcrossKillsOfTheLog(t *testing.T) {
	const partitions = 6
	dir, listen := t.TempDir(), "127.0.0.1:0"
	rounds := 6
	if testing.Short() {
		rounds = 2
	}
	next := 0 // number of the next commit
	for round := range rounds + 1 {
		addr, kill := serveProcess(t, dir, listen)
		l := connect(t, addr, eventlog.SASL{})
		ensure(t, l, eventlog.TopicSpec{Name: "out", Partitions: partitions}, eventlog.TopicSpec{Name: "checkpoints", Partitions: 1})
		term, err := l.NewTerm(within(t), "core", eventlog.TermOptions{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(term.Close)
		last, ok, err := l.LastByKey(within(t), "checkpoints", 0, []byte("core"))
		if err != nil {
			t.Fatal(err)
		}
		checkpoint := -1
		if ok {
			fmt.Sscan(string(last.Value), &checkpoint)
		}
		if checkpoint < next-1 {
			t.Fatalf("round %d: the checkpoint is %d, but %d was acknowledged", round, checkpoint, next-1)
		}
		next = checkpoint + 1
		for p := range int32(partitions) {
			words := read(t, l, "out", p)
			for i, w := range words {
				if w != fmt.Sprintf("=%d", i) {
					t.Fatalf("round %d: partition %d has %s at place %d", round, p, w, i)
				}
			}
			if len(words) != next {
				t.Fatalf("round %d: partition %d has %d commits, the checkpoint says %d", round, p, len(words), next)
			}
		}
		if round == rounds {
			t.Logf("%d commits over %d kills", next, rounds)
			break
		}
		ctx, cancel := context.WithCancel(within(t))
		timer := time.AfterFunc(time.Duration(50+rand.IntN(250))*time.Millisecond, func() { kill(); cancel() })
		for {
			slab := []eventlog.Record{record("checkpoints", 0, "core", fmt.Sprint(next))}
			for p := range int32(partitions) {
				slab = append(slab, record("out", p, "", fmt.Sprint(next)))
			}
			if err := term.Commit(ctx, slab); err != nil {
				if errors.Is(err, eventlog.ErrFenced) {
					t.Fatal(err)
				}
				break
			}
			next++
		}
		timer.Stop()
		kill()
		term.Close()
		l.Close()
	}
}

// The same writer, whose client outlives the log and goes on by itself where
// it can, as the nodes of a shared log do: what it takes for committed must be.
func TestCommitsAreWhatTheyWereSaidToBeToClientsThatOutliveTheLog(t *testing.T) {
	const partitions = 6
	rounds := 6
	if testing.Short() {
		rounds = 2
	}
	dir := t.TempDir()
	addr, kill := serveProcess(t, dir, "127.0.0.1:0")
	l := connect(t, addr, eventlog.SASL{})
	ensure(t, l, eventlog.TopicSpec{Name: "out", Partitions: partitions}, eventlog.TopicSpec{Name: "checkpoints", Partitions: 1})

	quit := make(chan struct{})
	progress := make(chan struct{}, 1)
	written := make(chan int, 1)
	errs := make(chan error, 1)
	go func() {
		next := 0
		defer func() { written <- next }()
		for {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			term, err := l.NewTerm(ctx, "core", eventlog.TermOptions{})
			if err != nil {
				cancel()
				continue
			}
			last, ok, err := l.LastByKey(ctx, "checkpoints", 0, []byte("core"))
			cancel()
			if err != nil {
				term.Close()
				continue
			}
			checkpoint := -1
			if ok {
				fmt.Sscan(string(last.Value), &checkpoint)
			}
			if checkpoint < next-1 {
				errs <- fmt.Errorf("the checkpoint is %d, but %d was acknowledged", checkpoint, next-1)
				term.Close()
				return
			}
			for next = checkpoint + 1; ; next++ {
				select {
				case <-quit:
					term.Close()
					return
				default:
				}
				slab := []eventlog.Record{record("checkpoints", 0, "core", fmt.Sprint(next))}
				for p := range int32(partitions) {
					slab = append(slab, record("out", p, "", fmt.Sprint(next)))
				}
				if err := term.Commit(context.Background(), slab); err != nil {
					break
				}
				select {
				case progress <- struct{}{}:
				default:
				}
			}
		}
	}()
	for range rounds {
		select {
		case <-time.After(time.Duration(100+rand.IntN(200)) * time.Millisecond):
		case err := <-errs:
			t.Fatal(err)
		}
		kill()
		_, kill = serveProcess(t, dir, addr)
		select { // of before the kill
		case <-progress:
		default:
		}
		select {
		case <-progress:
		case err := <-errs:
			t.Fatal(err)
		case <-within(t).Done():
			t.Fatal("the writer does not come back")
		}
	}
	close(quit)
	next := <-written
	select {
	case err := <-errs:
		t.Fatal(err)
	default:
	}
	for p := range int32(partitions) {
		words := read(t, l, "out", p)
		for i, w := range words {
			if w != fmt.Sprintf("=%d", i) {
				t.Fatalf("partition %d has %s at place %d", p, w, i)
			}
		}
		if len(words) < next {
			t.Errorf("partition %d has %d commits, %d were acknowledged", p, len(words), next)
		}
	}
	t.Logf("%d commits over %d kills", next, rounds)
}
