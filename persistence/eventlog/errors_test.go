package eventlog_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/gemello/gemello/persistence/eventlog"
)

func TestClassifySaysWhatAnErrorAsksOfTheCaller(t *testing.T) {
	for _, c := range []struct {
		err  error
		want eventlog.Class
	}{
		{kerr.ProducerFenced, eventlog.Fenced},
		{kerr.InvalidProducerEpoch, eventlog.Fenced},
		{eventlog.ErrFenced, eventlog.Fenced},
		{&eventlog.SinkError{Topic: "t", Err: kerr.ProducerFenced}, eventlog.Fenced},

		{kerr.InvalidProducerIDMapping, eventlog.NewTerm},
		{kerr.OutOfOrderSequenceNumber, eventlog.NewTerm},
		{kerr.InvalidTxnState, eventlog.NewTerm},

		{&eventlog.SinkError{Topic: "t", Err: errors.New("any")}, eventlog.Fatal},
		{kerr.UnknownTopicOrPartition, eventlog.Fatal},
		{kerr.TopicAuthorizationFailed, eventlog.Fatal},
		{kerr.MessageTooLarge, eventlog.Fatal},
		{kerr.SaslAuthenticationFailed, eventlog.Fatal},
		{kerr.TransactionalIDAuthorizationFailed, eventlog.Fatal},
		{eventlog.ErrNoTopic, eventlog.Fatal},
		{eventlog.ErrOffsetOutOfRange, eventlog.Fatal},
		{eventlog.ErrCorrupt, eventlog.Fatal},
		{eventlog.ErrClosed, eventlog.Fatal},

		{kerr.NotLeaderForPartition, eventlog.Retry},
		{kerr.CoordinatorLoadInProgress, eventlog.Retry},
		{kerr.NotEnoughReplicas, eventlog.Retry},
		{context.DeadlineExceeded, eventlog.Retry},
		{kgo.ErrRecordTimeout, eventlog.Retry},
		{&net.OpError{Op: "dial", Err: errors.New("refused")}, eventlog.Retry},
		{errors.New("never heard of"), eventlog.Retry},
	} {
		if got := eventlog.Classify(fmt.Errorf("step: %w", c.err)); got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
}
