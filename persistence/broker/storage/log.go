package storage

import (
	"context"
	"errors"
	"time"
)

var errStub = errors.New("not built yet")

// Log is an open log. It is safe for concurrent use.
type Log struct {
	opts Options
}

// Open opens the log in o.Dir or makes an empty one. A directory that another
// process has open is an error.
func Open(ctx context.Context, o Options) (*Log, error) { return nil, errStub }

// Close waits for requests under way and releases the directory.
func (l *Log) Close() error { return nil }

// ClusterID is a random name given when the log was made.
func (l *Log) ClusterID() string { return "" }

func (l *Log) Topics() []Topic                                         { return nil }
func (l *Log) Topic(name string) (Topic, bool)                         { return Topic{}, false }
func (l *Log) TopicByID(id [16]byte) (Topic, bool)                     { return Topic{}, false }
func (l *Log) CreateTopic(ctx context.Context, t Topic) (Topic, error) { return Topic{}, errStub }
func (l *Log) DeleteTopic(ctx context.Context, name string) error      { return errStub }
func (l *Log) AddTopicPartitions(ctx context.Context, name string, total int32) error {
	return errStub
}
func (l *Log) SetTopicConfigs(ctx context.Context, name string, configs map[string]*string, replace bool) error {
	return errStub
}

func (l *Log) Append(entries []Append, done func([]Appended)) {}
func (l *Log) Read(r Read, buf []byte) Fetched                { return Fetched{Err: errStub} }
func (l *Log) Watch(tp TopicPartition) <-chan struct{}        { return nil }
func (l *Log) Offsets(tp TopicPartition) (start, stable, high int64, err error) {
	return 0, 0, 0, errStub
}
func (l *Log) OffsetFor(tp TopicPartition, timestamp int64, committed bool) (offset, ts int64, err error) {
	return -1, -1, errStub
}
func (l *Log) DeleteRecords(ctx context.Context, tp TopicPartition, before int64) (low int64, err error) {
	return 0, errStub
}

func (l *Log) InitProducer(ctx context.Context, txnID string, timeout time.Duration, id int64, epoch int16) (int64, int16, error) {
	return -1, -1, errStub
}
func (l *Log) AddPartitions(ctx context.Context, txnID string, id int64, epoch int16, tps []TopicPartition) error {
	return errStub
}
func (l *Log) AddGroup(ctx context.Context, txnID string, id int64, epoch int16, group string) error {
	return errStub
}
func (l *Log) AddOffsets(ctx context.Context, txnID string, id int64, epoch int16, group string, offsets []Offset, implicit bool) error {
	return errStub
}
func (l *Log) EndTxn(ctx context.Context, txnID string, id int64, epoch int16, commit, bump bool) (int64, int16, error) {
	return -1, -1, errStub
}
func (l *Log) Transactions() []Transaction                     { return nil }
func (l *Log) Transaction(txnID string) (Transaction, bool)    { return Transaction{}, false }
func (l *Log) Producers(tp TopicPartition) ([]Producer, error) { return nil, errStub }

func (l *Log) CommitOffsets(ctx context.Context, group string, offsets []Offset) error {
	return errStub
}
func (l *Log) CommittedOffsets(group string) []CommittedOffset { return nil }
func (l *Log) Groups() []string                                { return nil }
func (l *Log) DeleteOffsets(ctx context.Context, group string, tps []TopicPartition) error {
	return errStub
}
func (l *Log) DeleteGroup(ctx context.Context, group string) error { return errStub }
