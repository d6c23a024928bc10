package torture

import "testing"

var (
	tpIn  = TopicPartition{"in", 0}
	tpOut = TopicPartition{"out", 0}
)

// good is a ledger and an account in order: a transaction that committed, one
// that aborted, one whose end is unknown and that committed, a record of no
// transaction, a chain that copied half of it, and a group.
func good() (*Ledger, *Account) {
	l, a := NewLedger(), NewAccount()
	p := l.Producer("p")
	offset := int64(0)
	add := func(r Record, visible bool) {
		a.All[tpIn] = append(a.All[tpIn], Seen{offset, r})
		if visible {
			a.Committed[tpIn] = append(a.Committed[tpIn], Seen{offset, r})
		}
		offset++
	}
	for _, o := range []Outcome{Committed, Aborted, Unknown} {
		txn := p.Begin()
		for range 2 {
			r := p.Send(tpIn, txn)
			if o != Unknown {
				p.Ack(r, offset)
			}
			add(r, o != Aborted)
		}
		p.End(txn, o)
		offset++ // the marker
	}
	free := l.Producer("free")
	r := free.Send(tpIn, -1)
	free.Ack(r, offset)
	add(r, true)
	free.Send(tpIn, -1) // of which nothing is known
	for i := range int64(2) {
		s := Seen{i, CopyOf(tpIn, a.Committed[tpIn][i].Offset)}
		a.Committed[tpOut], a.All[tpOut] = append(a.Committed[tpOut], s), append(a.All[tpOut], s)
	}
	l.Try("chain", tpIn, 2)
	l.Commit("chain", tpIn, 2)
	l.Try("group", tpIn, 5)
	l.Commit("group", tpIn, 5)
	l.Try("group", tpIn, 6)
	a.Offsets["chain"] = map[TopicPartition]int64{tpIn: 2}
	a.Offsets["group"] = map[TopicPartition]int64{tpIn: 6}
	a.Bounds[tpIn] = Bounds{offset, offset}
	a.Live[tpIn] = append([]Seen(nil), a.Committed[tpIn][:3]...)
	return l, a
}

// without removes the record at an offset from both views.
func (a *Account) without(tp TopicPartition, offset int64) {
	for _, view := range []map[TopicPartition][]Seen{a.Committed, a.All} {
		var kept []Seen
		for _, s := range view[tp] {
			if s.Offset != offset {
				kept = append(kept, s)
			}
		}
		view[tp] = kept
	}
}

