package partition

import (
	"encoding/hex"
	"errors"
	"fmt"
	"unsafe"

	"github.com/gemello/gemello/windows"
	"github.com/gemello/gemello/windows/sql"
)

// pipeline is one query over one partition: policies, expressions, windows.
type pipeline struct {
	core  *Pipelines
	def   Definition
	id    string // name@hash: another query under the same name is another pipeline
	query *sql.Query
	env   *sql.Env // of the record at hand
	rows  *sql.Env // of the result at hand

	timeline *windows.Timeline
	op       *windows.Operator // nil for a projection
	from     int64             // first offset that belongs to it; with id it tells runs of a query apart
	begin    int64             // first offset that a rebuild feeds it
	fresh    bool              // the store holds nothing of this run
	rewind   rewinder

	suspended bool
	cause     string

	key, over []byte
	args      []windows.Value
	figures   PipelineFigures
	keyAt     int // index among the group keys of the partition key, -1: none
	emitRow   func(*windows.Result) error
	into      uint32   // number of the result topic
	intoOf    *Effects // where into holds
	accepts   bool     // late records may revise rows
}

// Compile checks a definition and compiles its query.
func Compile(d *Definition, singlePartition bool) (*sql.Query, error) {
	if err := d.Validate(); err != nil {
		return nil, err
	}
	queries, err := sql.Compile(d.Query, sql.Options{PartitionKey: d.Key, SinglePartition: singlePartition})
	if err != nil {
		return nil, fmt.Errorf("pipeline %q: %w", d.Name, err)
	}
	if len(queries) != 1 {
		return nil, fmt.Errorf("pipeline %q: %d SELECTs, want one a pipeline: %w", d.Name, len(queries), ErrDefinition)
	}
	q := queries[0]
	if accepts := d.OnLate == "accept" || d.OnOutOfOrder == "accept"; q.Grace > 0 && !accepts {
		return nil, fmt.Errorf("pipeline %q: GRACE needs on_late or on_out_of_order set to accept: %w", d.Name, ErrDefinition)
	}
	return q, nil
}

// newPipeline builds a pipeline without state that reads from an offset on.
func (c *Pipelines) newPipeline(d Definition, from int64) (*pipeline, error) {
	q, err := Compile(&d, c.o.SinglePartition)
	if err != nil {
		return nil, err
	}
	hash := d.hash(q.Hash())
	p := &pipeline{core: c, def: d, id: d.Name + "@" + hex.EncodeToString(hash[:8]), query: q, rows: q.NewEnv(), from: from, fresh: true}
	p.keyAt = q.PartitionKeyIndex()
	p.accepts = d.OnLate == "accept" || d.OnOutOfOrder == "accept"
	p.emitRow = p.emit
	policy, mode := p.policy(), windows.ByArrival
	switch {
	case len(q.Over) > 0:
		mode = windows.ByEventPerKey
	case q.Timestamp != nil:
		mode = windows.ByEvent
	}
	if err := policy.Validate(mode == windows.ByEventPerKey); err != nil {
		return nil, fmt.Errorf("pipeline %q: %w", d.Name, err)
	}
	p.timeline = windows.NewTimeline(policy, mode)
	if mode == windows.ByEventPerKey {
		p.rewind.back = d.Late + d.Early
	}
	return p, p.open()
}

func (p *pipeline) policy() windows.Policy {
	d := &p.def
	policy := windows.Policy{
		Late: d.Late, OutOfOrder: d.OutOfOrder, Early: d.Early,
		OnLate: actions[d.OnLate], OnOutOfOrder: actions[d.OnOutOfOrder], OnEarly: actions[d.OnEarly],
		RisesByEarly: p.core.o.ProducerTime && !p.stamped(),
	}
	if policy.OnEarly == windows.Default {
		policy.OnEarly = windows.SideOutput
	}
	return policy
}

