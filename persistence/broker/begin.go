package broker

import (
	"context"
	"fmt"

	"github.com/gemello/gemello/persistence/broker/storage"
)

// Begin makes an empty partition begin at an offset instead of 0; it is for a
// restored hub, before anybody writes to it.
func (s *Server) Begin(ctx context.Context, topic string, partition int32, at int64) error {
	if err := s.log.Begin(ctx, storage.TopicPartition{Topic: topic, Partition: partition}, at); err != nil {
		return fmt.Errorf("begin %s/%d at %d: %w", topic, partition, at, err)
	}
	return nil
}
