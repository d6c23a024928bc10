package windows

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func savedOperator(t *testing.T, opt Options, records int) (*Operator, memory) {
	t.Helper()
	o, err := New(opt)
	if err != nil {
		t.Fatal(err)
	}
	store := memory{}
	if err := o.Load(store); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(9, 9))
	for i := range records {
		o.Add(int64(1000+i), Tick(i%50), testKey(i*7919%records), []Value{randomValue(r, 5)})
	}
	if err := o.Save(memoryBatch{store}); err != nil {
		t.Fatal(err)
	}
	return o, store
}

// A slice is stored as blocks of about 32 KiB, not as an entry a key, and
// keeps the position of its first record.
func TestSavedSlicesAreBlocks(t *testing.T) {
	opt := Options{Window: Window{Size: 20, Hop: 10}, Aggregates: allAggregates(), Prefix: []byte("p")}
	o, store := savedOperator(t, opt, 5000)
	if len(store) > 60 {
		t.Errorf("%d entries for 5000 keys", len(store))
	}
	for k, v := range store {
		if !strings.HasPrefix(k, "p") || len(v) > blockSize+1000 {
			t.Errorf("entry %x of %d bytes", k, len(v))
		}
	}
	again, err := New(opt)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Load(store); err != nil {
		t.Fatal(err)
	}
	p, _ := o.Oldest()
	if q, ok := again.Oldest(); !ok || p != q || p != 1000 {
		t.Errorf("oldest is %d, after loading %d", p, q)
	}
	if o.OpenKeys() != again.OpenKeys() || o.OpenWindows() != again.OpenWindows() {
		t.Errorf("%d keys, %d windows; after loading %d, %d", o.OpenKeys(), o.OpenWindows(), again.OpenKeys(), again.OpenWindows())
	}
}

// Save writes what changed only.
func TestSaveWritesChangedSlicesOnly(t *testing.T) {
	o, _ := savedOperator(t, Options{Window: Window{Size: 20, Hop: 10}, Aggregates: allAggregates()}, 1000)
	second := memory{}
	o.Add(1, 25, testKey(1), []Value{{}})
	if err := o.Save(memoryBatch{second}); err != nil {
		t.Fatal(err)
	}
	for k := range second {
		if k[0] == kindBlock && tickOf([]byte(k[1:])) != 30 {
			t.Errorf("slice %d was written again", tickOf([]byte(k[1:])))
		}
	}
	if len(second) < 2 {
		t.Errorf("%d entries", len(second))
	}
}

// State of another query, or damaged, is refused and not misread.
func TestLoadRefusesForeignState(t *testing.T) {
	opt := Options{Window: Window{Size: 20, Hop: 10}, Aggregates: allAggregates()}
	load := func(opt Options, m memory) error {
		o, err := New(opt)
		if err != nil {
			t.Fatal(err)
		}
		return o.Load(m)
	}
	_, store := savedOperator(t, opt, 100)
	if err := load(opt, store); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Options){
		"size": func(o *Options) { o.Window.Size = 30 }, "offset": func(o *Options) { o.Window.Offset = 1 },
		"aggregates": func(o *Options) { o.Aggregates = o.Aggregates[:3] }, "grace": func(o *Options) { o.AcceptLate = true },
		"edges": func(o *Options) { o.Window.StartInclusive = true },
	} {
		other := opt
		change(&other)
		if err := load(other, store); !errors.Is(err, ErrState) {
			t.Errorf("other %s: %v", name, err)
		}
	}
	for k, v := range store {
		damaged := memory{}
		for k, v := range store {
			damaged[k] = v
		}
		damaged[k] = v[:len(v)-1]
		if err := load(opt, damaged); !errors.Is(err, ErrState) {
			t.Errorf("entry %x cut: %v", k, err)
		}
	}
}

// failing is scratch space or a store that stops working.
type failing struct {
	memory
	err error
}

func (f *failing) Set(k, v []byte) error {
	if f.err != nil {
		return f.err
	}
	return f.memory.Set(k, v)
}