// open makes the windows of a query that has some, without state.
func (p *pipeline) open() (err error) {
	q, policy := p.query, p.policy()
	if q.Window == nil {
		return nil
	}
	p.op, err = windows.New(windows.Options{
		Window: *q.Window, Aggregates: q.Aggregates,
		PerKey:     len(q.Over) > 0,
		AcceptLate: policy.OnLate == windows.Accept || policy.OnOutOfOrder == windows.Accept,
		Grace:      q.Grace,
		Prefix:     pipelineKeyOf('w', p.id),
		Scratch:    p.core.o.Scratch,
		Budget:     p.core.o.Budget,
	})
	if err != nil {
		return fmt.Errorf("pipeline %q: %w", p.def.Name, err)
	}
	return nil
}

var actions = map[string]windows.Action{
	"": windows.Default, "adjust": windows.Adjust, "drop": windows.Drop,
	"side_output": windows.SideOutput, "accept": windows.Accept, "clamp": windows.Clamp,
}

// restart forgets what ticks did before the pipeline began: they have its first
// position, too.
func (p *pipeline) restart() error {
	p.timeline.Reset(windows.Clocks{Arrival: windows.Unset, Newest: windows.Unset, Watermark: windows.Unset})
	p.rewind.marks = nil
	if err := p.release(); err != nil {
		return err
	}
	return p.open()
}

// reads reports whether the record at an offset is for this pipeline.
func (p *pipeline) reads(offset int64) bool {
	return offset >= p.from && offset >= p.begin && !p.suspended
}

// oldest is the smallest offset that open windows depend on.
func (p *pipeline) oldest() (offset int64, open bool) {
	if p.op == nil {
		return 0, false
	}
	return p.op.Oldest()
}

func (p *pipeline) openWindows() uint64 {
	if p.op == nil {
		return 0
	}
	return uint64(p.op.OpenWindows())
}

// stamped reports whether a record's arrival is when it was first read.
func (p *pipeline) stamped() bool { return p.def.Arrival == "read" }

// arrival is the arrival of a record for this pipeline.
func (p *pipeline) arrival(r *Record) windows.Tick {
	if p.stamped() {
		return p.core.stamp
	}
	return r.Arrival
}

// clocks are those before the record at hand, for a rebuild that starts with it.
// Its stamp may have been journaled further back, and is the first thing to
// count.
func (p *pipeline) clocks() windows.Clocks {
	c := p.timeline.Clocks()
	if p.stamped() {
		c.Arrival = max(c.Arrival, p.core.stamp)
	}
	return c
}

// pass lets a record count for the clock alone.
func (p *pipeline) pass(r *Record) error {
	p.rewind.trail(r.Offset, p.clocks())
	return p.advance(p.rising(p.arrival(r)))
}

// advance moves the arrival clock.
func (p *pipeline) advance(a windows.Tick) error {
	if err := p.revise(a); err != nil {
		return err
	}
	p.timeline.Advance(a)
	return p.fire(nil)
}

// rising bounds the arrival of a record that carries no event time as Admit
// does for those that do.
func (p *pipeline) rising(a windows.Tick) windows.Tick {
	last := p.timeline.Arrival()
	if p.core.o.ProducerTime && !p.stamped() && last != windows.Unset {
		a = min(a, last+p.def.Early)
	}
	return max(a, windows.MinTick)
}

