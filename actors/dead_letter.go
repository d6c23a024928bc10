package actors

import (
	"context"

	"github.com/gemello/gemello/persistence/eventlog"
)

// PutDeadLetter appends a row to the hub's dead-letter topic for a message that
// never reached the device log; done runs after the log has it.
func (n *Node) PutDeadLetter(ctx context.Context, key string, row []byte, done func(error)) {
	r := &eventlog.Record{Topic: n.topics.deadLetter, Key: []byte(key), Value: row}
	n.appender.Append(ctx, r, func(_ *eventlog.Record, err error) { done(err) })
}
