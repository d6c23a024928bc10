package eventlog_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/gemello/gemello/persistence/eventlog"
)

// The hashes are those of Kafka's own UtilsTest.testMurmur2; a partition is
// the hash without its sign, modulo the partitions.
func TestPartitionAgreesWithJava(t *testing.T) {
	for key, hash := range map[string]int32{
		"21":                         -973932308,
		"foobar":                     -790332482,
		"a-little-bit-long-string":   -985981536,
		"a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		for _, n := range []int32{1, 2, 7, 8, 1000} {
			if got, want := eventlog.Partition([]byte(key), n), (hash&0x7fffffff)%n; got != want {
				t.Errorf("Partition(%q, %d) = %d, want %d", key, n, got, want)
			}
		}
	}
}

func TestPartitionAgreesWithTheClientsDefault(t *testing.T) {
	p := kgo.StickyKeyPartitioner(nil).ForTopic("t")
	for i := range 2000 {
		key := []byte(fmt.Sprintf("device-%d", i*i))[:1+i%12]
		for _, n := range []int{1, 3, 8, 50} {
			if got, want := eventlog.Partition(key, int32(n)), int32(p.Partition(&kgo.Record{Key: key}, n)); got != want {
				t.Fatalf("Partition(%q, %d) = %d, want %d", key, n, got, want)
			}
		}
	}
}

func TestRecordsOfAKeyAreWherePartitionSays(t *testing.T) {
	u := newLog(t)
	topic := u.topic(t, "log", eventlog.TopicSpec{Partitions: 5})
	a := u.appender(t, eventlog.AppenderOptions{})
	var records []*eventlog.Record
	for i := range 50 {
		records = append(records, &eventlog.Record{Topic: topic, Key: []byte(fmt.Sprint("device", i)), Partition: 4})
	}
	appendAll(t, a, records...)
	slab := make([]eventlog.Record, 50)
	for i := range slab {
		slab[i] = record(topic, -1, fmt.Sprint("device", i), "")
	}
	slab = append(slab, record(topic, 3, "device0", "by number"))
	if err := u.term(t, "core").Commit(context.Background(), slab); err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		want := eventlog.Partition(records[i].Key, 5)
		if records[i].Partition != want || slab[i].Partition != want {
			t.Errorf("key %s: appended to %d, committed to %d, want %d", records[i].Key, records[i].Partition, slab[i].Partition, want)
		}
	}
	if slab[50].Partition != 3 {
		t.Errorf("a record for partition 3 went to %d", slab[50].Partition)
	}
}
