package partition

import (
	"iter"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/windows"
)

// chunkSize is the capacity of a fresh chunk of output bytes: large enough that
// a row rarely needs one of its own, small enough to be reused by any core.
const chunkSize = 256 << 10

// Effects are what a core wants done, in order. The zero value is ready to use.
// The host takes them with the core's Take, puts outputs and journal into one
// transaction and gives the value back with Reset, so that its buffers serve
// again.
type Effects struct {
	topics  []string
	outputs []output
	chunks  [][]byte
	bytes   int

	// Replies answer requests whose record has been applied; they depend on the
	// log prefix alone and may be sent at once.
	Replies []Reply
	// Notices concern live sessions and may be sent at once as well.
	Notices []Notice
	// Journal entries belong to the same transaction as the outputs.
	Journal []Entry
}

// output is one record to produce: key, value and encoded headers lie one after
// the other in their chunk. It is kept this small because a hop can make a
// million of them.
type output struct {
	topic                 uint16
	tombstone, alongside  bool
	chunk                 uint32
	key, value, end, tail uint32
}

// Output is one record that a transaction produces; its key chooses the
// partition unless Alongside is set. A nil Value is a tombstone.
type Output struct {
	Topic      string
	Key, Value []byte
	// Alongside asks for the partition of the input's number, whatever the key.
	Alongside bool
}

// Entry is one journal entry: it applies before the record at Position.
type Entry struct {
	Position int64
	Kind     EntryKind
	Time     windows.Tick
	Payload  []byte
}

// EntryKind says what a journal entry records.
type EntryKind byte

// Kinds of journal entries; the numbers are on disk (docs/format/journal.md).
const (
	EntryIdle    EntryKind = 1 // the arrival clock advanced to Time without a record
	EntryArrival EntryKind = 2 // the record at Position was first read at Time
	EntryPlans   EntryKind = 3 // Payload names the pipelines from Position on
	EntrySuspend EntryKind = 4 // the pipeline named in Payload stops at Position
	EntryResume  EntryKind = 5 // the pipeline named in Payload begins, or begins anew, at Position
	EntryGap     EntryKind = 6 // input before Position was lost; open windows are incomplete
	// EntryIdleRead is EntryIdle for pipelines whose arrival is the first read.
	EntryIdleRead EntryKind = 7
	EntryRoutes   EntryKind = 8 // Payload names the routing from Position on
)

// Reply answers one control record of the device log.
type Reply struct {
	Request  string          // the record's request header
	Document device.Document // the device or module after the change
	Version  int64           // the section's version after a twin change
	Next     int64           // the offset after the record
	Err      error           // wraps one of device's sentinels

	Offset   int64             // of the record, after a command was sent
	Commands []device.Delivery // what a receive has locked
	Job      *device.Job       // after a record of a job
	Part     *JobPart          // after a record of a job's part, nil when it is forgotten
	Row      *device.JobRow    // after a step of a job
	Changed  bool              // the step was made by this record, not by an earlier one

	Count    int                   // commands purged, or that wait after a receive
	Feedback *device.FeedbackBatch // what a service has locked, nil when there is none
}

// Notice tells the live session of a device or module what a record changed.
type Notice struct {
	Ref     device.Ref
	Kind    NoticeKind
	Version int64  // NoticeDesired: the desired version
	Patch   []byte // NoticeDesired: the patch with $version
}

// NoticeKind says what a Notice is about.
type NoticeKind byte

// Kinds of notices.
const (
	NoticeIdentity NoticeKind = iota // created, updated or deleted: sessions check their credential anew
	NoticeDesired                    // desired properties changed
	NoticeCommands                   // commands wait to be received
)

// Len returns the number of outputs and Bytes their size, keys and values.
func (e *Effects) Len() int   { return len(e.outputs) }
func (e *Effects) Bytes() int { return e.bytes }

// Empty reports whether there is nothing to commit.
func (e *Effects) Empty() bool { return len(e.outputs) == 0 && len(e.Journal) == 0 }