func (f *failing) Scan(lo, hi []byte, visit func(k, v []byte) error) error {
	if f.err != nil {
		return f.err
	}
	return f.memory.Scan(lo, hi, visit)
}

// An error of storage ends the operator: it is returned at once or by the
// next call, and by each after it.
func TestStorageErrorsStick(t *testing.T) {
	broken := errors.New("disk on fire")
	for _, at := range []int{0, 1, 2} {
		scratch := &failing{memory: memory{}}
		o, err := New(Options{Window: Window{Size: 50, Hop: 10}, Aggregates: allAggregates(), Budget: NewBudget(1), Scratch: scratch})
		if err != nil {
			t.Fatal(err)
		}
		var got error
		for i := range Tick(200) {
			if int(i) == 15+at*40 {
				scratch.err = broken
			}
			o.Add(int64(i), i, testKey(int(i%3)), []Value{BigintOf(1)})
			if got = o.Fire(i, func(*Result) error { return nil }); got != nil {
				break
			}
		}
		if !errors.Is(got, broken) || !errors.Is(o.Fire(1000, nil), broken) || !errors.Is(o.Save(memoryBatch{memory{}}), broken) {
			t.Errorf("case %d: %v", at, got)
		}
	}
	o, _ := New(Options{Window: Window{Size: 10, Hop: 10}})
	o.Add(0, 1, nil, nil)
	if err := o.Fire(20, func(*Result) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("emit's error came as %v", err)
	}
}

// 18 (viii): memory and the budget return to where they were.
func TestMemoryReturnsToBaseline(t *testing.T) {
	b := NewBudget(1 << 40)
	o, err := New(Options{Window: Window{Size: 50, Hop: 10}, Aggregates: allAggregates(), Budget: b})
	if err != nil {
		t.Fatal(err)
	}
	emit := func(*Result) error { return nil }
	for i := range 50000 {
		o.Add(int64(i), Tick(i/100), testKey(i%20000), []Value{StringOf("some text")})
		o.Fire(Tick(i/100), emit)
	}
	peak := o.StateBytes()
	for i := range Tick(100) { // idle ticks
		o.Fire(10000+i, emit)
	}
	if n := o.StateBytes(); peak < 1<<20 || n > 20000 || b.Used() != n {
		t.Errorf("%d bytes at most, %d in the end, %d booked", peak, n, b.Used())
	}
	o.Release()
	if b.Used() != 0 {
		t.Errorf("%d bytes booked after the release", b.Used())
	}
}

// A budget is kept but for open slices and keys.
func TestBudgetBoundsClosedSlices(t *testing.T) {
	use := func(limit int64) (most int64) {
		b := NewBudget(limit)
		o, err := New(Options{Window: Window{Size: 300, Hop: 10}, Aggregates: allAggregates(), Budget: b, Scratch: memory{}})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 20000 {
			o.Add(int64(i), Tick(i/20), testKey(i%500), []Value{FloatOf(1)})
			if i%200 == 0 {
				if err := o.Fire(Tick(i/20), func(*Result) error { return nil }); err != nil {
					t.Fatal(err)
				}
			}
			most = max(most, b.Used())
		}
		return most
	}
	free := use(1 << 40)
	const limit = 400 << 10
	if tight := use(limit); tight > limit+limit/4 || free < 4*limit {
		t.Errorf("%d bytes under a budget of %d, %d without", tight, limit, free)
	}
}

