package eventlog

import (
	"context"
	"fmt"
	"time"
)

// known are the topics whose partitions the client of a term has stored. It sends
// the first records for a topic before it stores them, and takes a transaction for
// empty, and does not end it, when it is asked to in between.
type known map[string]struct{}

// knownPause is the time between looks, which are for a moment of the client's.
const knownPause = 50 * time.Microsecond

// await waits until the client has stored the partitions that records were written
// to. leader tells the leader of a partition, negative while it is not known.
func (k known) await(ctx context.Context, records []Record, leader func(topic string, partition int32) (int32, int32, error)) error {
	last := ""
	for i := range records {
		r := &records[i]
		if r.Topic == last {
			continue
		}
		last = r.Topic
		if _, ok := k[last]; ok {
			continue
		}
		for {
			if at, _, _ := leader(r.Topic, r.Partition); at >= 0 {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("partition %d of topic %s has no leader: %w", r.Partition, r.Topic, ctx.Err())
			case <-time.After(knownPause):
			}
		}
		k[last] = struct{}{}
	}
	return nil
}