// topic numbers a topic for done.
func (e *Effects) topic(name string) uint32 {
	for i, t := range e.topics {
		if t == name {
			return uint32(i)
		}
	}
	e.topics = append(e.topics, name)
	return uint32(len(e.topics) - 1)
}

// room returns the chunk to append to; done puts it back with one more output.
// A chunk that had to grow keeps its content, so earlier outputs stay valid.
func (e *Effects) room() []byte {
	n := len(e.chunks)
	if n == 0 || len(e.chunks[n-1]) > chunkSize*7/8 {
		if n < cap(e.chunks) {
			e.chunks = e.chunks[:n+1]
			e.chunks[n] = e.chunks[n][:0]
		} else {
			e.chunks = append(e.chunks, nil)
		}
		if cap(e.chunks[n]) == 0 {
			e.chunks[n] = make([]byte, 0, chunkSize)
		}
		n++
	}
	return e.chunks[n-1]
}

func (e *Effects) done(topic uint32, b []byte, from, mid int) {
	e.doneWithHeaders(topic, b, from, mid, len(b))
}

// doneWithHeaders is done for an output whose value ends at end, where its
// headers begin as appendHeader wrote them.
func (e *Effects) doneWithHeaders(topic uint32, b []byte, from, mid, end int) {
	n := len(e.chunks) - 1
	e.chunks[n] = b
	e.outputs = append(e.outputs, output{
		topic: uint16(topic), chunk: uint32(n),
		key: uint32(from), value: uint32(mid), end: uint32(end), tail: uint32(len(b)),
	})
	e.bytes += len(b) - from
}

// abandon takes back what was appended to the chunk since from.
func (e *Effects) abandon(b []byte, from int) {
	e.chunks[len(e.chunks)-1] = b[:from]
}

// tombstone turns the newest output into a deletion of its key.
func (e *Effects) tombstone() { e.outputs[len(e.outputs)-1].tombstone = true }

// alongside puts the newest output into the partition of the input's number.
func (e *Effects) alongside() { e.outputs[len(e.outputs)-1].alongside = true }

// withHeaders attaches headers to the newest output.
func (e *Effects) withHeaders(h ...Header) {
	o := &e.outputs[len(e.outputs)-1]
	c := e.chunks[o.chunk]
	before := len(c)
	for i := range h {
		c = appendHeader(c, h[i].Key, h[i].Value)
	}
	e.chunks[o.chunk] = c
	o.tail = uint32(len(c))
	e.bytes += len(c) - before
}

// drop removes the newest output, whose value is larger than a topic takes.
func (e *Effects) drop() {
	o := e.outputs[len(e.outputs)-1]
	e.outputs = e.outputs[:len(e.outputs)-1]
	e.chunks[o.chunk] = e.chunks[o.chunk][:o.key]
	e.bytes -= int(o.tail - o.key)
}

// Output returns the i-th output but for its headers; its slices are valid until
// Reset.
func (e *Effects) Output(i int) Output {
	o := e.outputs[i]
	c := e.chunks[o.chunk]
	out := Output{Topic: e.topics[o.topic], Key: c[o.key:o.value:o.value], Alongside: o.alongside}
	if !o.tombstone {
		out.Value = c[o.value:o.end:o.end]
	}
	return out
}

// Headers yields the headers of the i-th output, which are valid until Reset.
func (e *Effects) Headers(i int) iter.Seq[Header] {
	o := e.outputs[i]
	b := e.chunks[o.chunk][o.end:o.tail]
	return func(yield func(Header) bool) {
		for len(b) > 0 {
			var h Header
			h, b = nextHeader(b)
			if !yield(h) {
				return
			}
		}
	}
}

// Reset empties the effects and keeps their buffers.
func (e *Effects) Reset() {
	e.outputs = e.outputs[:0]
	e.chunks = e.chunks[:0]
	e.bytes = 0
	clear(e.Replies)
	e.Replies = e.Replies[:0]
	clear(e.Notices)
	e.Notices = e.Notices[:0]
	clear(e.Journal)
	e.Journal = e.Journal[:0]
}
