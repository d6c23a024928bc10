package partition

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gemello/gemello/windows"
)

// rig runs a Pipelines core as its host does: commits, flushes at barriers,
// recovers from the store or, when that is lost, from the log alone. What a
// commit did not reach is gone after a crash.
type rig struct {
	t       testing.TB
	options PipelinesOptions
	budget  int64 // bytes; 0: no budget
	core    *Pipelines

	log     []Record // the input, by offset
	defs    []Definition
	version uint64
	refused map[string]string

	journal []Entry
	rows    []string // committed outputs
	last    *point   // newest checkpoint
	store   memory
	saved   *point // of the store
	other   memory // of a node that has owned the partition
	otherAt *point
}

// point is what a checkpoint names.
type point struct {
	position int64
	journal  int // entries
	version  uint64
	clocks   []PipelineClock
}

func newRig(t testing.TB, o PipelinesOptions, budget int64) *rig {
	r := &rig{t: t, options: o, budget: budget, store: memory{}}
	r.options.DeadLetter, r.options.Late = "dead", "late"
	r.fresh(0)
	return r
}

// fresh makes a core with empty scratch space on the rig's store.
func (r *rig) fresh(position int64) {
	o := r.options
	o.State = r.store
	if r.budget > 0 {
		o.Budget, o.Scratch = windows.NewBudget(r.budget), memoryScratch{memory{}}
	}
	r.core = NewPipelines(o, position)
}

func (r *rig) check(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) apply(rec Record) {
	r.t.Helper()
	if rec.Offset == int64(len(r.log)) {
		r.log = append(r.log, rec)
	}
	r.feed(rec)
}

// feed applies a record and destroys its bytes, which the core must not keep.
func (r *rig) feed(rec Record) {
	r.t.Helper()
	rec.Key, rec.Value = slices.Clone(rec.Key), slices.Clone(rec.Value)
	r.check(r.core.Apply(&rec))
	scribble(rec.Key, rec.Value)
}

func (r *rig) tick(a windows.Tick) {
	r.t.Helper()
	r.check(r.core.Tick(a, a))
}

func (r *rig) commit() {
	r.t.Helper()
	e := r.core.Take(&Effects{})
	r.journal = append(r.journal, e.Journal...)
	r.rows = append(r.rows, lines(e)...)
	clocks, version := r.core.Clock()
	r.last = &point{position: r.core.Position(), journal: len(r.journal), version: version, clocks: clocks}
}

func (r *rig) flush() {
	r.t.Helper()
	r.commit()
	r.check(r.core.Save(memoryBatch{r.store}))
	r.saved = r.last
}

// plans makes the pipelines those of defs, as a barrier.
func (r *rig) plans(defs []Definition, refused map[string]string) {
	r.t.Helper()
	r.version++
	r.defs, r.refused = defs, refused
	r.change()
}

func (r *rig) change() {
	r.t.Helper()
	r.flush()
	changed, err := r.core.Switch(r.defs, r.version, r.refused)
	r.check(err)
	if changed {
		r.commit()
	}
}

// ending is what becomes of the store in a crash.
type ending int

const (
	kept  ending = iota
	lost         // it is empty
	moved        // the partition goes to another node and its older store
)

// crash throws the core away and recovers.
func (r *rig) crash(e ending) {
	r.t.Helper()
	r.core.Close()
	switch e {
	case lost:
		r.store, r.saved = memory{}, nil
	case moved:
		r.store, r.saved, r.other, r.otherAt = r.other, r.otherAt, r.store, r.saved
		if r.store == nil {
			r.store = memory{}
		}
	}
	r.fresh(0)
	if r.last == nil {
		r.change()
		return
	}
	from, journal := int64(0), 0
	var err error
	if r.saved != nil {
		from, journal = r.saved.position, r.saved.journal
		r.core.Skip(from)
		err = r.core.Resume(r.defs, r.last.version, r.last.clocks, r.saved.clocks)
	} else {
		from, err = r.core.Rebuild(r.defs, r.last.version, r.last.clocks, r.last.position)
	}
	r.check(err)
	var entries []Entry
	for _, e := range r.journal[journal:r.last.journal] {
		if e.Position >= from {
			entries = append(entries, e)
		}
	}
	r.core.Suppress(true)
	for o := from; o <= r.last.position; o++ {
		for len(entries) > 0 && entries[0].Position <= o {
			r.check(r.core.Replay(entries[0]))
			entries = entries[1:]
		}
		if o < r.last.position {
			r.feed(r.log[o])
		}
	}
	if e := r.core.Effects(); !e.Empty() {
		r.t.Fatalf("a suppressed replay had effects: %q", lines(e))
	}
	r.core.Suppress(false)
	r.check(r.core.Check(r.last.clocks))
	r.change()
}

// lines renders outputs, one a line.
func lines(e *Effects) []string {
	var all []string
	for i := range e.Len() {
		o := e.Output(i)
		var b strings.Builder
		fmt.Fprintf(&b, "%s %q", o.Topic, o.Key)
		for h := range e.Headers(i) {
			fmt.Fprintf(&b, " %s=%s", h.Key, h.Value)
		}
		if o.Value == nil {
			b.WriteString(" deleted")
		} else {
			fmt.Fprintf(&b, " %s", o.Value)
		}
		all = append(all, b.String())
	}
	return all
}
