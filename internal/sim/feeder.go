package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/gemello/gemello/persistence/eventlog"
)

// feeder writes the run's own topic straight into the log, as a user's producer
// would, and keeps the same ledger as devices do.
type feeder struct {
	appender *eventlog.Appender
	topic    string
	keys     []string
	seq      map[string]int64
	ledger   *ledger
	rng      *rand.Rand
}

const inputPartitions = 3

// batch writes n records a key and returns when the log has all of them.
func (f *feeder) batch(ctx context.Context, from time.Time, n int) error {
	for range n {
		for _, k := range f.keys {
			t := from.Add(time.Duration(f.rng.Int64N(int64(roundSpan/time.Millisecond))) * time.Millisecond)
			if err := f.write(ctx, k, t); err != nil {
				return err
			}
		}
	}
	return nil
}

// write tries until the log acknowledges the record.
func (f *feeder) write(ctx context.Context, key string, t time.Time) error {
	f.seq[key]++
	seq := f.seq[key]
	name := message{key, seq}
	value := fmt.Appendf(nil, `{"deviceId":%q,"seq":%d,"t":%q,"v":%d}`, key, seq, t.Format("2006-01-02T15:04:05.000Z"), f.rng.Int64N(1000)-500)
	for {
		f.ledger.sent(name)
		done := make(chan error, 1)
		f.appender.Append(ctx, &eventlog.Record{Topic: f.topic, Key: []byte(key), Value: value}, func(_ *eventlog.Record, err error) { done <- err })
		err := <-done
		if err == nil {
			f.ledger.acked(name)
			return nil
		}
		if !pause(ctx, reconnect) {
			return fmt.Errorf("write %s: %w", f.topic, err)
		}
	}
}
