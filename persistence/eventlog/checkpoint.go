package eventlog

import "encoding/binary"

// Checkpoint is what one commit remembers of its core. Times are ticks (100 ns
// from 1970) of the clocks they belong to; offsets are of the input partition
// unless said otherwise. docs/format/checkpoint.md has the bytes.
type Checkpoint struct {
	Core               string // name of the core, the key of the record
	Offset             int64  // next to read
	Arrival, Watermark int64  // the core's clocks at Offset
	JournalSeq         uint64 // newest journal entry of this or an earlier commit
	JournalOffset      int64  // journal-topic offset from which a replay may need to read
	OutboxSeq          uint64 // newest outbox entry handed out
	// RewindOffset is the oldest input offset that open state depends on; the
	// other two are the clocks there.
	RewindOffset                   int64
	RewindArrival, RewindWatermark int64
	SettingsVersion                uint64
	PlanHash                       [32]byte
	Pipelines                      []PipelineClock
	WrittenAt                      int64 // Unix milliseconds
	Released                       bool  // the owner has let go politely
	Node                           string
}

// PipelineClock is the part of a checkpoint that belongs to one pipeline.
type PipelineClock struct {
	ID                        string
	From                      int64 // first input offset that belongs to the pipeline
	MaxTs, Watermark, Arrival int64 // clocks M, W and A
	Rewind                    int64 // oldest input offset that its open windows depend on
	RewindM, RewindW, RewindA int64 // the clocks there
	OpenWindows               uint64
	Suspended                 bool
	Reason                    string // why suspended
}

const (
	checkpointVersion  = 1
	checkpointReleased = 1 << 0
	pipelineSuspended  = 1 << 0
	// pipelineMinBytes is the encoding of a zero PipelineClock: nine varints,
	// two empty strings, the flags.
	pipelineMinBytes = 12
)

// AppendCheckpoint appends the encoding of c to b.
func AppendCheckpoint(b []byte, c *Checkpoint) []byte {
	start := len(b)
	var flags byte
	if c.Released {
		flags |= checkpointReleased
	}
	b = append(b, checkpointVersion, flags)
	b = appendStr(b, c.Core)
	b = binary.AppendVarint(b, c.Offset)
	b = binary.AppendVarint(b, c.Arrival)
	b = binary.AppendVarint(b, c.Watermark)
	b = binary.AppendUvarint(b, c.JournalSeq)
	b = binary.AppendVarint(b, c.JournalOffset)
	b = binary.AppendUvarint(b, c.OutboxSeq)
	b = binary.AppendVarint(b, c.RewindOffset)
	b = binary.AppendVarint(b, c.RewindArrival)
	b = binary.AppendVarint(b, c.RewindWatermark)
	b = binary.AppendUvarint(b, c.SettingsVersion)
	b = append(b, c.PlanHash[:]...)
	b = binary.AppendVarint(b, c.WrittenAt)
	b = appendStr(b, c.Node)
	b = binary.AppendUvarint(b, uint64(len(c.Pipelines)))
	for i := range c.Pipelines {
		p := &c.Pipelines[i]
		flags = 0
		if p.Suspended {
			flags |= pipelineSuspended
		}
		b = append(b, flags)
		b = appendStr(b, p.ID)
		for _, v := range [...]int64{p.From, p.MaxTs, p.Watermark, p.Arrival, p.Rewind, p.RewindM, p.RewindW, p.RewindA} {
			b = binary.AppendVarint(b, v)
		}
		b = binary.AppendUvarint(b, p.OpenWindows)
		b = appendStr(b, p.Reason)
	}
	return seal(b, start)
}

// DecodeCheckpoint decodes what AppendCheckpoint wrote; every error is an
// ErrCorrupt.
func DecodeCheckpoint(b []byte) (*Checkpoint, error) {
	w := openWire("checkpoint", checkpointVersion, b)
	c := new(Checkpoint)
	c.Released = w.flags(checkpointReleased)&checkpointReleased != 0
	c.Core = w.str()
	c.Offset = w.s()
	c.Arrival = w.s()
	c.Watermark = w.s()
	c.JournalSeq = w.u()
	c.JournalOffset = w.s()
	c.OutboxSeq = w.u()
	c.RewindOffset = w.s()
	c.RewindArrival = w.s()
	c.RewindWatermark = w.s()
	c.SettingsVersion = w.u()
	copy(c.PlanHash[:], w.take(uint64(len(c.PlanHash))))
	c.WrittenAt = w.s()
	c.Node = w.str()
	if n := w.count(pipelineMinBytes); n > 0 {
		c.Pipelines = make([]PipelineClock, n)
	}
	for i := range c.Pipelines {
		p := &c.Pipelines[i]
		p.Suspended = w.flags(pipelineSuspended)&pipelineSuspended != 0
		p.ID = w.str()
		for _, v := range [...]*int64{&p.From, &p.MaxTs, &p.Watermark, &p.Arrival, &p.Rewind, &p.RewindM, &p.RewindW, &p.RewindA} {
			*v = w.s()
		}
		p.OpenWindows = w.u()
		p.Reason = w.str()
	}
	if err := w.end(); err != nil {
		return nil, err
	}
	return c, nil
}
