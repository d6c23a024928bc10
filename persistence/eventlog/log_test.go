package eventlog_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gemello/gemello/persistence/eventlog"
)

func TestOpenSaysInOneLineThatNobodyAnswers(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	_, err = eventlog.Open(ctx, eventlog.Options{Seeds: []string{addr}})
	if err == nil || !strings.Contains(err.Error(), addr) || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v", err)
	}
	if _, err := eventlog.Open(ctx, eventlog.Options{}); err == nil {
		t.Error("opened with no seeds")
	}
	if _, err := eventlog.Open(ctx, eventlog.Options{Seeds: []string{addr}, SASL: eventlog.SASL{Mechanism: "KERBEROS"}}); err == nil || !strings.Contains(err.Error(), "SCRAM-SHA-256") {
		t.Errorf("got %v, want the mechanisms there are", err)
	}
}

func TestEnsureTopicsMakesWhatIsMissingAndChecksTheRest(t *testing.T) {
	u := newLog(t)
	specs := eventlog.HubTopics(u.prefix, 3, eventlog.HubTopicOptions{})
	for range 2 {
		if err := u.EnsureTopics(within(t), specs...); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range specs {
		info, err := u.Topic(within(t), s.Name)
		if err != nil || info.Partitions != s.Partitions {
			t.Errorf("%s: %+v, %v", s.Name, info, err)
		}
	}
	err := u.EnsureTopics(within(t), eventlog.TopicSpec{Name: specs[0].Name, Partitions: 4})
	if err == nil || !strings.Contains(err.Error(), "has 3 partitions, want 4") {
		t.Errorf("got %v", err)
	}
	if _, err := u.Topic(within(t), u.prefix+".missing"); !errors.Is(err, eventlog.ErrNoTopic) {
		t.Errorf("missing topic: %v", err)
	}
	if _, err := u.Offsets(within(t), u.prefix+".missing"); !errors.Is(err, eventlog.ErrNoTopic) {
		t.Errorf("offsets of a missing topic: %v", err)
	}
}

func TestGroupOffsetsAreTaken(t *testing.T) {
	u := newLog(t)
	topic := u.topic(t, "log", eventlog.TopicSpec{Partitions: 2})
	if err := u.CommitGroupOffsets(within(t), u.prefix, map[string]map[int32]int64{topic: {0: 0, 1: 0}}); err != nil {
		t.Error(err)
	}
}

func TestMetricsOfTwoLogsDontCollide(t *testing.T) {
	u := newLog(t)
	for range 2 {
		reg := prometheus.NewRegistry()
		l, err := eventlog.Open(within(t), eventlog.Options{Seeds: []string{u.seed}, Registerer: reg})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if got, err := reg.Gather(); err != nil || len(got) == 0 {
			t.Errorf("gathered %d, %v", len(got), err)
		}
	}
}

// The index of times leads to the first record that is not older.
func TestOffsetsSinceATime(t *testing.T) {
	u := newLog(t)
	topic := u.prefix + ".timed"
	if err := u.EnsureTopics(within(t), eventlog.TopicSpec{Name: topic, Partitions: 2}); err != nil {
		t.Fatal(err)
	}
	a, err := u.NewAppender(eventlog.AppenderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	base := time.Now().Truncate(time.Millisecond)
	for i := range 5 {
		done := make(chan error, 1)
		a.Append(within(t), &eventlog.Record{Topic: topic, Partition: 0, Key: []byte("k"), Value: []byte("v"), Timestamp: base.Add(time.Duration(i) * time.Minute)},
			func(_ *eventlog.Record, err error) { done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	ranges, err := u.Offsets(within(t), topic)
	if err != nil {
		t.Fatal(err)
	}
	p := int32(0)
	if ranges[1].High > 0 {
		p = 1 // the key decides
	}
	for after, want := range map[time.Duration]int64{-time.Hour: 0, 0: 0, time.Second: 1, 2 * time.Minute: 2, 4 * time.Minute: 4, time.Hour: 5} {
		got, err := u.OffsetsSince(within(t), topic, base.Add(after))
		if err != nil || got[p] != want || got[1-p] != 0 || len(got) != 2 {
			t.Errorf("%v after the first record: %v, %v, want %d", after, got, err, want)
		}
	}
	if _, err := u.OffsetsSince(within(t), u.prefix+".missing", base); err == nil {
		t.Error("a topic that is missing has offsets")
	}
}
