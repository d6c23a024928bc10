package partition

import (
	"fmt"
	"slices"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/windows"
	"github.com/gemello/gemello/windows/sql"
)

// PipelinesOptions configure a Pipelines core.
type PipelinesOptions struct {
	Source          string // name of the input topic
	Partition       int32
	SinglePartition bool // the source has no other
	FromDevices     bool // the source is the hub's device log
	ProducerTime    bool // timestamps come from producers, not from the log

	State   windows.State   // what the last Save left; read only
	Scratch windows.Scratch // for closed slices that the budget leaves no memory for
	Budget  *windows.Budget

	DeadLetter string // topic of refused records
	Late       string // topic of late, out-of-order and early records
	MaxRow     int    // bytes of key and value; 0: 900 KiB
}

// Pipelines keeps the windows of all queries over one partition of one source.
// A record is scanned once for all of them.
type Pipelines struct {
	o          PipelinesOptions
	pipes      []*pipeline // by name
	scanner    *sql.Scanner
	position   int64
	version    uint64 // of the settings that the pipelines are of
	dropped    [][]byte
	effects    *Effects
	suppressed bool
	unsaved    int64
	envelope   sql.Envelope
	tuples     []byte       // scratch of Touch
	stamp      windows.Tick // arrival of what is read now, for pipelines with arrival read
	stamps     bool         // there are such pipelines
}

// NewPipelines returns a core without pipelines at a position.
func NewPipelines(o PipelinesOptions, position int64) *Pipelines {
	if o.MaxRow == 0 {
		o.MaxRow = 900 << 10
	}
	c := &Pipelines{o: o, position: position, effects: &Effects{}, stamp: windows.Unset}
	c.rescan()
	return c
}

// rescan builds the scanner for the present pipelines.
func (c *Pipelines) rescan() {
	slices.SortFunc(c.pipes, func(a, b *pipeline) int {
		if a.def.Name < b.def.Name {
			return -1
		}
		return 1
	})
	c.stamps = false
	for _, p := range c.pipes {
		c.stamps = c.stamps || p.stamped()
	}
	queries := make([]*sql.Query, len(c.pipes))
	for i, p := range c.pipes {
		queries[i] = p.query
	}
	c.scanner = sql.NewScanner(sql.ScanOptions{}, queries...)
	for i, p := range c.pipes {
		p.env = c.scanner.Env(i)
	}
}

// Position returns the offset of the next record.
func (c *Pipelines) Position() int64 { return c.position }

// Skip moves past offsets that hold no data records.
func (c *Pipelines) Skip(next int64) { c.position = max(c.position, next) }

// Suppress turns outputs off while committed input is replayed.
func (c *Pipelines) Suppress(on bool) { c.suppressed = on }

// Effects returns what was effected since the last Take.
func (c *Pipelines) Effects() *Effects { return c.effects }

// Take returns the effects so far and goes on with next.
func (c *Pipelines) Take(next *Effects) *Effects {
	e := c.effects
	c.effects = next
	return e
}

// Unsaved counts the records since the last Save.
func (c *Pipelines) Unsaved() int64 { return c.unsaved }

