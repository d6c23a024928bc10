package torture

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Verdict is what was found. It passes when nothing was.
type Verdict struct {
	Kills                              int
	Sent, Acknowledged                 int // records
	Records, Copies, SeenLive          int // of the log, visible to readers of committed records
	Committed, Aborted, Unknown        int // transactions, as their producers know them
	UnknownCommitted                   int // of Unknown, those that are there
	Offsets                            int // committed positions that were compared
	Lost, Doubled, Disordered, Moved   int
	Torn, Dirty, Behind, Open, Strange int
	Findings                           []string // the first of each kind, in words
	Elapsed                            time.Duration
}

// Passed reports whether nothing was found.
func (v *Verdict) Passed() bool { return v.found() == 0 }

func (v *Verdict) found() int {
	return v.Lost + v.Doubled + v.Disordered + v.Moved + v.Torn + v.Dirty + v.Behind + v.Open + v.Strange
}

// maxFindings of each kind are put in words.
const maxFindings = 8

func (v *Verdict) find(count *int, format string, args ...any) {
	*count++
	if *count <= maxFindings {
		v.Findings = append(v.Findings, fmt.Sprintf(format, args...))
	}
}

// String is the line that ends a run.
func (v *Verdict) String() string {
	word := "PASSED"
	if !v.Passed() {
		word = "FAILED"
	}
	return fmt.Sprintf("%s: %d kills in %s; %d records sent, %d acknowledged; transactions: %d committed, %d aborted, %d of unknown end, of which %d committed; "+
		"%d records visible, %d seen while it was killed, %d copies, %d offsets; "+
		"%d lost, %d doubled, %d out of order, %d moved, %d transactions in part, %d aborted records visible, %d offsets behind, %d partitions left open, %d strange",
		word, v.Kills, v.Elapsed.Round(time.Second), v.Sent, v.Acknowledged, v.Committed, v.Aborted, v.Unknown, v.UnknownCommitted,
		v.Records, v.SeenLive, v.Copies, v.Offsets,
		v.Lost, v.Doubled, v.Disordered, v.Moved, v.Torn, v.Dirty, v.Behind, v.Open, v.Strange)
}

// Judge compares an account with a ledger that nobody writes to any more. chains
// are the groups whose offsets were committed with copies.
func Judge(l *Ledger, a *Account, chains ...string) *Verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := &Verdict{}
	visible := v.index(a.Committed, false)
	all := v.index(a.All, true)
	for _, name := range slices.Sorted(maps.Keys(l.producers)) {
		v.judgeProducer(l.producers[name], visible, all)
	}
	v.judgeUnsent(l, a)
	v.judgeViews(a)
	v.judgeOffsets(l, a)
	for _, g := range chains {
		v.judgeChain(a, g)
	}
	for tp, b := range sorted(a.Bounds) {
		if b.Stable != b.High {
			v.find(&v.Open, "%v: the last stable offset is %d and the high watermark %d, though every transaction has ended", tp, b.Stable, b.High)
		}
	}
	for _, n := range l.notes {
		v.find(&v.Strange, "%s", n)
	}
	return v
}

type place struct {
	tp     TopicPartition
	offset int64
}

func (p place) String() string { return fmt.Sprintf("%v@%d", p.tp, p.offset) }

// index says where each record is, and finds those that are there twice or in
// another order than they were sent. raw tells that aborted records are among
// them.
func (v *Verdict) index(lists map[TopicPartition][]Seen, raw bool) map[Record]place {
	at := map[Record]place{}
	how := ""
	if raw {
		how = " when aborted records are read too"
	}
	for tp, list := range sorted(lists) {
		last := map[string]int64{}
		before := int64(-1)
		for _, s := range list {
			here := place{tp, s.Offset}
			if s.Offset <= before {
				v.find(&v.Disordered, "%v was given out after offset %d%s", here, before, how)
			}
			before = max(before, s.Offset)
			// A copy whose transaction was aborted is made again.
			if raw && strings.HasPrefix(s.Record.Producer, copyPrefix) {
				continue
			}
			if first, ok := at[s.Record]; ok {
				v.find(&v.Doubled, "record %v is at %v and at %v%s", s.Record, first, here, how)
				continue
			}
			at[s.Record] = here
			if earlier, ok := last[s.Record.Producer]; ok && earlier > s.Record.Seq {
				v.find(&v.Disordered, "record %v is at %v, after number %d of its producer%s", s.Record, here, earlier, how)
			}
			last[s.Record.Producer] = max(s.Record.Seq, last[s.Record.Producer])
		}
	}
	return at
}