// apply runs one record through policies, WHERE and the windows.
func (p *pipeline) apply(r *Record) error {
	p.figures.In++
	arrival := p.arrival(r)
	event := arrival
	if p.query.Timestamp != nil {
		var ok bool
		if event, ok = p.query.EventTime(p.env); !ok {
			p.figures.TsInvalid++
			p.refuse(r, ReasonTsInvalid, detail(p.env))
			p.env.Errors = p.env.Errors[:0]
			return p.pass(r)
		}
	}
	var over []byte
	if len(p.query.Over) > 0 {
		p.over = p.query.AppendOver(p.over[:0], p.env)
		over = p.over
	}
	before := p.clocks()
	p.rewind.trail(r.Offset, before)
	if p.accepts {
		if err := p.revise(p.rising(arrival)); err != nil {
			return err
		}
	}
	ts, v := p.timeline.Admit(over, event, arrival)
	p.count(v)
	if !v.Processed() {
		p.figures.Dropped++
		if v.Ruling == windows.Aside {
			p.aside(r, reasons[v.Reason], event, ts)
		}
		return p.fire(over)
	}
	p.env.Timestamp = ts
	if accepted := p.query.Accept(p.env); p.valid(r) && accepted {
		if p.op == nil {
			p.project(r)
		} else if err := p.add(r, over, event, ts, before); err != nil {
			return err
		}
	}
	return p.fire(over)
}

// valid sends a record whose expressions failed to the dead letters.
func (p *pipeline) valid(r *Record) bool {
	if len(p.env.Errors) == 0 {
		return true
	}
	p.rowErrors(r)
	return false
}

func (p *pipeline) rowErrors(r *Record) {
	p.figures.RowErrors += int64(len(p.env.Errors))
	p.refuse(r, ReasonRowError, detail(p.env))
	p.env.Errors = p.env.Errors[:0]
}

func (p *pipeline) add(r *Record, over []byte, event, ts windows.Tick, before windows.Clocks) error {
	p.key = p.query.AppendKey(p.key[:0], p.env)
	p.args = p.query.AppendArgs(p.args[:0], p.env)
	if len(p.env.Errors) > 0 {
		p.rowErrors(r)
		return nil
	}
	if p.keyAt >= 0 && !p.core.o.FromDevices {
		// A single string key lies in its tuple as it is, between tag and end.
		same := len(p.query.Keys) == 1 && len(p.key) == len(r.Key)+2 && string(p.key[1:len(p.key)-1]) == string(r.Key)
		if !same {
			k := p.query.Keys[p.keyAt].Eval(p.env)
			same = k.Kind() == windows.String && k.Str() == string(r.Key)
		}
		if !same {
			p.figures.KeyMismatch++
		}
	}
	var out windows.Outcome
	if over != nil {
		out = p.op.AddFor(over, r.Offset, ts, p.key, p.args)
	} else {
		out = p.op.Add(r.Offset, ts, p.key, p.args)
	}
	if out.NewSlice {
		p.rewind.mark(r.Offset, before)
	}
	switch {
	case out.NoWindow:
		p.figures.NoWindow++
	case out.PastGrace:
		p.figures.PastGrace++
		p.aside(r, ReasonPastGrace, event, ts)
	}
	if out.Refused != 0 {
		p.figures.RowErrors++
		p.refuse(r, ReasonRowError, p.refusedText(out.Refused))
	}
	return nil
}

func (p *pipeline) count(v windows.Verdict) {
	if v == (windows.Verdict{}) {
		return
	}
	if v.IsLate {
		p.figures.Late++
	}
	if v.IsOutOfOrder {
		p.figures.OutOfOrder++
	}
	if v.Reason == windows.Early {
		p.figures.Early++
	}
	if v.Ruling == windows.Adjusted || v.Ruling == windows.Clamped {
		p.figures.Adjusted++
	}
}

func (p *pipeline) report() PipelineFigures {
	f := p.figures
	f.Name, f.Suspended = p.def.Name, p.suspended
	f.Watermark, f.Arrival = p.timeline.Watermark(nil), p.timeline.Arrival()
	if p.op != nil {
		f.OpenWindows, f.OpenKeys, f.StateBytes = p.op.OpenWindows(), p.op.OpenKeys(), p.op.StateBytes()
	}
	return f
}

// detail lists an environment's row errors.
func detail(env *sql.Env) string {
	errs := make([]error, len(env.Errors))
	for i := range env.Errors {
		errs[i] = &env.Errors[i]
	}
	if err := errors.Join(errs...); err != nil {
		return err.Error()
	}
	return ""
}

// text views bytes as a string for as long as the record lives.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
