package storage

import (
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kerr"
)

func TestCreateTopicRefuses(t *testing.T) {
	l := openMem(t)
	mustCreate(t, l, "there", 1)
	for _, tt := range []struct {
		rule string
		t    Topic
		want error
	}{
		{"a name that is taken", Topic{Name: "there", Partitions: 1}, kerr.TopicAlreadyExists},
		{"no name", Topic{Partitions: 1}, kerr.InvalidTopicException},
		{"a dot", Topic{Name: ".", Partitions: 1}, kerr.InvalidTopicException},
		{"a slash", Topic{Name: "a/b", Partitions: 1}, kerr.InvalidTopicException},
		{"a long name", Topic{Name: strings.Repeat("a", 250), Partitions: 1}, kerr.InvalidTopicException},
		{"no partitions", Topic{Name: "n"}, kerr.InvalidPartitions},
		{"too many", Topic{Name: "n", Partitions: 10001}, kerr.InvalidPartitions},
		{"an unknown configuration", Topic{Name: "n", Partitions: 1, Configs: map[string]string{"retention": "1"}}, kerr.InvalidConfig},
		{"a value of the wrong kind", Topic{Name: "n", Partitions: 1, Configs: map[string]string{"retention.ms": "1h"}}, kerr.InvalidConfig},
		{"an unknown policy", Topic{Name: "n", Partitions: 1, Configs: map[string]string{"cleanup.policy": "compact,keep"}}, kerr.InvalidConfig},
		{"a lag above its limit", Topic{Name: "n", Partitions: 1, Configs: map[string]string{"min.compaction.lag.ms": "2", "max.compaction.lag.ms": "1"}}, kerr.InvalidConfig},
	} {
		if _, err := l.CreateTopic(ctx, tt.t); err != tt.want {
			t.Errorf("%s: %v, want %v", tt.rule, err, tt.want)
		}
	}
}

func TestDefaultsOfConfigurationsAreAllowed(t *testing.T) {
	for _, k := range ConfigKeys() {
		if err := k.Check(k.Default); err != nil {
			t.Errorf("%s = %q: %v", k.Name, k.Default, err)
		}
	}
}

func TestTopicsSurviveAndChange(t *testing.T) {
	c := newClock()
	fs := vfs.NewMem()
	l := open(t, c.options(fs))
	made, err := l.CreateTopic(ctx, Topic{Name: "a", Partitions: 1, Configs: map[string]string{"retention.ms": "5", "max.message.bytes": "300"}})
	if err != nil {
		t.Fatal(err)
	}
	appendOne(l, at("a", 0), data{values: []string{"v"}}, "")
	if err := l.AddTopicPartitions(ctx, "a", 1); err != kerr.InvalidPartitions {
		t.Errorf("as many as there are: %v", err)
	}
	if err := l.AddTopicPartitions(ctx, "a", 3); err != nil {
		t.Fatal(err)
	}
	on := "compact"
	if err := l.SetTopicConfigs(ctx, "a", map[string]*string{"cleanup.policy": &on, "max.message.bytes": nil}, false); err != nil {
		t.Fatal(err)
	}
	wrong := "x"
	if err := l.SetTopicConfigs(ctx, "a", map[string]*string{"cleanup.policy": &wrong}, false); err != kerr.InvalidConfig {
		t.Errorf("a wrong value: %v", err)
	}
	id := l.ClusterID()
	for range 2 {
		got, ok := l.TopicByID(made.ID)
		if !ok || got.Name != "a" || got.Partitions != 3 || len(got.Configs) != 2 || got.Configs["cleanup.policy"] != "compact" || got.Configs["retention.ms"] != "5" {
			t.Errorf("%+v", got)
		}
		if _, _, high, err := l.Offsets(at("a", 0)); high != 1 || err != nil {
			t.Errorf("high watermark %d, %v", high, err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = open(t, c.options(fs))
	}
	defer l.Close()
	if l.ClusterID() != id || len(id) != 22 {
		t.Errorf("cluster id %q, was %q", l.ClusterID(), id)
	}
	if err := l.SetTopicConfigs(ctx, "a", map[string]*string{"retention.ms": nil}, true); err != nil {
		t.Fatal(err)
	}
	if got, _ := l.Topic("a"); len(got.Configs) != 0 {
		t.Errorf("replaced: %+v", got)
	}
}

func TestADeletedTopicLeavesNothing(t *testing.T) {
	l := openMem(t)
	count := func() (n int) {
		if err := l.engine.view(func(db *pebble.DB) error {
			return scan(db, nil, nil, func([]byte, []byte) error { n++; return nil })
		}); err != nil {
			t.Fatal(err)
		}
		return n
	}
	mustCreate(t, l, "other", 1)
	pid, e := mustInit(t, l, "x")
	before := count()
	for round := range 2 {
		mustCreate(t, l, "a", 2)
		for p := range int32(2) {
			r := appendAll(l, Append{TopicPartition: at("a", p), Batch: data{values: []string{strings.Repeat("v", 600_000)}, id: pid, epoch: e, seq: 0, txn: true}.bytes(), TxnID: "x", Implicit: true},
				Append{TopicPartition: at("a", p), Batch: data{values: []string{strings.Repeat("v", 600_000)}}.bytes()})
			if r[0].Err != nil || r[1].Err != nil || r[0].Base != 0 {
				t.Fatal(round, r)
			}
		}
		if err := l.AddOffsets(ctx, "x", pid, e, "g", []Offset{{TopicPartition: at("a", 0)}}, true); err != nil {
			t.Fatal(err)
		}
		if err := l.DeleteTopic(ctx, "a"); err != nil {
			t.Fatal(err)
		}
		if got := count(); got != before {
			t.Errorf("round %d: %d keys, before it %d", round, got, before)
		}
	}
	if _, _, err := l.EndTxn(ctx, "x", pid, e, true, false); err != nil {
		t.Errorf("its transaction ends without it: %v", err)
	}
	if err := l.DeleteTopic(ctx, "a"); err != kerr.UnknownTopicOrPartition {
		t.Errorf("once more: %v", err)
	}
}
