package broker

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func inSession(req *kmsg.FetchRequest, id, epoch int32) *kmsg.FetchRequest {
	req.SessionID, req.SessionEpoch = id, epoch
	return req
}

func TestSessionTellsOnlyWhatHasChanged(t *testing.T) {
	s := start(t, Options{})
	createTopic(t, s, "events", 3)
	w := dial(t, s)
	first := ask[*kmsg.FetchResponse](w, inSession(fetchRequest("events", 0, 0, 0), 0, 0), 12)
	id := first.SessionID
	if id == 0 || len(first.Topics) != 1 || len(first.Topics[0].Partitions) != 3 {
		t.Fatalf("got %+v", first)
	}
	if got := ask[*kmsg.FetchResponse](w, inSession(fetchRequest(""), id, 1), 12); len(got.Topics) != 0 || got.SessionID != id {
		t.Errorf("nothing has changed, got %+v", got)
	}
	produce(t, s, "events", 1, "a")
	got := ask[*kmsg.FetchResponse](w, inSession(fetchRequest(""), id, 2), 12)
	if len(got.Topics) != 1 || len(got.Topics[0].Partitions) != 1 || len(partition(got, 1).RecordBatches) == 0 {
		t.Errorf("got %+v", got)
	}
	// The client moves on in one partition and gives up another, which changes.
	next := fetchRequest("events", 0, 1)
	next.Topics[0].Partitions = next.Topics[0].Partitions[1:]
	forgotten := kmsg.NewFetchRequestForgottenTopic()
	forgotten.Topic, forgotten.Partitions = "events", []int32{0}
	next.ForgottenTopics = append(next.ForgottenTopics, forgotten)
	produce(t, s, "events", 0, "b")
	produce(t, s, "events", 2, "c")
	got = ask[*kmsg.FetchResponse](w, inSession(next, id, 3), 12)
	if len(got.Topics) != 1 || len(got.Topics[0].Partitions) != 1 || partition(got, 2) == nil {
		t.Errorf("got %+v", got)
	}
}

func TestSessionErrors(t *testing.T) {
	s := start(t, Options{})
	createTopic(t, s, "events", 1)
	w := dial(t, s)
	begin := func(version int16) int32 {
		return ask[*kmsg.FetchResponse](w, inSession(fetchRequest("events", 0), 0, 0), version).SessionID
	}
	for name, c := range map[string]struct {
		id, epoch int32
		version   int16
		want      *kerr.Error
	}{
		"unknown id":       {12345, 1, 12, kerr.FetchSessionIDNotFound},
		"epoch skipped":    {begin(12), 2, 12, kerr.InvalidFetchSessionEpoch},
		"names become ids": {begin(12), 1, 13, kerr.FetchSessionTopicIDError},
	} {
		got := ask[*kmsg.FetchResponse](w, inSession(fetchRequest(""), c.id, c.epoch), c.version)
		if got.ErrorCode != c.want.Code || len(got.Topics) != 0 {
			t.Errorf("%s: got %v", name, kerr.ErrorForCode(got.ErrorCode))
		}
	}
}

func TestSessionsAreBoundedAndEnd(t *testing.T) {
	s := start(t, Options{})
	createTopic(t, s, "events", 1)
	w := dial(t, s)
	var ids []int32
	for range maxSessions + 1 {
		ids = append(ids, ask[*kmsg.FetchResponse](w, inSession(fetchRequest("events", 0), 0, 0), 12).SessionID)
	}
	if got := ask[*kmsg.FetchResponse](w, inSession(fetchRequest(""), ids[0], 1), 12); got.ErrorCode != kerr.FetchSessionIDNotFound.Code {
		t.Errorf("the oldest session is still there: %+v", got)
	}
	last := ids[len(ids)-1]
	if got := ask[*kmsg.FetchResponse](w, inSession(fetchRequest(""), last, 1), 12); got.ErrorCode != 0 {
		t.Errorf("got %+v", got)
	}
	// Epoch -1 ends a session and answers without one.
	if got := ask[*kmsg.FetchResponse](w, inSession(fetchRequest("events", 0), last, -1), 12); got.SessionID != 0 || partition(got, 0) == nil {
		t.Errorf("got %+v", got)
	}
	if n := s.remembered.Load(); n != maxSessions-1 {
		t.Errorf("%d partitions are remembered", n)
	}
	w.nc.Close()
	eventually(t, "sessions to end with their connection", func() bool { return s.remembered.Load() == 0 })
}

func TestSessionGivesEachPartitionItsTurn(t *testing.T) {
	s := start(t, Options{})
	createTopic(t, s, "events", 2)
	for range 3 {
		produce(t, s, "events", 0, "a")
		produce(t, s, "events", 1, "a")
	}
	w := dial(t, s)
	req := inSession(fetchRequest("events", 0, 0), 0, 0)
	req.MaxBytes = 1
	got := ask[*kmsg.FetchResponse](w, req, 12)
	if len(partition(got, 0).RecordBatches) == 0 {
		t.Fatalf("got %+v", got)
	}
	req = inSession(fetchRequest(""), got.SessionID, 1)
	req.MaxBytes = 1
	if got = ask[*kmsg.FetchResponse](w, req, 12); len(partition(got, 1).RecordBatches) == 0 {
		t.Errorf("got %+v", got)
	}
}
