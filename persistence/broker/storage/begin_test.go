package storage

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
)

func TestOnlyAnEmptyPartitionBeginsElsewhere(t *testing.T) {
	l := openMem(t)
	mustCreate(t, l, "t", 2)
	tp := TopicPartition{Topic: "t", Partition: 1}
	for _, tt := range []struct {
		rule string
		tp   TopicPartition
		at   int64
		want error
	}{
		{"no such partition", TopicPartition{Topic: "t", Partition: 2}, 5, kerr.UnknownTopicOrPartition},
		{"a negative offset", tp, -1, kerr.InvalidRequest},
		{"an empty one", tp, 5, nil},
		{"one that begins elsewhere already", tp, 6, kerr.InvalidRequest},
	} {
		if err := l.Begin(ctx, tt.tp, tt.at); err != tt.want {
			t.Errorf("%s: %v, want %v", tt.rule, err, tt.want)
		}
	}
	if got := starts(t, l, tp); got[0] != 5 {
		t.Errorf("starts at %v, want 5", got)
	}
}
