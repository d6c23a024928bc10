package storage

import "context"

// Sizes returns how many bytes of batches each partition holds.
func (l *Log) Sizes(ctx context.Context) (map[TopicPartition]int64, error) {
	sizes := make(map[TopicPartition]int64)
	err := l.look(ctx, func(b *build) {
		for _, t := range b.st.topics {
			for _, p := range t.partitions {
				sizes[p.tp] = p.bytes
			}
		}
	})
	return sizes, err
}
