package torture

import (
	"bytes"
	"fmt"
	"strconv"
	"sync"
	"unique"
)

// TopicPartition names a partition.
type TopicPartition struct {
	Topic     string
	Partition int32
}

func (tp TopicPartition) String() string { return fmt.Sprintf("%s/%d", tp.Topic, tp.Partition) }

// Record names one record: the Seq-th of its producer, in transaction Txn or,
// if that is negative, in none.
type Record struct {
	Producer string // without spaces
	Txn      int
	Seq      int64
}

func (r Record) String() string { return fmt.Sprintf("%s %d %d", r.Producer, r.Txn, r.Seq) }

const copyPrefix = "copy-of-"

// CopyOf names the copy that a chain makes of the record at an offset.
func CopyOf(tp TopicPartition, offset int64) Record {
	return Record{Producer: copyPrefix + tp.String(), Txn: -1, Seq: offset}
}

// ParseRecord reads the text of a Record at the beginning of a value; what
// follows after another space is padding.
func ParseRecord(value []byte) (Record, error) {
	f := bytes.SplitN(value, []byte(" "), 4)
	if len(f) < 3 {
		return Record{}, fmt.Errorf("%.40q is no record of a torture", value)
	}
	txn, err := strconv.Atoi(string(f[1]))
	if err != nil {
		return Record{}, err
	}
	seq, err := strconv.ParseInt(string(f[2]), 10, 64)
	return Record{Producer: unique.Make(string(f[0])).Value(), Txn: txn, Seq: seq}, err
}

// Outcome is what a producer knows of the end of a transaction.
type Outcome uint8

// Outcomes. What was sent without an acknowledgement of the end is Unknown.
const (
	Unknown Outcome = iota
	Committed
	Aborted
)

func (o Outcome) String() string { return [...]string{"unknown", "committed", "aborted"}[o] }

// Ledger is safe for concurrent use.
type Ledger struct {
	mu        sync.Mutex // guards the following and all producers
	producers map[string]*Producer
	groups    map[string]map[TopicPartition]*position
	notes     []string
}

// position is how far a group's offset of a partition is known to be.
type position struct{ tried, acked int64 }

// NewLedger returns an empty ledger.
func NewLedger() *Ledger {
	return &Ledger{producers: map[string]*Producer{}, groups: map[string]map[TopicPartition]*position{}}
}

// Producer is the part of a ledger of one producer, which may live through
// several connections and, for a transactional id, several epochs.
type Producer struct {
	ledger *Ledger
	name   string
	sent   []sent    // by Seq
	txns   []Outcome // by Txn
}

type sent struct {
	to     TopicPartition
	txn    int
	offset int64 // where it was acknowledged; -1: it was not
}

// Producer returns the producer of that name, made at the first call.
func (l *Ledger) Producer(name string) *Producer {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.producers[name]
	if p == nil {
		p = &Producer{ledger: l, name: name}
		l.producers[name] = p
	}
	return p
}

// Begin notes a transaction, of which nothing is known until End.
func (p *Producer) Begin() (txn int) {
	p.ledger.mu.Lock()
	defer p.ledger.mu.Unlock()
	p.txns = append(p.txns, Unknown)
	return len(p.txns) - 1
}

// End notes how a transaction ended.
func (p *Producer) End(txn int, o Outcome) {
	p.ledger.mu.Lock()
	defer p.ledger.mu.Unlock()
	p.txns[txn] = o
}

// Send notes a record before it is handed to a client.
func (p *Producer) Send(to TopicPartition, txn int) Record {
	p.ledger.mu.Lock()
	defer p.ledger.mu.Unlock()
	p.sent = append(p.sent, sent{to: to, txn: txn, offset: -1})
	return Record{Producer: p.name, Txn: txn, Seq: int64(len(p.sent) - 1)}
}

// Ack notes that a record was acknowledged at an offset.
func (p *Producer) Ack(r Record, offset int64) {
	p.ledger.mu.Lock()
	defer p.ledger.mu.Unlock()
	p.sent[r.Seq].offset = offset
}

// Try notes an offset of a group before it is committed. Offsets of a partition
// must grow.
func (l *Ledger) Try(group string, tp TopicPartition, offset int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.groups[group] == nil {
		l.groups[group] = map[TopicPartition]*position{}
	}
	at := l.groups[group][tp]
	if at == nil {
		at = &position{acked: -1}
		l.groups[group][tp] = at
	}
	at.tried = max(at.tried, offset)
}

// Commit notes that an offset that was tried is committed.
func (l *Ledger) Commit(group string, tp TopicPartition, offset int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.groups[group][tp]
	at.acked = max(at.acked, offset)
}

// Position returns the highest offset of a group's partition that is known to be
// committed, -1 for none.
func (l *Ledger) Position(group string, tp TopicPartition) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at := l.groups[group][tp]; at != nil {
		return at.acked
	}
	return -1
}

// maxNotes are kept; more say nothing new.
const maxNotes = 200

// Note keeps what a client met that a log in order never shows it; each note
// fails the verdict.
func (l *Ledger) Note(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.notes) < maxNotes {
		l.notes = append(l.notes, fmt.Sprintf(format, args...))
	}
}
