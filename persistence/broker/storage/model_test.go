package storage

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/twmb/franz-go/pkg/kerr"
)

// Long because the model and what compares it must be read side by side.
//
// The model is a log in a few maps, without any code of the log itself. Random
// requests run against both; crashes and failing syncs come at random moments.
// What the log says after each must be what the model says; after a request
// whose outcome nobody was told, what it said before or after.

type model struct {
	parts  []modelPart
	txns   map[string]modelTxn
	groups map[string]map[int]modelOffset
	nextID int64
	order  int
}

// modelOffset is an offset of a group. What a transaction held does not replace
// what was asked for after it.
type modelOffset struct {
	offset int64
	order  int
}

type modelPart struct {
	start     int
	log       []seen
	producers map[int64]modelProducer
	aborted   map[Aborted]int64 // offset of the marker
}

type modelProducer struct {
	epoch   int16
	batches []modelBatch // of the epoch; the last five count
	open    int64        // first offset of its transaction, -1
}

type modelBatch struct {
	data
	base int64
}

type modelTxn struct {
	id      int64
	epoch   int16
	state   string
	parts   map[int]bool
	offsets map[string]map[int]modelOffset
}

func (m *model) clone() *model {
	c := &model{nextID: m.nextID, order: m.order, txns: map[string]modelTxn{}, groups: map[string]map[int]modelOffset{}}
	for _, p := range m.parts {
		p.log = slices.Clone(p.log)
		p.aborted = maps.Clone(p.aborted)
		p.producers = maps.Clone(p.producers)
		for id, pr := range p.producers {
			pr.batches = slices.Clone(pr.batches)
			p.producers[id] = pr
		}
		c.parts = append(c.parts, p)
	}
	for k, t := range m.txns {
		t.parts = maps.Clone(t.parts)
		t.offsets = cloneOffsets(t.offsets)
		c.txns[k] = t
	}
	c.groups = cloneOffsets(m.groups)
	return c
}

func cloneOffsets(m map[string]map[int]modelOffset) map[string]map[int]modelOffset {
	c := map[string]map[int]modelOffset{}
	for g, o := range m {
		c[g] = maps.Clone(o)
	}
	return c
}

func (p *modelPart) stable() int64 {
	s := int64(len(p.log))
	for _, pr := range p.producers {
		if pr.open >= 0 {
			s = min(s, pr.open)
		}
	}
	return s
}

func (p *modelPart) put(d data) int64 {
	base := int64(len(p.log))
	for _, v := range d.values {
		id := d.id
		if id == 0 {
			id = -1
		}
		p.log = append(p.log, seen{offset: int64(len(p.log)), value: v, id: id})
	}
	if d.id > 0 {
		pr, ok := p.producers[d.id]
		if !ok {
			pr = modelProducer{open: -1}
		}
		if !ok || pr.epoch != d.epoch {
			pr.epoch, pr.batches = d.epoch, nil
		}
		pr.batches = append(pr.batches, modelBatch{d, base})
		if d.txn && pr.open < 0 {
			pr.open = base
		}
		p.producers[d.id] = pr
	}
	return base
}

func (m *model) end(name string, commit bool, epoch int16) {
	t := m.txns[name]
	for _, i := range slices.Sorted(maps.Keys(t.parts)) {
		p := &m.parts[i]
		pr, ok := p.producers[t.id]
		if !ok {
			pr = modelProducer{open: -1}
		}
		if !ok || pr.epoch != epoch {
			pr.epoch, pr.batches = epoch, nil
		}
		first := pr.open
		pr.open = -1
		p.producers[t.id] = pr
		at := int64(len(p.log))
		word := "abort"
		if commit {
			word = "commit"
		}
		p.log = append(p.log, seen{offset: at, value: word, id: t.id, control: true})
		if first >= 0 && !commit {
			p.aborted[Aborted{t.id, first}] = at
		}
	}
	if commit {
		for g, offsets := range t.offsets {
			if m.groups[g] == nil {
				m.groups[g] = map[int]modelOffset{}
			}
			for i, o := range offsets {
				if o.order > m.groups[g][i].order {
					m.groups[g][i] = o
				}
			}
		}
	}
	t.parts, t.offsets = map[int]bool{}, map[string]map[int]modelOffset{}
	t.state = "CompleteAbort"
	if commit {
		t.state = "CompleteCommit"
	}
	m.txns[name] = t
}

