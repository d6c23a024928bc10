package partition

import (
	"fmt"
	"strings"

	"github.com/gemello/gemello/windows"
)

// project emits the row of a query without windows.
func (p *pipeline) project(r *Record) {
	if p.core.suppressed {
		return
	}
	e := p.core.effects
	topic := e.topic(p.query.Into)
	b := e.room()
	from := len(b)
	b = p.query.AppendRowKey(b, p.env)
	mid := len(b)
	b = p.query.AppendRow(b, p.env)
	if len(p.env.Errors) > 0 {
		e.abandon(b, from)
		p.rowErrors(r)
		return
	}
	e.done(topic, b, from, mid)
	p.figures.Out++
	if len(b)-from > p.core.o.MaxRow {
		e.drop()
		p.figures.Out--
		p.refuse(r, ReasonRowLarge, fmt.Sprintf("row of %d bytes, the limit is %d", len(b)-from, p.core.o.MaxRow))
	}
}

// emit writes the row of one closed window and group.
func (p *pipeline) emit(res *windows.Result) error {
	if p.core.suppressed {
		return nil
	}
	env := p.rows
	if err := env.SetResult(res.Key, res.Values, res.Start, res.End); err != nil {
		return fmt.Errorf("group key %x: %w", res.Key, err)
	}
	keep := p.query.Keep(env)
	if len(env.Errors) == 0 && !keep {
		return nil
	}
	e := p.core.effects
	if p.intoOf != e {
		p.into, p.intoOf = e.topic(p.query.Into), e
	}
	b := e.room()
	from := len(b)
	b = p.query.AppendRowKey(b, env)
	mid := len(b)
	b = p.query.AppendRow(b, env)
	if len(env.Errors) > 0 {
		text := detail(env)
		e.abandon(b, from)
		p.windowError(res, text)
		return nil
	}
	e.done(p.into, b, from, mid)
	p.figures.Out++
	if len(b)-from > p.core.o.MaxRow {
		e.drop()
		p.figures.Out--
		p.windowError(res, fmt.Sprintf("row of %d bytes, the limit is %d", len(b)-from, p.core.o.MaxRow))
		return nil
	}
	if res.Kind != windows.Final || res.Revision > 0 {
		e.withHeaders(
			Header{"kind", []byte(res.Kind.String())},
			Header{"rev", fmt.Append(nil, res.Revision)})
	}
	for _, a := range res.Errors {
		p.windowError(res, fmt.Sprintf("%s: %v", p.aggregateText(a.Aggregate), a.Err))
	}
	return nil
}

// windowError sends the failure of a result row to the dead letters.
func (p *pipeline) windowError(res *windows.Result, text string) {
	p.rows.Errors = p.rows.Errors[:0]
	p.figures.RowErrors++
	p.figures.DeadLetters++
	deadLetter(p.core.effects, p.core.o.DeadLetter, refusal{
		Reason: ReasonRowError, Detail: fmt.Sprintf("window that ends at %s: %s", res.End, text), Pipeline: p.def.Name,
		Source: p.core.o.Source, Partition: p.core.o.Partition, Offset: p.core.position - 1, Key: p.query.AppendRowKey(nil, p.rows),
		Arrival: p.timeline.Arrival(),
	})
}

// refusedText names the aggregates of a bit set that could not take their
// argument.
func (p *pipeline) refusedText(set uint64) string {
	var names []string
	for i := range p.query.Aggregates {
		if set&(1<<i) != 0 {
			names = append(names, p.aggregateText(i))
		}
	}
	return strings.Join(names, ", ") + ": the argument is not a number"
}

func (p *pipeline) aggregateText(i int) string {
	a := p.query.Aggregates[i]
	if a.Kind == windows.CountAll {
		return a.Kind.String()
	}
	return a.Kind.String() + "(" + p.query.Args[a.Arg].String() + ")"
}

func (p *pipeline) refuse(r *Record, reason, text string) {
	p.figures.DeadLetters++
	if p.core.suppressed {
		return
	}
	deadLetter(p.core.effects, p.core.o.DeadLetter, refusal{
		Reason: reason, Detail: text, Pipeline: p.def.Name, Source: p.core.o.Source, Partition: p.core.o.Partition, Offset: r.Offset,
		Key: r.Key, Payload: r.Value, Arrival: r.Arrival,
	})
}

// aside writes a row of the late topic.
func (p *pipeline) aside(r *Record, reason string, event, ts windows.Tick) {
	if p.core.suppressed {
		return
	}
	deadLetter(p.core.effects, p.core.o.Late, refusal{
		Reason: reason, Pipeline: p.def.Name, Source: p.core.o.Source, Partition: p.core.o.Partition, Offset: r.Offset,
		Key: r.Key, Payload: r.Value, Arrival: r.Arrival,
		Event: event, Timestamp: ts, Watermark: p.timeline.Watermark(p.over), timed: true,
	})
}

var reasons = map[windows.Reason]string{
	windows.Late: ReasonLate, windows.OutOfOrder: ReasonOutOfOrder, windows.Early: ReasonEarly, windows.PastGrace: ReasonPastGrace,
}
