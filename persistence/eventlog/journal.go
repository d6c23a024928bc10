package eventlog

import "encoding/binary"

// JournalKind is what a journal entry tells.
type JournalKind byte

const (
	JournalIdleAdvance  JournalKind = 1 // the idle clock moved to Time
	JournalArrivalStamp JournalKind = 2 // the reader stamped the record at Position with Time
	JournalPlanSwitch   JournalKind = 3 // Payload names the plan and settings from here on
	JournalSuspend      JournalKind = 4 // Payload names a pipeline and why it is suspended
	JournalResume       JournalKind = 5 // Payload names a pipeline that goes on
	JournalGap          JournalKind = 6 // input before Position was lost or skipped; Payload says why
	JournalIdleRead     JournalKind = 7 // the idle clock of pipelines whose arrival is the first read moved to Time
	JournalRoutes       JournalKind = 8 // Payload names the routing from here on

	journalKindMax = JournalRoutes
)

// JournalEntry is one input of a core that is not in its input partition.
// docs/format/journal.md has the bytes.
type JournalEntry struct {
	Seq      uint64 // counts from 1 within a core, without gaps
	Position int64  // applies before the record at this input offset
	Kind     JournalKind
	Time     int64 // ticks (100 ns from 1970); meaning by kind, else 0
	Payload  []byte
}

const (
	journalVersion = 1
	// journalMinBytes is the encoding of an entry that repeats its predecessor:
	// three varints, the kind, an empty payload.
	journalMinBytes = 5
)

// AppendJournal appends the encoding of one journal record, a list of entries,
// to b. Seq, Position and Time are written as differences to the entry before,
// since a reader that stamps every record journals one entry each.
func AppendJournal(b []byte, entries []JournalEntry) []byte {
	start := len(b)
	b = append(b, journalVersion)
	b = binary.AppendUvarint(b, uint64(len(entries)))
	var prev JournalEntry
	for i := range entries {
		e := &entries[i]
		b = binary.AppendUvarint(b, e.Seq-prev.Seq)
		b = binary.AppendVarint(b, e.Position-prev.Position)
		b = append(b, byte(e.Kind))
		b = binary.AppendVarint(b, e.Time-prev.Time)
		b = binary.AppendUvarint(b, uint64(len(e.Payload)))
		b = append(b, e.Payload...)
		prev = *e
	}
	return seal(b, start)
}

// DecodeJournal decodes a journal record and calls visit for each entry in
// order; Payload shares memory with b, and is nil when empty. All of b is
// checked before the first call. Errors are an ErrCorrupt or visit's.
func DecodeJournal(b []byte, visit func(JournalEntry) error) error {
	if err := scanJournal(b, func(JournalEntry) error { return nil }); err != nil {
		return err
	}
	return scanJournal(b, visit)
}

func scanJournal(b []byte, visit func(JournalEntry) error) error {
	w := openWire("journal record", journalVersion, b)
	var e JournalEntry
	for n := w.count(journalMinBytes); n > 0; n-- {
		e.Seq += w.u()
		e.Position += w.s()
		e.Kind = JournalKind(w.byte())
		e.Time += w.s()
		e.Payload = w.take(w.u())
		if len(e.Payload) == 0 {
			e.Payload = nil
		}
		if w.err == nil && (e.Kind == 0 || e.Kind > journalKindMax) {
			w.fail("unknown kind %d: written by a newer release", e.Kind)
		}
		if w.err != nil {
			return w.err
		}
		if err := visit(e); err != nil {
			return err
		}
	}
	return w.end()
}