// String is everything that can be seen of the log.
func (m *model) String() string {
	var b strings.Builder
	for i, p := range m.parts {
		fmt.Fprintf(&b, "partition %d: %d %d %d\n", i, p.start, p.stable(), len(p.log))
		for _, s := range p.log[p.start:] {
			fmt.Fprintf(&b, " %v\n", s)
		}
		var aborted []string
		for a, last := range p.aborted {
			if last >= int64(p.start) && a.FirstOffset < p.stable() && p.stable() > int64(p.start) {
				aborted = append(aborted, fmt.Sprint(a))
			}
		}
		slices.Sort(aborted)
		fmt.Fprintf(&b, " aborted %v\n", aborted)
		for _, id := range slices.Sorted(maps.Keys(p.producers)) {
			pr := p.producers[id]
			last := int32(-1)
			if n := len(pr.batches); n > 0 {
				last = pr.batches[n-1].seq + int32(len(pr.batches[n-1].values)) - 1
			}
			fmt.Fprintf(&b, " producer %d: %d %d %d\n", id, pr.epoch, last, pr.open)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.txns)) {
		t := m.txns[name]
		fmt.Fprintf(&b, "txn %s: %d %d %s %v\n", name, t.id, t.epoch, t.state, slices.Sorted(maps.Keys(t.parts)))
	}
	pending := map[string]map[int]bool{}
	names := map[string]bool{}
	for _, t := range m.txns {
		for g, o := range t.offsets {
			for i := range o {
				if pending[g] == nil {
					pending[g] = map[int]bool{}
				}
				pending[g][i] = true
				names[g] = true
			}
		}
	}
	for g := range m.groups {
		names[g] = true
	}
	for _, g := range slices.Sorted(maps.Keys(names)) {
		for i := range m.parts {
			o, ok := m.groups[g][i]
			if !ok {
				o.offset = -1
			}
			if ok || pending[g][i] {
				fmt.Fprintf(&b, "group %s: %d %d %v\n", g, i, o.offset, pending[g][i])
			}
		}
	}
	return b.String()
}

const modelTopic = "m"

// describe says the same of the log, through its public methods alone.
func describe(t *testing.T, l *Log, parts int) string {
	var b strings.Builder
	for i := range parts {
		tp := at(modelTopic, int32(i))
		start, stable, high, err := l.Offsets(tp)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "partition %d: %d %d %d\n", i, start, stable, high)
		all, _ := readAll(t, l, tp, start, false)
		for _, s := range all {
			fmt.Fprintf(&b, " %v\n", s)
		}
		committed, set := readAll(t, l, tp, start, true)
		if n := len(committed); n > len(all) || n > 0 && !slices.Equal(committed, all[:n]) || int64(n) != stable-start {
			t.Fatalf("partition %d: %d records up to the last stable offset %d, %d in all from %d", i, n, stable, len(all), start)
		}
		aborted := []string{}
		for a := range set {
			aborted = append(aborted, fmt.Sprint(a))
		}
		slices.Sort(aborted)
		fmt.Fprintf(&b, " aborted %v\n", aborted)
		prs, err := l.Producers(tp)
		if err != nil {
			t.Fatal(err)
		}
		for _, pr := range prs {
			fmt.Fprintf(&b, " producer %d: %d %d %d\n", pr.ID, pr.Epoch, pr.LastSequence, pr.TxnStart)
		}
	}
	for _, x := range l.Transactions() {
		in := []int{}
		for _, tp := range x.Partitions {
			in = append(in, int(tp.Partition))
		}
		var nothing []int
		if len(in) == 0 {
			in = nothing
		}
		fmt.Fprintf(&b, "txn %s: %d %d %s %v\n", x.TxnID, x.ProducerID, x.Epoch, x.State, in)
	}
	for _, g := range l.Groups() {
		for _, o := range l.CommittedOffsets(g) {
			fmt.Fprintf(&b, "group %s: %d %d %v\n", g, o.Partition, o.Offset.Offset, o.Pending)
		}
	}
	return b.String()
}

