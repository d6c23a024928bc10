package windows

import (
	"bytes"
	"errors"
	"math"
	"testing"
)

// ascending values of every kind, as tuples order them.
func ascendingValues() []Value {
	return []Value{
		{}, BitOf(false), BitOf(true),
		FloatOf(math.Inf(-1)), FloatOf(-math.MaxFloat64), FloatOf(-1 << 63 * 1.0001),
		BigintOf(math.MinInt64), BigintOf(math.MinInt64 + 1), BigintOf(-1 << 53), FloatOf(-1.5), BigintOf(-1), FloatOf(-0.5),
		FloatOf(-math.SmallestNonzeroFloat64), BigintOf(0), FloatOf(math.SmallestNonzeroFloat64), FloatOf(0.5), BigintOf(1), FloatOf(1.25), FloatOf(1.5),
		BigintOf(1<<53 - 1), BigintOf(1 << 53), BigintOf(1<<53 + 1), BigintOf(math.MaxInt64),
		FloatOf(1 << 63), FloatOf(1e300), FloatOf(math.Inf(1)), FloatOf(math.NaN()),
		DatetimeOf(MinTick), DatetimeOf(-1), DatetimeOf(0), DatetimeOf(MaxTick),
		StringOf(""), StringOf("\x00"), StringOf("\x00\x00"), StringOf("\x00a"), StringOf("\x00\xff"), StringOf("\x01"), StringOf("a"), StringOf("a\x00"), StringOf("a\x00b"), StringOf("aa"), StringOf("b"), StringOf("\xff"),
		RecordOf(&Object{}), RecordOf(&Object{Fields: []Field{{"a", BigintOf(1)}}}), RecordOf(&Object{Fields: []Field{{"a", BigintOf(2)}, {"b", Value{}}}}),
		ArrayOf(nil), ArrayOf([]Value{{}}), ArrayOf([]Value{BigintOf(1)}), ArrayOf([]Value{BigintOf(1), BigintOf(1)}), ArrayOf([]Value{ArrayOf(nil)}),
	}
}

// 9.4: the bytes order as the values do, alone and within a tuple.
func TestTuplesOrderAsTheirValues(t *testing.T) {
	vs := ascendingValues()
	for i := range vs {
		for j := range vs {
			a := AppendTuple(nil, vs[i], StringOf("z"))
			b := AppendTuple(nil, vs[j], StringOf("a"))
			want := -1
			if i > j || i == j {
				want = 1
			}
			if bytes.Compare(a, b) != want {
				t.Errorf("%s against %s: %x %x", show(&vs[i]), show(&vs[j]), a, b)
			}
			if c, ok := Compare(&vs[i], &vs[j]); ok && (i < j) != (c < 0) {
				t.Errorf("Compare of %s and %s is %d", show(&vs[i]), show(&vs[j]), c)
			}
		}
	}
}

func TestTupleRoundTrip(t *testing.T) {
	vs := ascendingValues()
	b := AppendTuple(nil, vs...)
	got, err := DecodeTuple(b, nil)
	if err != nil || len(got) != len(vs) {
		t.Fatalf("%d values, %v", len(got), err)
	}
	if !bytes.Equal(AppendTuple(nil, got...), b) {
		t.Error("decoded values encode differently")
	}
	for i := range vs {
		if got[i].Kind() != vs[i].Kind() || vs[i].Kind() < Record && show(&got[i]) != show(&vs[i]) {
			t.Errorf("%s came back as %s", show(&vs[i]), show(&got[i]))
		}
	}
}

func TestEqualNumbersAreOneKey(t *testing.T) {
	for _, p := range [][2]Value{
		{BigintOf(1), FloatOf(1)}, {BigintOf(0), FloatOf(math.Copysign(0, -1))}, {BigintOf(math.MinInt64), FloatOf(-1 << 63)},
	} {
		if !bytes.Equal(AppendTuple(nil, p[0]), AppendTuple(nil, p[1])) {
			t.Errorf("%s and %s are two keys", show(&p[0]), show(&p[1]))
		}
	}
}

// 6.3: bigint and float compare without rounding the bigint.
func TestCompareIsExact(t *testing.T) {
	for _, c := range []struct {
		a, b Value
		want int
		ok   bool
	}{
		{BigintOf(1<<53 + 1), FloatOf(1 << 53), 1, true},
		{FloatOf(1 << 53), BigintOf(1<<53 + 1), -1, true},
		{BigintOf(math.MaxInt64), FloatOf(1 << 63), -1, true},
		{BigintOf(math.MinInt64), FloatOf(-1 << 63), 0, true},
		{BigintOf(-2), FloatOf(-1.5), -1, true},
		{BigintOf(-1), FloatOf(-1.5), 1, true},
		{BigintOf(1), FloatOf(math.NaN()), 0, false},
		{BigintOf(1), StringOf("1"), 0, false},
		{Value{}, Value{}, 0, false},
		{StringOf("a"), StringOf("B"), 1, true},
	} {
		if got, ok := Compare(&c.a, &c.b); got != c.want || ok != c.ok {
			t.Errorf("Compare(%s, %s) = %d, %v", show(&c.a), show(&c.b), got, ok)
		}
	}
}

func FuzzDecodeTuple(f *testing.F) {
	for _, v := range ascendingValues() {
		f.Add(AppendTuple(nil, v))
	}
	f.Add(bytes.Repeat([]byte{tagArray}, 1000))
	f.Fuzz(func(t *testing.T, b []byte) {
		vs, err := DecodeTuple(b, nil)
		if err != nil {
			if !errors.Is(err, ErrTuple) {
				t.Fatal(err)
			}
			return
		}
		if again := AppendTuple(nil, vs...); !bytes.Equal(again, b) {
			t.Fatalf("%x decodes to values that encode as %x", b, again)
		}
	})
}
