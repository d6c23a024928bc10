package eventlog

import (
	"context"
	"errors"
	"testing"
)

func TestCommitEndsWhenTheClientKnowsThePartitions(t *testing.T) {
	records := []Record{{Topic: "a"}, {Topic: "b", Partition: 1}, {Topic: "a"}}
	looks := map[string]int{}
	leader := func(topic string, partition int32) (int32, int32, error) {
		looks[topic]++
		if want := map[string]int32{"a": 0, "b": 1}[topic]; partition != want {
			t.Errorf("asked for partition %d of topic %s, records went to %d", partition, topic, want)
		}
		if looks[topic] < 3 {
			return -1, -1, nil
		}
		return 1, 0, nil
	}
	k := known{}
	for range 2 { // what is known is not asked for again
		if err := k.await(t.Context(), records, leader); err != nil {
			t.Fatal(err)
		}
		if looks["a"] != 3 || looks["b"] != 3 {
			t.Errorf("looked %v times, want 3 for each", looks)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	never := func(string, int32) (int32, int32, error) { return -1, -1, nil }
	if err := (known{}).await(ctx, records, never); !errors.Is(err, context.Canceled) {
		t.Errorf("without a leader: %v, want the end of the context", err)
	}
}
