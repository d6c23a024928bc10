package torture

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
)

var (
	rounds  = flag.Int("rounds", 10, "how often the log is killed")
	seed    = flag.Uint64("seed", 1, "of times, sizes and values")
	binary  = flag.String("binary", "", "gemello's executable; empty: it is built")
	logArgs = flag.String("log-args", "", "more arguments of gemello log, for planted faults")
	starts  = flag.String("start", "", "shell command that starts another broker in the background; with -addr and -pid-file")
	addrOf  = flag.String("addr", "", "address of that broker")
	pidFile = flag.String("pid-file", "", "file with its process id")
	minGap  = flag.Duration("min-gap", 50*time.Millisecond, "shortest time between a start and the next kill")
	maxGap  = flag.Duration("max-gap", 500*time.Millisecond, "longest")
)

func TestLogKeepsItsPromisesThroughKills(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills processes for some seconds; run without -short")
	}
	dir := t.TempDir()
	var b broker
	if *starts != "" {
		b = &script{*starts, *pidFile, *addrOf}
	} else {
		b = newGemelloLog(t, dir, strings.Fields(*logArgs))
	}
	r := newRun(t, b, *rounds)
	v, err := r.torture()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range v.Findings {
		t.Log(f)
	}
	t.Log(v)
	if !v.Passed() {
		t.Errorf("seed %d: the log broke its promises", *seed)
	}
	if v.Committed == 0 || v.Aborted == 0 || v.Copies == 0 || v.Offsets == 0 || v.SeenLive == 0 {
		t.Errorf("seed %d: too little happened to prove anything", *seed)
	}
}

// TestTortureFindsALogThatForgets puts the log's directory back to what it was
// at an earlier kill, which is what a log that answers before it writes would do
// when the machine fails.
func TestTortureFindsALogThatForgets(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills processes for some seconds; run without -short")
	}
	r := newRun(t, newGemelloLog(t, t.TempDir(), nil), 4)
	r.rewinds = true
	v, err := r.torture()
	if err != nil {
		t.Fatal(err)
	}
	if v.Passed() || v.Lost == 0 {
		t.Errorf("nothing was missed: %v", v)
	}
}

func newRun(t *testing.T, b broker, rounds int) *run {
	return &run{b: b, rounds: rounds, rng: rand.New(rand.NewPCG(*seed, 1)), say: t.Logf}
}

// run is one torture under way.
type run struct {
	b      broker
	rounds int
	// rewinds plants a fault: see rewind.
	rewinds bool
	rng     *rand.Rand
	say     func(format string, args ...any)

	kills   int
	longest time.Duration // of a restart
	spare   string        // a copy of the log's directory, for rewind
}

// startWithin bounds a start after a kill.
const startWithin = 90 * time.Second

func (r *run) torture() (*Verdict, error) {
	began := time.Now()
	if err := r.start(); err != nil {
		return nil, err
	}
	defer func() { _ = r.b.kill() }() // it may be dead already
	ends, end := context.WithCancel(context.Background())
	drained, drain := context.WithCancel(context.Background())
	defer end()
	defer drain()
	s := &stage{addr: r.b.addr(), ledger: NewLedger(), ends: ends, txnMax: time.Minute}
	if err := s.create(); err != nil {
		return nil, err
	}
	stream := uint64(10)
	rng := func() *rand.Rand { stream++; return rand.New(rand.NewPCG(*seed, stream)) }
	var g, chains errgroup.Group
	for i := range 5 {
		w := &transactor{stage: s, id: fmt.Sprintf("txn-%d", i), rng: rng(), timeout: s.txnMax}
		if i == 0 {
			w.timeout = 500 * time.Millisecond // the log ends some of its transactions
		}
		w.p = s.ledger.Producer(w.id)
		g.Go(w.run)
	}
	for i := range 2 {
		w := &sender{stage: s, name: fmt.Sprintf("idempotent-%d", i), rng: rng()}
		g.Go(w.run)
		c := &committer{stage: s, group: fmt.Sprintf("group-%d", i), rng: rng()}
		g.Go(c.run)
	}
	live := &reader{stage: s}
	g.Go(live.run)
	var members []*chain
	for i := range 2 {
		w := &chain{stage: s, id: fmt.Sprintf("chain-%d", i), rng: rng(), drained: drained}
		members = append(members, w)
		chains.Go(w.run)
	}
	for range r.rounds {
		if err := r.round(); err != nil {
			return nil, err
		}
	}
	end()
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("a client did not survive: %w", err)
	}
	if err := s.awaitCopies(); err != nil {
		s.ledger.Note("%v", err)
	}
	drain()
	if err := chains.Wait(); err != nil {
		return nil, err
	}
	commits := int64(0)
	for _, m := range members {
		commits += m.commits.Load()
	}
	r.say("%d kills, longest restart %v; %d clients made anew, %d crashed, %d fenced; the chain committed %d times",
		r.kills, r.longest.Round(time.Millisecond), s.renewed.Load(), s.crashed.Load(), s.fenced.Load(), commits)
	if err := s.endChains(len(members)); err != nil {
		return nil, err
	}
	first, err := s.account()
	if err != nil {
		return nil, err
	}
	if err := errors.Join(r.kill(), r.start()); err != nil {
		return nil, err
	}
	second, err := s.account()
	if err != nil {
		return nil, err
	}
	second.Live = live.seen
	v := Judge(s.ledger, second, chainGroup)
	v.Same(first, second)
	v.Kills, v.Elapsed = r.kills, time.Since(began)
	return v, nil
}