func FuzzDecodeBlock(f *testing.F) {
	for _, aggs := range [][]Aggregate{allAggregates(), {{Kind: Count}}, {{Kind: CountAll}}} {
		o, err := New(Options{Window: Window{Size: 20, Hop: 10}, Aggregates: aggs})
		if err != nil {
			f.Fatal(err)
		}
		r := rand.New(rand.NewPCG(9, 9))
		for flavour := range 6 {
			for i := range 20 {
				o.Add(int64(i), Tick(flavour*100), testKey(i), []Value{randomValue(r, flavour)})
			}
		}
		store := memory{}
		o.Save(memoryBatch{store})
		for k, v := range store {
			if k[0] == kindBlock {
				f.Add([]byte(v))
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, aggs := range [][]Aggregate{allAggregates(), {{Kind: Count}}, {{Kind: CountAll}}} {
			opt := Options{Window: Window{Size: 20, Hop: 10}, Aggregates: aggs}
			o, err := New(opt)
			if err != nil {
				t.Fatal(err)
			}
			meta := o.appendShape(appendTick([]byte{stateVersion}, 0))
			lo, _ := o.span(0)
			m := memory{string(o.key(kindOperator)): string(meta), string(append(lo, 'k')): string(b)}
			if err := o.Load(m); err != nil {
				if !errors.Is(err, ErrState) {
					t.Fatal(err)
				}
				continue
			}
			again := memory{}
			for _, s := range o.slices {
				s.changed = true
			}
			if err := o.Save(memoryBatch{again}); err != nil {
				t.Fatal(err)
			}
			if o.OpenKeys() == 0 || len(again) < 2 {
				t.Fatal("a block without rows was taken")
			}
			if err := o.Fire(1000, func(*Result) error { return nil }); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Values in blocks are what was put in, whatever the mode.
func TestBlockRoundTrip(t *testing.T) {
	for flavour := range 6 {
		r := rand.New(rand.NewPCG(uint64(flavour), 9))
		sh := newShape(allAggregates())
		o, _ := New(Options{Window: Window{Size: 10, Hop: 10}, Aggregates: allAggregates()})
		for i := range 3000 {
			o.Add(7, 1, testKey(i%1000), []Value{randomValue(r, flavour)})
		}
		s := o.slices[0]
		var blocks [][]byte
		if err := o.writeSlice(s, func(_, v []byte) { blocks = append(blocks, bytes.Clone(v)) }); err != nil {
			t.Fatal(err)
		}
		n := 0
		var br blockRows
		for _, b := range blocks {
			if err := br.decode(sh, b); err != nil {
				t.Fatal(err)
			}
			for i := range br.rows.keys {
				if want := string(testKey(n)); string(br.name(i)) != want {
					t.Fatalf("key %x, want %x", br.name(i), want)
				}
				k, _, _ := o.keys.find(br.name(i))
				row := s.rows.row(s.index.find(s.rows.keys, k))
				var got, want Result
				got.Values, want.Values = make([]Value, 10), make([]Value, 10)
				sh.finish(o.fin, br.rows.lay, br.rows.row(i), &br.rows.texts, &got)
				o.sh.finish(o.fin, s.rows.lay, row, &s.rows.texts, &want)
				for j := range got.Values {
					if show(&got.Values[j]) != show(&want.Values[j]) {
						t.Fatalf("flavour %d key %d: %v is %s, want %s", flavour, n, AggregateKind(j), show(&got.Values[j]), show(&want.Values[j]))
					}
				}
				n++
			}
		}
		if n != 1000 || br.pos != 7 {
			t.Fatalf("%d rows, position %d", n, br.pos)
		}
	}
}

// The bytes of a block are a format: this one must stay readable.
func TestBlockFormat(t *testing.T) {
	o, _ := New(Options{Window: Window{Size: 10, Hop: 10}, Aggregates: []Aggregate{{Kind: CountAll}, {Kind: Sum}, {Kind: Max}}})
	o.Add(258, 1, []byte("ab"), []Value{BigintOf(5)})
	o.Add(259, 2, []byte("ac"), []Value{BigintOf(-1)})
	store := memory{}
	o.Save(memoryBatch{store})
	got := ""
	store.Scan([]byte{kindBlock}, []byte{kindOperator}, func(k, v []byte) error {
		got += fmt.Sprintf("%x=%x", k, v)
		return nil
	})
	const want = "01" + "800000000000000a" + "6163" + "=" + "01" + "0000000000000102" + "01" + "01" + "02" +
		"00" + "02" + "6162" + "0100000000000000" + "0100000000000000" + "0500000000000000" + "0000000000000000" + "0500000000000000" +
		"01" + "01" + "63" + "0100000000000000" + "0100000000000000" + "ffffffffffffffff" + "ffffffffffffffff" + "ffffffffffffffff"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