// modelStep is one random request: what it does to the model, and to the log.
type modelStep struct {
	name string
	then func(m *model)
	run  func(l *Log) error
}

var errWrong = errors.New("wrong answer")

func expect(got, want error) error {
	if errors.Is(got, kerr.KafkaStorageError) || got == ErrClosed {
		return got
	}
	if got != want {
		return fmt.Errorf("%w: %v, want %v", errWrong, got, want)
	}
	return nil
}

// pick makes a modelStep that fits the model's present state.
func (m *model) pick(r *rand.Rand, serial *int) modelStep {
	values := func() []string {
		var out []string
		for range 1 + r.IntN(3) {
			*serial++
			out = append(out, fmt.Sprintf("v%d", *serial))
		}
		return out
	}
	i := r.IntN(len(m.parts))
	tp := at(modelTopic, int32(i))
	p := &m.parts[i]
	appendStep := func(name string, d data, txnID string, implicit bool, want error, base int64) modelStep {
		return modelStep{name: fmt.Sprintf("%s %d %+v", name, i, d), run: func(l *Log) error {
			got := appendAll(l, Append{TopicPartition: tp, Batch: d.bytes(), TxnID: txnID, Implicit: implicit})[0]
			if err := expect(got.Err, want); err != nil || want != nil {
				return err
			}
			if got.Base != base {
				return fmt.Errorf("%w: base offset %d, want %d", errWrong, got.Base, base)
			}
			return nil
		}}
	}
	switch k := r.IntN(20); {
	case k < 3:
		d := data{values: values()}
		s := appendStep("append", d, "", false, nil, int64(len(p.log)))
		s.then = func(m *model) { m.parts[i].put(d) }
		return s
	case k < 6: // idempotent, of a producer outside transactions
		id := int64(1000 + r.IntN(2))
		return m.sequencedStep(r, i, id, "", false, values, appendStep)
	case k < 12 && len(m.txns) > 0: // transactional
		names := slices.Sorted(maps.Keys(m.txns))
		name := names[r.IntN(len(names))]
		return m.sequencedStep(r, i, m.txns[name].id, name, r.IntN(2) == 0, values, appendStep)
	case k < 13:
		name := fmt.Sprintf("t%d", r.IntN(3))
		return modelStep{name: "init " + name,
			then: func(m *model) {
				t, ok := m.txns[name]
				if !ok {
					t = modelTxn{id: m.nextID, epoch: -1, parts: map[int]bool{}, offsets: map[string]map[int]modelOffset{}}
					m.nextID++
					m.txns[name] = t
				} else if t.state == "Ongoing" {
					m.end(name, false, t.epoch+1)
					t = m.txns[name]
				}
				t.epoch++
				t.state = "Empty"
				m.txns[name] = t
			},
			run: func(l *Log) error {
				_, _, err := l.InitProducer(ctx, name, time.Minute, -1, -1)
				return expect(err, nil)
			}}
	case k < 17 && len(m.txns) > 0:
		names := slices.Sorted(maps.Keys(m.txns))
		name := names[r.IntN(len(names))]
		t := m.txns[name]
		switch r.IntN(4) {
		case 0:
			return modelStep{name: fmt.Sprint("add ", name, i),
				then: func(m *model) { m.begin(name).parts[i] = true },
				run: func(l *Log) error {
					return expect(l.AddPartitions(ctx, name, t.id, t.epoch, []TopicPartition{tp}), nil)
				}}
		case 1:
			g, to := fmt.Sprintf("g%d", r.IntN(2)), r.Int64N(100)
			return modelStep{name: fmt.Sprint("offsets ", name, g, i, to),
				then: func(m *model) {
					o := m.begin(name).offsets
					if o[g] == nil {
						o[g] = map[int]modelOffset{}
					}
					m.order++
					o[g][i] = modelOffset{to, m.order}
				},
				run: func(l *Log) error {
					return expect(l.AddOffsets(ctx, name, t.id, t.epoch, g, []Offset{{TopicPartition: tp, Offset: to}}, true), nil)
				}}
		}
		commit, bump := r.IntN(2) == 0, r.IntN(2) == 0
		if t.state != "Ongoing" {
			return modelStep{name: "end stale", then: func(*model) {}, run: func(l *Log) error {
				_, _, err := l.EndTxn(ctx, name, t.id, t.epoch+5, commit, bump)
				return expect(err, kerr.ProducerFenced)
			}}
		}
		return modelStep{name: fmt.Sprint("end ", name, commit, bump),
			then: func(m *model) {
				epoch := t.epoch
				if bump {
					epoch++
				}
				m.end(name, commit, epoch)
				t := m.txns[name]
				t.epoch = epoch
				m.txns[name] = t
			},
			run: func(l *Log) error {
				_, _, err := l.EndTxn(ctx, name, t.id, t.epoch, commit, bump)
				return expect(err, nil)
			}}
	case k < 18:
		g, to := fmt.Sprintf("g%d", r.IntN(2)), r.Int64N(100)
		return modelStep{name: fmt.Sprint("commit offset ", g, i, to),
			then: func(m *model) {
				if m.groups[g] == nil {
					m.groups[g] = map[int]modelOffset{}
				}
				m.order++
				m.groups[g][i] = modelOffset{to, m.order}
			},
			run: func(l *Log) error {
				return expect(l.CommitOffsets(ctx, g, []Offset{{TopicPartition: tp, Offset: to}}), nil)
			}}
	case k < 19:
		if len(p.log) == p.start || int64(p.start) >= p.stable() {
			return m.pick(r, serial)
		}
		to := p.start + 1 + r.IntN(int(p.stable())-p.start)
		return modelStep{name: fmt.Sprint("delete records ", i, to),
			then: func(m *model) { m.parts[i].start = to },
			run: func(l *Log) error {
				_, err := l.DeleteRecords(ctx, tp, int64(to))
				return expect(err, nil)
			}}
	}
	d := data{values: values()}
	s := appendStep("append", d, "", false, nil, int64(len(p.log)))
	s.then = func(m *model) { m.parts[i].put(d) }
	return s
}

