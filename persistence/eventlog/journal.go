package eventlog

// JournalKind is what a journal entry tells.
type JournalKind byte

const (
	JournalIdleAdvance  JournalKind = 1 // the idle clock moved to Time
	JournalArrivalStamp JournalKind = 2 // the reader stamped the record at Position with Time
	JournalPlanSwitch   JournalKind = 3 // Payload names the plan and settings from here on
	JournalSuspend      JournalKind = 4 // Payload names a pipeline and why it is suspended
	JournalResume       JournalKind = 5 // Payload names a pipeline that goes on
	JournalGap          JournalKind = 6 // input up to Position was lost or skipped; Payload says why
)

// JournalEntry is one input of a core that is not in its input partition.
type JournalEntry struct {
	Seq      uint64 // counts from 1 within a core, without gaps
	Position int64  // applies before the record at this input offset
	Kind     JournalKind
	Time     int64 // ticks; meaning by kind, else 0
	Payload  []byte
}

// AppendJournal appends the encoding of one journal record, a list of entries,
// to b.
func AppendJournal(b []byte, entries []JournalEntry) []byte { return b }

// DecodeJournal decodes a journal record and calls visit for each entry;
// Payload shares memory with b. Errors are ErrCorrupt or visit's.
func DecodeJournal(b []byte, visit func(JournalEntry) error) error { return ErrCorrupt }
