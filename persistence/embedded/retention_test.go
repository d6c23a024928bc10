package embedded

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gemello/gemello/persistence/eventlog"
)

func TestRetentionCutsWhatIsOldOrTooMuchButNeverWhatIsNeeded(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	old := func(hours ...int) (segments []segmentFile) {
		for i, h := range hours {
			segments = append(segments, segmentFile{base: int64(i * 10), size: 100, written: now.Add(-time.Duration(h) * time.Hour)})
		}
		return segments
	}
	p := func(may int, age time.Duration, bytes int64, segments []segmentFile) *retained {
		return &retained{partitionDir: partitionDir{segments: segments}, age: age, bytes: bytes, may: may}
	}
	for name, c := range map[string]struct {
		rs    []*retained
		total int64
		cuts  []int
	}{
		"by age":                       {[]*retained{p(3, 24*time.Hour, -1, old(50, 30, 20, 0))}, -1, []int{2}},
		"age: the floor holds":         {[]*retained{p(1, 24*time.Hour, -1, old(50, 30, 20, 0))}, -1, []int{1}},
		"age: not the one written":     {[]*retained{p(1, 24*time.Hour, -1, old(50, 30))}, -1, []int{1}},
		"no bound":                     {[]*retained{p(3, -1, -1, old(50, 30, 20, 0))}, -1, []int{0}},
		"by size":                      {[]*retained{p(3, -1, 250, old(50, 30, 20, 0))}, -1, []int{2}},
		"size: the floor holds":        {[]*retained{p(1, -1, 0, old(50, 30, 20, 0))}, -1, []int{1}},
		"by total, oldest first":       {[]*retained{p(2, -1, -1, old(50, 10, 0)), p(2, -1, -1, old(40, 30, 0))}, 300, []int{1, 2}},
		"total: all else is needed":    {[]*retained{p(0, -1, -1, old(50, 10, 0)), p(1, -1, -1, old(40, 30, 0))}, 0, []int{0, 1}},
		"total: nothing is too much":   {[]*retained{p(2, -1, -1, old(50, 10, 0))}, 300, []int{0}},
		"age first, then total":        {[]*retained{p(3, 24*time.Hour, -1, old(50, 20, 10, 0))}, 200, []int{2}},
		"size of one, total of others": {[]*retained{p(2, -1, 100, old(9, 8, 7)), p(2, -1, -1, old(3, 2, 1))}, 300, []int{2, 1}},
	} {
		planRetention(c.rs, now, c.total)
		var cuts []int
		for _, r := range c.rs {
			cuts = append(cuts, r.cut)
		}
		if !slices.Equal(cuts, c.cuts) {
			t.Errorf("%s: cut %v segments, want %v", name, cuts, c.cuts)
		}
	}
}