func (m *model) begin(name string) modelTxn {
	t := m.txns[name]
	t.state = "Ongoing"
	m.txns[name] = t
	return t
}

// sequencedStep is an append of a producer: the next batch, one of the last
// five again, one after a gap, or one of an epoch before.
func (m *model) sequencedStep(r *rand.Rand, i int, id int64, txnID string, implicit bool, values func() []string,
	appendStep func(string, data, string, bool, error, int64) modelStep) modelStep {
	p := &m.parts[i]
	pr, known := p.producers[id]
	d := data{id: id, values: values(), txn: txnID != ""}
	if d.txn {
		d.epoch = m.txns[txnID].epoch
	} else if known {
		d.epoch = pr.epoch
	}
	if known && pr.epoch == d.epoch && len(pr.batches) > 0 {
		last := pr.batches[len(pr.batches)-1]
		d.seq = last.seq + int32(len(last.values))
		switch r.IntN(6) {
		case 0:
			again := pr.batches[len(pr.batches)-1-r.IntN(min(windowBatches, len(pr.batches)))]
			s := appendStep("again", again.data, txnID, implicit, nil, again.base)
			s.then = func(*model) {}
			return s
		case 1:
			d.seq++
			var want error = kerr.OutOfOrderSequenceNumber
			if d.txn && !implicit && !m.txns[txnID].parts[i] {
				want = kerr.InvalidTxnState
			}
			s := appendStep("gap", d, txnID, implicit, want, 0)
			s.then = func(*model) {}
			return s
		case 2:
			if d.epoch > 0 {
				d.epoch--
				s := appendStep("stale", d, txnID, implicit, kerr.InvalidProducerEpoch, 0)
				s.then = func(*model) {}
				return s
			}
		}
	}
	if d.txn && !implicit && !m.txns[txnID].parts[i] {
		s := appendStep("not added", d, txnID, false, kerr.InvalidTxnState, 0)
		s.then = func(*model) {}
		return s
	}
	s := appendStep("sequenced", d, txnID, implicit, nil, int64(len(p.log)))
	s.then = func(m *model) {
		if d.txn {
			m.begin(txnID).parts[i] = true
		}
		m.parts[i].put(d)
	}
	return s
}