func (r *run) start() error {
	ctx, cancel := context.WithTimeout(context.Background(), startWithin)
	defer cancel()
	began := time.Now()
	if err := r.b.start(); err != nil {
		return err
	}
	err := r.b.await(ctx)
	r.longest = max(r.longest, time.Since(began))
	return err
}

func (r *run) kill() error {
	r.kills++
	return r.b.kill()
}

// round lets the log work for a moment and kills it; now and then once more
// while it starts.
func (r *run) round() error {
	pause(context.Background(), *minGap+time.Duration(r.rng.Int64N(int64(*maxGap-*minGap)+1)))
	if err := r.kill(); err != nil {
		return err
	}
	if own, ok := r.b.(*gemelloLog); ok {
		if err := r.rewind(own); err != nil {
			return err
		}
		if r.rng.IntN(5) == 0 {
			if err := own.start(); err != nil {
				return err
			}
			pause(context.Background(), time.Duration(r.rng.Int64N(int64(60*time.Millisecond))))
			if err := r.kill(); err != nil {
				return err
			}
		}
	}
	return r.start()
}

// rewind keeps the directory at a kill and puts it back at a later one.
func (r *run) rewind(b *gemelloLog) error {
	if !r.rewinds {
		return nil
	}
	if r.spare == "" {
		r.spare = filepath.Join(b.dir, "spare")
		return os.CopyFS(r.spare, os.DirFS(b.data()))
	}
	if _, err := os.Stat(r.spare); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := os.RemoveAll(b.data()); err != nil {
		return err
	}
	return os.Rename(r.spare, b.data())
}

// create makes the topics.
func (s *stage) create() error {
	cl, err := s.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), opWithin)
	defer cancel()
	made, err := kadm.NewClient(cl).CreateTopics(ctx, partitions, 1, nil, topics...)
	if err == nil {
		err = made.Error()
	}
	return err
}

// awaitCopies waits until the chain has copied all that is to be copied.
func (s *stage) awaitCopies() error {
	cl, err := s.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), opWithin)
	defer cancel()
	a := NewAccount()
	if err := s.read(ctx, topicIn, kgo.ReadCommitted(), a.Committed, a); err != nil {
		return err
	}
	for {
		behind := ""
		got, err := kadm.NewClient(cl).FetchOffsets(ctx, chainGroup)
		for tp, list := range a.Committed {
			last := list[len(list)-1].Offset + 1
			if o, ok := got.Lookup(tp.Topic, tp.Partition); !ok || o.At < last {
				behind = fmt.Sprintf("%v at %d of %d", tp, o.At, last)
			}
		}
		if err == nil && behind == "" {
			return nil
		}
		if !pause(ctx, 50*time.Millisecond) {
			return fmt.Errorf("the chain did not come to its end: %s: %v", behind, err)
		}
	}
}