// judgeProducer checks every record of a producer by what it knows of it.
func (v *Verdict) judgeProducer(p *Producer, visible, all map[Record]place) {
	type parts struct{ there, missing int }
	whole := make([]parts, len(p.txns))
	for seq, s := range p.sent {
		r := Record{p.name, s.txn, int64(seq)}
		v.Sent++
		at, there := visible[r]
		raw, kept := all[r]
		if s.offset >= 0 {
			v.Acknowledged++
			switch want := (place{s.to, s.offset}); {
			case !kept:
				v.find(&v.Lost, "record %v was acknowledged at %v and is not in the log", r, want)
			case raw != want:
				v.find(&v.Moved, "record %v was acknowledged at %v and is at %v", r, want, raw)
			}
		}
		switch {
		case there && !kept:
			v.find(&v.Strange, "record %v is at %v and gone when aborted records are read too", r, at)
		case s.txn >= 0 && there:
			whole[s.txn].there++
		case s.txn >= 0:
			whole[s.txn].missing++
		case s.offset >= 0 && kept && !there:
			v.find(&v.Lost, "record %v of no transaction is at %v and not visible", r, raw)
		}
		if there {
			v.Records++
		}
	}
	for txn, o := range p.txns {
		w := whole[txn]
		switch {
		case o == Committed:
			v.Committed++
			if w.missing > 0 {
				v.find(&v.Torn, "transaction %d of %s is committed and %d of its %d records are not visible", txn, p.name, w.missing, w.there+w.missing)
			}
		case o == Aborted:
			v.Aborted++
			if w.there > 0 {
				v.find(&v.Dirty, "transaction %d of %s is aborted and %d of its %d records are visible", txn, p.name, w.there, w.there+w.missing)
			}
		default:
			v.Unknown++
			if w.there > 0 {
				v.UnknownCommitted++
			}
			if w.there > 0 && w.missing > 0 {
				v.find(&v.Torn, "transaction %d of %s, whose end is unknown, shows %d of its %d records", txn, p.name, w.there, w.there+w.missing)
			}
		}
	}
}

// judgeUnsent finds records that nobody sent, or not there.
func (v *Verdict) judgeUnsent(l *Ledger, a *Account) {
	for tp, list := range sorted(a.All) {
		for _, s := range list {
			r := s.Record
			if strings.HasPrefix(r.Producer, copyPrefix) {
				continue
			}
			p := l.producers[r.Producer]
			if p == nil || r.Seq < 0 || r.Seq >= int64(len(p.sent)) || p.sent[r.Seq].txn != r.Txn || p.sent[r.Seq].to != tp {
				v.find(&v.Strange, "record %v at %v was never sent there", r, place{tp, s.Offset})
			}
		}
	}
}

// judgeViews checks that readers of committed records saw, in order and without
// a gap, what is still there at the end.
func (v *Verdict) judgeViews(a *Account) {
	for tp, list := range sorted(a.Committed) {
		kept := map[int64]Record{}
		for _, s := range a.All[tp] {
			kept[s.Offset] = s.Record
		}
		for _, s := range list {
			if r, ok := kept[s.Offset]; !ok || r != s.Record {
				v.find(&v.Strange, "%v holds %v, and %v when aborted records are read too", place{tp, s.Offset}, s.Record, r)
			}
		}
	}
	for tp, list := range sorted(a.Live) {
		v.SeenLive += len(list)
		want := a.Committed[tp]
		for i, s := range list {
			if i >= len(want) || want[i] != s {
				in := slices.ContainsFunc(want, func(w Seen) bool { return w == s })
				switch {
				case !in && slices.ContainsFunc(a.All[tp], func(w Seen) bool { return w == s }):
					v.find(&v.Dirty, "a reader saw %v at %v, which is not committed", s.Record, place{tp, s.Offset})
				case !in:
					v.find(&v.Moved, "a reader saw %v at %v, where it is not any more", s.Record, place{tp, s.Offset})
				default:
					v.find(&v.Disordered, "a reader saw %v at %v after %v, and not %v at %v before it", s.Record, place{tp, s.Offset}, before(list, i), want[i].Record, place{tp, want[i].Offset})
				}
				break // all after it is displaced
			}
		}
	}
}