func newModel(parts int) *model {
	m := &model{nextID: 1, txns: map[string]modelTxn{}, groups: map[string]map[int]modelOffset{}}
	for range parts {
		m.parts = append(m.parts, modelPart{producers: map[int64]modelProducer{}, aborted: map[Aborted]int64{}})
	}
	return m
}

func TestLogIsTheModelThroughCrashesAndFailures(t *testing.T) {
	rounds := 24
	if testing.Short() {
		rounds = 5
	}
	for round := range rounds {
		seed := uint64(round) + 1
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { t.Parallel(); runModel(t, seed) })
	}
}

func runModel(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 7))
	mem := vfs.NewCrashableMem()
	var fail atomic.Bool
	wrap := func(fs vfs.FS) vfs.FS {
		return inject(fs, func(op errorfs.Op) error {
			if fail.Load() && (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileWrite) {
				return errorfs.ErrInjected
			}
			return nil
		})
	}
	c := newClock()
	l := open(t, c.options(wrap(mem)))
	defer func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}()
	const parts = 3
	mustCreate(t, l, modelTopic, parts)
	m := newModel(parts)
	serial := 0
	var trace []string
	check := func(options ...*model) {
		t.Helper()
		got := describe(t, l, parts)
		for _, o := range options {
			if o.String() == got {
				m = o
				return
			}
		}
		want := options[len(options)-1].String()
		t.Fatalf("seed %d after\n%s\n%s", seed, strings.Join(trace[max(0, len(trace)-15):], "\n"), difference(got, want))
	}
	for range 250 {
		c.move(time.Duration(r.IntN(20)) * time.Millisecond)
		s := m.pick(r, &serial)
		trace = append(trace, s.name)
		after := m.clone()
		s.then(after)
		switch k := r.IntN(40); {
		case k == 0: // a crash while the request is under way
			answer := make(chan error, 1)
			go func(l *Log) { answer <- s.run(l) }(l)
			for range r.IntN(2000) {
				_ = serial // a moment of no fixed length
			}
			answered := false
			select {
			case err := <-answer:
				if answered = err == nil; !answered {
					t.Fatalf("%s: %v", s.name, err)
				}
			default:
			}
			clone := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: r.IntN(101), RNG: r})
			trace = append(trace, fmt.Sprint("crash, answered ", answered))
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			mem = clone
			l = open(t, c.options(wrap(mem)))
			if answered {
				check(after)
			} else {
				check(m, after)
			}
		case k == 1: // a crash at rest: nothing may be lost
			trace = append(trace, "crash at rest")
			clone := mem.CrashClone(vfs.CrashCloneCfg{})
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			mem = clone
			l = open(t, c.options(wrap(mem)))
			check(m)
		case k == 2: // the disk fails for a moment
			trace = append(trace, "failing")
			fail.Store(true)
			err := s.run(l)
			fail.Store(false)
			if errors.Is(err, errWrong) {
				t.Fatalf("%s: %v", s.name, err)
			}
			recovered(t, l)
			check(m, after)
		default:
			if err := s.run(l); err != nil {
				t.Fatalf("seed %d: %s: %v, after\n%s", seed, s.name, err, strings.Join(trace[max(0, len(trace)-15):], "\n"))
			}
			m = after
			if k == 3 {
				check(m)
			}
		}
	}
	check(m)
}

// difference lists the lines that only one of two texts has.
func difference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	var out []string
	for _, l := range g {
		if !slices.Contains(w, l) {
			out = append(out, "log:   "+l)
		}
	}
	for _, l := range w {
		if !slices.Contains(g, l) {
			out = append(out, "model: "+l)
		}
	}
	return strings.Join(out, "\n")
}

// recovered waits until the log takes requests again.
func recovered(t *testing.T, l *Log) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := l.DeleteOffsets(ctx, "nobody", nil)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the log does not come back: %v", err)
		}
		<-time.After(5 * time.Millisecond)
	}
}
