package eventlog_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gemello/gemello/persistence/eventlog"
)

func TestAppendedRecordIsOnTheLogWhenDone(t *testing.T) {
	u := newLog(t)
	topic := u.topic(t, "log", eventlog.TopicSpec{})
	a := u.appender(t, eventlog.AppenderOptions{})
	r := &eventlog.Record{Topic: topic, Key: []byte("d"), Value: []byte("1"), Headers: []eventlog.Header{{Key: "kind", Value: []byte("telemetry")}}}
	appendAll(t, a, r)
	if got, want := u.committed(t, topic, 0, 0), "0:d=1"; got != want || r.Offset != 0 {
		t.Errorf("got %q at %d, want %q", got, r.Offset, want)
	}
}

func TestTimestampsOfAnAppenderNeverFall(t *testing.T) {
	u := newLog(t)
	topic := u.topic(t, "log", eventlog.TopicSpec{})
	a := u.appender(t, eventlog.AppenderOptions{})
	past := time.UnixMilli(1_700_000_000_000)
	records := []*eventlog.Record{{Topic: topic}, {Topic: topic}, {Topic: topic, Timestamp: past}, {Topic: topic}}
	appendAll(t, a, records...)
	if records[1].Timestamp.Before(records[0].Timestamp) || records[3].Timestamp.Before(records[1].Timestamp) {
		t.Errorf("stamps fell: %v", records)
	}
	if !records[2].Timestamp.Equal(past) {
		t.Errorf("the sender's timestamp became %v", records[2].Timestamp)
	}
}

func TestAppendBlocksAboveItsLimitsAndFailsOnlyTheOneThatGaveUp(t *testing.T) {
	u := newLog(t)
	topic := u.topic(t, "log", eventlog.TopicSpec{})
	for name, o := range map[string]eventlog.AppenderOptions{
		"records": {MaxRecords: 2, Linger: time.Minute},
		"bytes":   {MaxBytes: 200, MaxRecords: 200, Linger: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			a := u.appender(t, o)
			done := make(chan error, 2)
			value := []byte(strings.Repeat("x", 100))
			for range 2 {
				a.Append(within(t), &eventlog.Record{Topic: topic, Value: value}, func(_ *eventlog.Record, err error) { done <- err })
			}
			ctx, cancel := context.WithCancel(within(t))
			refused := make(chan error, 1)
			go a.Append(ctx, &eventlog.Record{Topic: topic, Value: value}, func(_ *eventlog.Record, err error) { refused <- err })
			select {
			case err := <-refused:
				t.Fatalf("the third record was not held back: %v", err)
			case err := <-done:
				t.Fatalf("a lingering record was sent: %v", err)
			case <-time.After(50 * time.Millisecond):
			}
			cancel()
			if err := <-refused; !errors.Is(err, context.Canceled) {
				t.Errorf("the one that gave up got %v", err)
			}
			if err := a.Flush(within(t)); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := <-done; err != nil {
					t.Errorf("the ones before got %v", err)
				}
			}
			a.Append(within(t), &eventlog.Record{Topic: topic, Value: value}, func(_ *eventlog.Record, err error) { done <- err })
			if err := a.Flush(within(t)); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil {
				t.Errorf("room was not given back: %v", err)
			}
		})
	}
}

func TestAppendToAMissingTopicIsASinkError(t *testing.T) {
	u := newLog(t)
	a := u.appender(t, eventlog.AppenderOptions{})
	done := make(chan error, 1)
	topic := u.prefix + ".missing"
	a.Append(within(t), &eventlog.Record{Topic: topic}, func(_ *eventlog.Record, err error) { done <- err })
	err := <-done
	if sink, ok := errors.AsType[*eventlog.SinkError](err); !ok || sink.Topic != topic {
		t.Errorf("got %v", err)
	}
}

func TestAppendAfterCloseIsErrClosed(t *testing.T) {
	u := newLog(t)
	topic := u.topic(t, "log", eventlog.TopicSpec{})
	a := u.appender(t, eventlog.AppenderOptions{})
	a.Close()
	done := make(chan error, 1)
	a.Append(within(t), &eventlog.Record{Topic: topic}, func(_ *eventlog.Record, err error) { done <- err })
	if err := <-done; !errors.Is(err, eventlog.ErrClosed) {
		t.Errorf("got %v", err)
	}
}
