package storage

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Begin makes an empty partition begin at an offset instead of 0, so that a hub
// that was restored gives out no offset again. Errors: UnknownTopicOrPartition;
// InvalidRequest when something was ever written to it, or at is negative.
func (l *Log) Begin(ctx context.Context, tp TopicPartition, at int64) error {
	return l.change(ctx, func(b *build) error {
		p := b.st.partition(tp)
		switch {
		case p == nil:
			return kerr.UnknownTopicOrPartition
		case at < 0 || p.next != 0 || p.bytes != 0 || len(p.unstable) > 0:
			return kerr.InvalidRequest
		}
		p.start, p.next = at, at
		b.touch(p)
		return nil
	})
}