func TestRetentionOfARunningServerStopsAtTheFloor(t *testing.T) {
	floor := int64(3)
	s := start(t, Options{Dir: t.TempDir(), SegmentBytes: 1, Floor: func(topic string, _ int32) (int64, bool) { return floor, topic == "log" }})
	l := connect(t, s.Addr(), eventlog.SASL{})
	specs := []eventlog.TopicSpec{
		{Name: "log", Partitions: 1, Retention: time.Hour},
		{Name: "free", Partitions: 1, Retention: time.Hour},
		{Name: "forever", Partitions: 1, Retention: -1},
		{Name: "table", Partitions: 1, Compacted: true},
	}
	ensure(t, l, specs...)
	for range 4 {
		for _, spec := range specs {
			commit(t, l, "core", record(spec.Name, 0, "k", "v")) // two segments: the record and its marker
		}
	}
	check := func(when string, want map[string]int64) {
		t.Helper()
		for topic, start := range want {
			ranges, err := l.Offsets(within(t), topic)
			if err != nil {
				t.Fatal(err)
			}
			if ranges[0].Start != start || ranges[0].High != 8 {
				t.Errorf("%s: %s is %+v, want it from %d to 8", when, topic, ranges[0], start)
			}
		}
	}
	now := time.Now()
	if err := s.retain(now.Add(30 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	check("before the hour", map[string]int64{"log": 0, "free": 0, "forever": 0, "table": 0})
	if err := s.retain(now.Add(2 * time.Hour)); err != nil {
		t.Fatal(err)
	}
	check("after the hour", map[string]int64{"log": 3, "free": 7, "forever": 0, "table": 0})
	floor = 100
	if err := s.retain(now.Add(2 * time.Hour)); err != nil {
		t.Fatal(err)
	}
	check("with the floor gone", map[string]int64{"log": 7})
	again := start(t, Options{Dir: killed(t, s)})
	ranges, err := connect(t, again.Addr(), eventlog.SASL{}).Offsets(within(t), "log")
	if err != nil || ranges[0] != (eventlog.Range{Start: 7, Stable: 8, High: 8}) {
		t.Errorf("after a kill: %+v, %v", ranges, err)
	}
}

func TestCompactionKeepsTheNewestOfEachKeyAndWaitsForOpenTransactions(t *testing.T) {
	s := start(t, Options{Dir: t.TempDir()})
	l := connect(t, s.Addr(), eventlog.SASL{})
	ensure(t, l, eventlog.TopicSpec{Name: "table", Partitions: 1, Compacted: true})
	for _, v := range []string{"1", "2", "3"} {
		commit(t, l, "core", record("table", 0, "a", v), record("table", 0, "b", v))
	}
	commit(t, l, "core", record("table", 0, "c", "1"))
	before, err := listPartitions(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	open := begin(t, s, "other", record("table", 0, "a", "undecided"))
	if ok, err := s.compactNow(before); ok || err != nil {
		t.Fatalf("with an open transaction: %v, %v", ok, err)
	}
	open() // aborts
	if ok, err := s.compactNow(before); !ok || err != nil {
		t.Fatalf("compaction: %v, %v", ok, err)
	}
	want := []string{"a=3", "b=3", "c=1"}
	if got := read(t, l, "table", 0); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got, ok, err := l.LastByKey(within(t), "table", 0, []byte("a")); err != nil || !ok || string(got.Value) != "3" {
		t.Errorf("last of a: %v, %v, %v", got, ok, err)
	}
	commit(t, l, "core", record("table", 0, "a", "4"))
	again := start(t, Options{Dir: killed(t, s)})
	if got := strings.Join(read(t, connect(t, again.Addr(), eventlog.SASL{}), "table", 0), " "); got != "b=3 c=1 a=4" && got != "a=3 b=3 c=1 a=4" {
		t.Errorf("after a kill: %v", got)
	}
}

func TestKillWithinACompactionLosesNothing(t *testing.T) {
	s := start(t, Options{Dir: t.TempDir()})
	l := connect(t, s.Addr(), eventlog.SASL{})
	ensure(t, l, eventlog.TopicSpec{Name: "table", Partitions: 1, Compacted: true})
	commit(t, l, "core", record("table", 0, "a", "1"))
	for name, complete := range map[string]bool{"old files gone": true, "links not complete": false} {
		t.Run(name, func(t *testing.T) {
			dir := killed(t, s)
			ps, err := listPartitions(dir)
			if err != nil {
				t.Fatal(err)
			}
			if err := saveSegments(dir, ps); err != nil {
				t.Fatal(err)
			}
			if complete {
				err = clearSegments(ps[0].path)
			} else {
				err = dropSavedMark(dir)
			}
			if err != nil {
				t.Fatal(err)
			}
			again := start(t, Options{Dir: dir})
			if got := read(t, connect(t, again.Addr(), eventlog.SASL{}), "table", 0); !slices.Equal(got, []string{"a=1"}) {
				t.Errorf("got %v", got)
			}
		})
	}
}