func TestVerdictFindsWhatIsWrong(t *testing.T) {
	l, a := good()
	v := Judge(l, a, "chain")
	if !v.Passed() {
		t.Fatalf("an account in order fails: %v", v.Findings)
	}
	if v.Committed != 1 || v.Aborted != 1 || v.Unknown != 1 || v.UnknownCommitted != 1 || v.Records != 5 || v.Copies != 2 || v.SeenLive != 3 || v.Offsets != 2 {
		t.Errorf("counts: %v", v)
	}
	for _, c := range []struct {
		name  string
		spoil func(*Ledger, *Account)
		count func(*Verdict) int
	}{
		{"an acknowledged record that is gone", func(_ *Ledger, a *Account) { a.without(tpIn, 9) }, func(v *Verdict) int { return v.Lost }},
		{"an acknowledged record of an aborted transaction that is gone", func(_ *Ledger, a *Account) { a.without(tpIn, 3) }, func(v *Verdict) int { return v.Lost }},
		{"an acknowledged record that nobody sees", func(_ *Ledger, a *Account) { a.Committed[tpIn] = a.Committed[tpIn][:4] }, func(v *Verdict) int { return v.Lost }},
		{"a record twice", func(_ *Ledger, a *Account) {
			s := Seen{20, a.All[tpIn][6].Record}
			a.All[tpIn], a.Committed[tpIn] = append(a.All[tpIn], s), append(a.Committed[tpIn], s)
		}, func(v *Verdict) int { return v.Doubled }},
		{"a record twice in an aborted transaction", func(_ *Ledger, a *Account) {
			a.All[tpIn] = append(a.All[tpIn], Seen{20, a.All[tpIn][2].Record})
		}, func(v *Verdict) int { return v.Doubled }},
		{"two records that changed places", func(_ *Ledger, a *Account) {
			for _, list := range [][]Seen{a.All[tpIn], a.Committed[tpIn]} {
				list[0].Record, list[1].Record = list[1].Record, list[0].Record
			}
		}, func(v *Verdict) int { return v.Disordered }},
		{"offsets that go back", func(_ *Ledger, a *Account) { a.Committed[tpIn][1].Offset = 0 }, func(v *Verdict) int { return v.Disordered }},
		{"a record at another offset than its acknowledgement's", func(_ *Ledger, a *Account) {
			a.All[tpIn][6].Offset, a.Committed[tpIn][4].Offset = 12, 12
		}, func(v *Verdict) int { return v.Moved }},
		{"a committed transaction in part", func(_ *Ledger, a *Account) { a.Committed[tpIn] = a.Committed[tpIn][1:] }, func(v *Verdict) int { return v.Torn }},
		{"a transaction of unknown end in part", func(_ *Ledger, a *Account) {
			a.Committed[tpIn] = append(append([]Seen(nil), a.Committed[tpIn][:3]...), a.Committed[tpIn][4])
		}, func(v *Verdict) int { return v.Torn }},
		{"a visible record of an aborted transaction", func(_ *Ledger, a *Account) {
			c := a.Committed[tpIn]
			a.Committed[tpIn] = append(append(append([]Seen(nil), c[:2]...), a.All[tpIn][2]), c[2:]...)
		}, func(v *Verdict) int { return v.Dirty }},
		{"a reader that saw a record before it was aborted", func(_ *Ledger, a *Account) { a.Live[tpIn][2] = a.All[tpIn][2] }, func(v *Verdict) int { return v.Dirty }},
		{"a reader that saw a record that is gone", func(l *Ledger, a *Account) { a.Live[tpIn][2].Record.Seq = 77 }, func(v *Verdict) int { return v.Moved }},
		{"a reader that left a record out", func(_ *Ledger, a *Account) { a.Live[tpIn] = a.Live[tpIn][1:] }, func(v *Verdict) int { return v.Disordered }},
		{"an offset behind what was committed", func(_ *Ledger, a *Account) { a.Offsets["group"][tpIn] = 4 }, func(v *Verdict) int { return v.Behind }},
		{"a group that is forgotten", func(_ *Ledger, a *Account) { delete(a.Offsets, "group") }, func(v *Verdict) int { return v.Behind }},
		{"an offset that nobody committed", func(_ *Ledger, a *Account) { a.Offsets["group"][tpIn] = 7 }, func(v *Verdict) int { return v.Strange }},
		{"a copy that is missing", func(_ *Ledger, a *Account) { a.without(tpOut, 0) }, func(v *Verdict) int { return v.Torn }},
		{"offsets of a chain that did not come with its copies", func(l *Ledger, a *Account) {
			l.Try("chain", tpIn, 7)
			a.Offsets["chain"][tpIn] = 7
		}, func(v *Verdict) int { return v.Torn }},
		{"copies of a chain that came without its offsets", func(l *Ledger, a *Account) {
			l.groups["chain"][tpIn].acked = 0
			a.Offsets["chain"][tpIn] = 1
		}, func(v *Verdict) int { return v.Torn }},
		{"copies of a chain without offsets", func(l *Ledger, a *Account) { delete(a.Offsets, "chain") }, func(v *Verdict) int { return v.Torn }},
		{"a transaction left open", func(_ *Ledger, a *Account) { a.Bounds[tpIn] = Bounds{8, 10} }, func(v *Verdict) int { return v.Open }},
		{"a record that nobody sent", func(l *Ledger, _ *Account) { delete(l.producers, "free") }, func(v *Verdict) int { return v.Strange }},
		{"a record in another partition than it was sent to", func(l *Ledger, _ *Account) { l.producers["p"].sent[4].to.Partition = 1 }, func(v *Verdict) int { return v.Strange }},
		{"what a client noted", func(l *Ledger, _ *Account) { l.Note("fenced, and it could still commit") }, func(v *Verdict) int { return v.Strange }},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, a := good()
			c.spoil(l, a)
			if v := Judge(l, a, "chain"); c.count(v) == 0 || v.Passed() {
				t.Errorf("not found: %v: %q", v, v.Findings)
			}
		})
	}
}

func TestAccountsOfOneLogAreTheSame(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(*Account)
		found bool
	}{
		{"nothing", func(*Account) {}, false},
		{"a record less", func(a *Account) { a.without(tpIn, 9) }, true},
		{"an offset", func(a *Account) { a.Offsets["group"][tpIn]-- }, true},
		{"a bound", func(a *Account) { a.Bounds[tpIn] = Bounds{} }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, before := good()
			_, after := good()
			c.spoil(after)
			v := &Verdict{}
			if v.Same(before, after); v.Passed() == c.found {
				t.Errorf("found %v: %v", !v.Passed(), v.Findings)
			}
		})
	}
}

func TestRecordsAreReadAsTheyAreWritten(t *testing.T) {
	for _, r := range []Record{{"p", 3, 77}, {"p", -1, 0}, CopyOf(tpIn, 5)} {
		if got, err := ParseRecord([]byte(r.String() + " padding of any kind")); err != nil || got != r {
			t.Errorf("%v read as %v, %v", r, got, err)
		}
	}
	for _, b := range []string{"", "p", "p 1", "p x 1", "p 1 x"} {
		if r, err := ParseRecord([]byte(b)); err == nil {
			t.Errorf("%q read as %v", b, r)
		}
	}
}
