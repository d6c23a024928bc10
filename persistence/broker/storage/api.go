package storage

import (
	"time"
)

// TopicPartition names a partition.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// Topic is what is known of a topic at one moment. It is not to be changed.
type Topic struct {
	Name       string
	ID         [16]byte
	Partitions int32
	Configs    map[string]string // only what was set
}

// Append is one record batch for one partition.
type Append struct {
	TopicPartition
	Batch []byte // changed in place; the log's until done was called
	TxnID string // "": not transactional
	// Implicit adds the partition to the transaction (produce v12+, KIP-890).
	Implicit bool
}

// Appended is the result of an Append.
type Appended struct {
	Base       int64 // offset of the first record; of the first time for a duplicate
	AppendTime int64 // ms; -1 where the topic keeps the producer's time
	LogStart   int64
	Err        error
	NoKey      []int32 // with InvalidRecord of a compacted topic: which records of the batch, a hundred at most
}

// Read asks for record batches from an offset on.
type Read struct {
	TopicPartition
	Offset   int64
	MaxBytes int
	// Committed stops at the last stable offset and lists aborted transactions.
	Committed bool
	// AtLeastOne gives a first batch whole that is larger than MaxBytes.
	AtLeastOne bool
}

// Fetched is the result of Read. Batches are whole batches; the first may begin
// before the offset that was asked for.
type Fetched struct {
	HighWatermark int64
	LastStable    int64
	LogStart      int64
	Aborted       []Aborted
	Batches       []byte
	Err           error
}

// Aborted is an aborted transaction with records in what was read.
type Aborted struct {
	ProducerID  int64
	FirstOffset int64
}

// Offset is a position of a group in a partition.
type Offset struct {
	TopicPartition
	Offset      int64
	LeaderEpoch int32
	Metadata    string
}

// CommittedOffset is an Offset that is durable.
type CommittedOffset struct {
	Offset
	CommitTime time.Time
	Pending    bool // an open transaction holds another value
}

// Transaction describes a transactional id.
type Transaction struct {
	TxnID      string
	ProducerID int64
	Epoch      int16
	State      string // Empty, Ongoing, CompleteCommit, CompleteAbort
	Timeout    time.Duration
	Started    time.Time // zero unless Ongoing
	Partitions []TopicPartition
	Groups     []string
}

// Producer describes what a partition knows of a producer.
type Producer struct {
	ID            int64
	Epoch         int16
	LastSequence  int32 // -1: none
	LastTimestamp int64 // ms
	TxnStart      int64 // offset; -1: no open transaction
}
