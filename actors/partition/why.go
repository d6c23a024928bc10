package partition

import (
	"fmt"
	"strings"

	"github.com/gemello/gemello/windows"
)

// Why explains where a window stands on one partition (semantics 17).
type Why struct {
	Pipeline  string       `json:"pipeline"`
	Partition int32        `json:"partition"`
	End       windows.Tick `json:"-"`
	EndTime   string       `json:"end"`
	Closed    bool         `json:"closed"`
	Suspended string       `json:"suspended,omitempty"`
	Watermark string       `json:"watermark,omitempty"`
	Newest    string       `json:"newestEvent,omitempty"` // newest time after the policies
	Arrival   string       `json:"arrival,omitempty"`     // arrival clock
	Late      string       `json:"late"`
	Disorder  string       `json:"outOfOrder"`
	// FiresAfter is how long after the newest arrival the window closes if
	// nothing more arrives and the partition is caught up.
	FiresAfter string `json:"firesAfter,omitempty"`
	Lag        int64  `json:"lag"`
	Text       string `json:"text"`
}

// Why explains the window that ends at end, for the timeline of a key where the
// query has one a key; end zero means the next window to close.
func (c *Pipelines) Why(name, key string, end windows.Tick, lag int64) (Why, bool) {
	for _, p := range c.pipes {
		if p.def.Name == name {
			return p.why(key, end, lag), true
		}
	}
	return Why{}, false
}

func (p *pipeline) why(key string, end windows.Tick, lag int64) Why {
	w := Why{
		Pipeline: p.def.Name, Partition: p.core.o.Partition, Lag: lag, Suspended: p.cause,
		Late: span(p.def.Late), Disorder: span(p.def.OutOfOrder),
	}
	var over []byte
	if len(p.query.Over) > 0 {
		over = windows.AppendTuple(nil, windows.StringOf(key))
	}
	mark := p.timeline.Watermark(over)
	clocks := p.timeline.Clocks()
	w.Watermark, w.Newest, w.Arrival = instant(mark), instant(clocks.Newest), instant(clocks.Arrival)
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	if p.op == nil {
		w.Text = "The query has no windows: each record gives its row at once.\n"
		return w
	}
	if end == 0 {
		if clocks.Arrival == windows.Unset {
			w.Text = fmt.Sprintf("Partition %d has not read a record yet: there is no window.\n", w.Partition)
			return w
		}
		end = p.query.Window.FirstEnd(max(mark, windows.MinTick))
	}
	last := end
	if p.query.Window.StartInclusive {
		last = end - 1
	}
	w.End, w.EndTime = end, instant(end)
	w.Closed = mark > last && mark != windows.Unset
	say("Window (%s, %s] of pipeline %q on partition %d of %s:", instant(end-p.query.Window.Size), instant(end), p.def.Name, w.Partition, p.core.o.Source)
	switch {
	case p.suspended:
		say("the pipeline is suspended: %s", p.cause)
	case w.Closed:
		say("it has closed: the watermark %s has passed its last instant. Only groups with records in it have a row; rows that HAVING refuses are not written.", instant(mark))
	default:
		say("it is open: it closes when the watermark passes its last instant %s, and the watermark is %s.", instant(last), instant(mark))
		p.hold(say, &w, clocks, last, over != nil, key)
	}
	if lag > 0 {
		say("The partition is %d records behind the end of its log; the idle clock does not run until they are read.", lag)
	}
	w.Text = b.String()
	return w
}

// hold says what keeps the watermark back.
func (p *pipeline) hold(say func(string, ...any), w *Why, clocks windows.Clocks, last windows.Tick, perKey bool, key string) {
	if clocks.Arrival == windows.Unset {
		say("No record was read yet.")
		return
	}
	if p.query.Timestamp == nil {
		wait := last - clocks.Arrival
		w.FiresAfter = span(wait)
		say("Time is arrival time here; the newest arrival is %s. Without new records the idle clock closes it %s after that arrival.", instant(clocks.Arrival), span(wait))
		return
	}
	holder := "the partition's newest event"
	if perKey {
		holder = fmt.Sprintf("key %q, whose own newest event", key)
	}
	say("It is held by %s: newest time %s less out-of-order tolerance %s, or arrival clock %s less late tolerance %s, whichever is later.",
		holder, instant(clocks.Newest), span(p.def.OutOfOrder), instant(clocks.Arrival), span(p.def.Late))
	wait := last + p.def.Late - clocks.Arrival
	w.FiresAfter = span(max(0, wait))
	say("An event later than %s closes it; if nothing arrives, the idle clock does %s after the newest arrival, when the partition is caught up.",
		instant(last+p.def.OutOfOrder), span(max(0, wait)))
}

func instant(t windows.Tick) string {
	if t == windows.Unset || t < windows.MinTick || t > windows.MaxTick {
		return "none"
	}
	return t.String()
}

func span(t windows.Tick) string { return t.Duration().String() }