// endChains ends what the chain's members left open.
func (s *stage) endChains(members int) error {
	for i := range members {
		cl, err := (&transactor{stage: s, id: fmt.Sprintf("chain-%d", i), timeout: s.txnMax}).begin()
		if err != nil {
			return err
		}
		cl.Close()
	}
	return nil
}

// quietWithin is how long a log that is not killed may be silent.
const quietWithin = 20 * time.Second

// account reads everything.
func (s *stage) account() (*Account, error) {
	cl, err := s.client()
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*opWithin)
	defer cancel()
	a, adm := NewAccount(), kadm.NewClient(cl)
	for _, t := range topics {
		if err := s.read(ctx, t, kgo.ReadUncommitted(), a.All, a); err != nil {
			return nil, err
		}
		if err := s.read(ctx, t, kgo.ReadCommitted(), a.Committed, a); err != nil {
			return nil, err
		}
	}
	for _, g := range []string{chainGroup, "group-0", "group-1"} {
		got, err := adm.FetchOffsets(ctx, g)
		if err == nil {
			err = got.Error()
		}
		if err != nil {
			return nil, fmt.Errorf("offsets of group %s: %w", g, err)
		}
		a.Offsets[g] = map[TopicPartition]int64{}
		got.Each(func(o kadm.OffsetResponse) { a.Offsets[g][TopicPartition{o.Topic, o.Partition}] = o.At })
	}
	return a, nil
}

// read reads a topic from its start to where it ends now, and takes the bounds
// of its partitions.
func (s *stage) read(ctx context.Context, topic string, level kgo.IsolationLevel, into map[TopicPartition][]Seen, a *Account) error {
	cl, err := s.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {}}))
	if err != nil {
		return err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	high, err := adm.ListEndOffsets(ctx, topic)
	if err == nil {
		err = high.Error()
	}
	if err != nil {
		return err
	}
	stable, err := adm.ListCommittedOffsets(ctx, topic)
	if err == nil {
		err = stable.Error()
	}
	if err != nil {
		return err
	}
	from := map[int32]kgo.Offset{}
	until := map[int32]int64{}
	for p := range int32(partitions) {
		h, _ := high.Lookup(topic, p)
		l, _ := stable.Lookup(topic, p)
		a.Bounds[TopicPartition{topic, p}] = Bounds{Stable: l.Offset, High: h.Offset}
		end := h.Offset
		if level == kgo.ReadCommitted() {
			end = l.Offset
		}
		if end > 0 {
			from[p], until[p] = kgo.NewOffset().At(0), end
		}
	}
	if len(until) == 0 {
		return nil
	}
	rd, err := s.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}), kgo.FetchIsolationLevel(level),
		kgo.KeepControlRecords(), kgo.ConsumeResetOffset(kgo.NoResetOffset()))
	if err != nil {
		return err
	}
	defer rd.Close()
	for len(until) > 0 {
		quiet, cancel := context.WithTimeout(ctx, quietWithin)
		fetches := rd.PollFetches(quiet)
		cancel()
		if fetches.NumRecords() == 0 && quiet.Err() != nil {
			open := true
			for p := range until {
				b := a.Bounds[TopicPartition{topic, p}]
				open = open && b.Stable < b.High
			}
			if open && level == kgo.ReadCommitted() {
				return nil // what is left is of an aborted transaction whose marker is beyond
			}
			return fmt.Errorf("read %s: there is nothing up to %v", topic, until)
		}
		var bad error
		fetches.EachRecord(func(rec *kgo.Record) {
			end, ok := until[rec.Partition]
			if !ok {
				return
			}
			if rec.Offset+1 >= end {
				delete(until, rec.Partition)
			}
			if rec.Offset >= end || rec.Attrs.IsControl() {
				return
			}
			r, err := ParseRecord(rec.Value)
			if err != nil {
				bad = fmt.Errorf("%s/%d at %d: %w", topic, rec.Partition, rec.Offset, err)
			}
			tp := TopicPartition{topic, rec.Partition}
			into[tp] = append(into[tp], Seen{rec.Offset, r})
		})
		if bad != nil {
			return bad
		}
	}
	return nil
}