// before is the offset of the record before the i-th, -1 for none.
func before(list []Seen, i int) int64 {
	if i == 0 {
		return -1
	}
	return list[i-1].Offset
}

// judgeOffsets checks that no group's offset is behind what was committed, or
// beyond what was tried.
func (v *Verdict) judgeOffsets(l *Ledger, a *Account) {
	for _, g := range slices.Sorted(maps.Keys(l.groups)) {
		for tp, known := range sorted(l.groups[g]) {
			at, ok := a.Offsets[g][tp]
			if !ok {
				at = -1
			}
			v.Offsets++
			switch {
			case at < known.acked:
				v.find(&v.Behind, "group %s, %v: %d was committed and the offset is %d", g, tp, known.acked, at)
			case at > known.tried:
				v.find(&v.Strange, "group %s, %v: the offset is %d, and at most %d was ever committed", g, tp, at, known.tried)
			}
		}
	}
}

// judgeChain checks that the copies are those of the records below the group's
// offsets: each once, in order (index has seen to both), none beyond, and that
// the offsets are those of the last copies.
func (v *Verdict) judgeChain(a *Account, group string) {
	copies := map[string]map[int64]bool{}
	for _, list := range a.Committed {
		for _, s := range list {
			if from, ok := strings.CutPrefix(s.Record.Producer, copyPrefix); ok {
				if copies[from] == nil {
					copies[from] = map[int64]bool{}
				}
				copies[from][s.Record.Seq] = true
			}
		}
	}
	for tp, offset := range sorted(a.Offsets[group]) {
		got := copies[tp.String()]
		delete(copies, tp.String())
		v.Copies += len(got)
		last := int64(-1)
		for _, s := range a.Committed[tp] {
			if s.Offset >= offset {
				break
			}
			last = s.Offset
			if !got[s.Offset] {
				v.find(&v.Torn, "group %s has passed %v and its copy is missing", group, place{tp, s.Offset})
			}
			delete(got, s.Offset)
		}
		for beyond := range got {
			v.find(&v.Torn, "group %s is at %d of %v and there is a copy of %d", group, offset, tp, beyond)
		}
		if offset != last+1 {
			v.find(&v.Strange, "group %s is at %d of %v, and the last record it has copied at %d", group, offset, tp, last)
		}
	}
	for from, list := range copies {
		v.find(&v.Torn, "group %s has no offset of %s and there are %d copies", group, from, len(list))
	}
}

// Same finds differences between two accounts of a log to which nobody wrote
// between them.
func (v *Verdict) Same(before, after *Account) {
	for name, views := range map[string][2]map[TopicPartition][]Seen{
		"committed records": {before.Committed, after.Committed}, "records": {before.All, after.All},
	} {
		for tp, list := range sorted(views[0]) {
			if !slices.Equal(list, views[1][tp]) {
				v.find(&v.Moved, "the %s of %v are not the same after another kill: %d, then %d", name, tp, len(list), len(views[1][tp]))
			}
		}
	}
	for g, offsets := range before.Offsets {
		if !maps.Equal(offsets, after.Offsets[g]) {
			v.find(&v.Behind, "the offsets of group %s are not the same after another kill: %v, then %v", g, offsets, after.Offsets[g])
		}
	}
	if !maps.Equal(before.Bounds, after.Bounds) {
		v.find(&v.Moved, "the bounds of partitions are not the same after another kill: %v, then %v", before.Bounds, after.Bounds)
	}
}

// sorted goes through a map in the order of partitions, so that one seed's
// findings come in one order.
func sorted[E any](m map[TopicPartition]E) func(yield func(TopicPartition, E) bool) {
	keys := slices.SortedFunc(maps.Keys(m), func(a, b TopicPartition) int {
		return cmp.Or(bytes.Compare([]byte(a.Topic), []byte(b.Topic)), cmp.Compare(a.Partition, b.Partition))
	})
	return func(yield func(TopicPartition, E) bool) {
		for _, tp := range keys {
			if !yield(tp, m[tp]) {
				return
			}
		}
	}
}