// Apply handles the record at the core's position. An error means that state
// could not be read or spilled; the core must be thrown away.
func (c *Pipelines) Apply(r *Record) error {
	c.position = r.Offset + 1
	c.unsaved++
	if !slices.ContainsFunc(c.pipes, func(p *pipeline) bool { return p.reads(r.Offset) }) {
		return nil
	}
	if !c.scan(r) {
		for _, p := range c.pipes {
			if p.reads(r.Offset) {
				if err := p.pass(r); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for _, p := range c.pipes {
		if p.reads(r.Offset) {
			if err := p.apply(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// Touch tells the core the keys of the records that come next, at most
// windows.TouchKeys of them, so that it can bring their state nearer. It changes
// nothing.
func (c *Pipelines) Touch(keys [][]byte) {
	var tuples [windows.TouchKeys][]byte
	n := min(len(keys), len(tuples))
	for _, p := range c.pipes {
		if p.op == nil || p.suspended || p.keyAt != 0 || len(p.query.Keys) != 1 {
			continue
		}
		if tuples[0] == nil {
			b := c.tuples[:0]
			for _, k := range keys[:n] {
				b = windows.AppendTuple(b, windows.StringOf(text(k)))
			}
			c.tuples = b
			for i := range n {
				size := tupleSize(keys[i])
				if size > len(b) {
					return
				}
				tuples[i], b = b[:size:size], b[size:]
			}
		}
		p.op.Touch(tuples[:n])
	}
}

// tupleSize is the length of the tuple of a string without zero bytes: tag,
// text, end. For one with zero bytes it is wrong, and so is what Touch reads.
func tupleSize(key []byte) int { return len(key) + 2 }

// scan reads the payload for all pipelines; it reports false when the record is
// none of theirs or was refused. Either way its arrival counts.
func (c *Pipelines) scan(r *Record) bool {
	e := &c.envelope
	e.Enqueued, e.Processed, e.Partition, e.Key = r.Arrival, r.Arrival, c.o.Partition, r.Key
	if c.o.FromDevices {
		*e = sql.Envelope{Enqueued: r.Arrival, Processed: r.Arrival, Partition: c.o.Partition, Key: r.Key}
		if kind := r.Header(device.HeaderKind); len(kind) > 0 && string(kind) != device.KindTelemetry {
			return false
		}
		e.DeviceID = text(r.Key)
		for i := range r.Headers {
			h := &r.Headers[i]
			switch h.Key {
			case device.HeaderModule:
				e.ModuleID = text(h.Value)
			case device.HeaderGeneration:
				e.GenerationID = text(h.Value)
			case device.HeaderBag:
				e.MessageID, e.CorrelationID = messageIDs(text(h.Value))
			}
		}
	}
	if len(r.Value) == 0 {
		c.refuse(r, ReasonEmpty, "the record has no payload")
		return false
	}
	if err := c.scanner.Scan(r.Value, e); err != nil {
		reason := ReasonMalformed
		if len(r.Value) > sql.MaxPayload {
			reason = ReasonTooLarge
		}
		c.refuse(r, reason, err.Error())
		return false
	}
	return true
}

// refuse sends a record that no pipeline can read to the dead letters, once.
func (c *Pipelines) refuse(r *Record, reason, detail string) {
	for _, p := range c.pipes {
		if p.reads(r.Offset) {
			p.figures.DeadLetters++
		}
	}
	if !c.suppressed {
		deadLetter(c.effects, c.o.DeadLetter, refusal{
			Reason: reason, Detail: detail, Source: c.o.Source, Partition: c.o.Partition, Offset: r.Offset,
			Key: r.Key, Payload: r.Value, Arrival: r.Arrival,
		})
	}
}

// Stamp says that what is applied from now on is read at wall time now. It
// counts, and is journaled, only for pipelines whose arrival is the first read
// (semantics 1.2).
func (c *Pipelines) Stamp(now windows.Tick) {
	if c.stamps && now > c.stamp {
		c.stamp = now
		c.effects.Journal = append(c.effects.Journal, Entry{Position: c.position, Kind: EntryArrival, Time: now})
	}
}

// Tick advances the arrival clock of an idle partition to a, and to wall where
// arrival is the first read. It is journaled only where it closes a window: an
// advance that closes none is not observable, since the next record brings an
// arrival of its own.
func (c *Pipelines) Tick(a, wall windows.Tick) error {
	var recorded, read bool
	for _, p := range c.pipes {
		if p.stamped() {
			read = read || p.due(wall)
		} else {
			recorded = recorded || p.due(a)
		}
	}
	for _, e := range [...]struct {
		due   bool
		entry Entry
	}{
		{recorded, Entry{Position: c.position, Kind: EntryIdle, Time: a}},
		{read, Entry{Position: c.position, Kind: EntryIdleRead, Time: wall}},
	} {
		if !e.due {
			continue
		}
		c.effects.Journal = append(c.effects.Journal, e.entry)
		if err := c.Replay(e.entry); err != nil {
			return err
		}
	}
	for _, p := range c.pipes {
		if p.op != nil {
			p.op.Rest()
		}
	}
	return nil
}

// Replay applies one journal entry. An idle advance moves every pipeline, also
// those that it closes no window of: which ones it did close would depend on
// windows that a rebuild leaves out.
func (c *Pipelines) Replay(e Entry) error {
	switch e.Kind {
	case EntryIdle, EntryIdleRead:
		if e.Kind == EntryIdleRead {
			c.stamp = max(c.stamp, e.Time)
		}
		for _, p := range c.pipes {
			if p.stamped() != (e.Kind == EntryIdleRead) || !p.reads(e.Position) {
				continue
			}
			p.figures.IdleTicks++
			if err := p.advance(e.Time); err != nil {
				return err
			}
		}
		return nil
	case EntryArrival:
		c.stamp = max(c.stamp, e.Time)
		return nil
	case EntryResume:
		for _, p := range c.pipes {
			if p.id == string(e.Payload) && p.from == e.Position && p.reads(e.Position) {
				return p.restart()
			}
		}
		return nil
	case EntryPlans, EntrySuspend, EntryGap:
		return nil // their outcome stands in the checkpoint
	}
	return fmt.Errorf("journal entry of unknown kind %d at %d", e.Kind, e.Position)
}

// Report fills in figures.
func (c *Pipelines) Report(f *Figures) {
	for _, p := range c.pipes {
		f.Pipelines = append(f.Pipelines, p.report())
	}
}
