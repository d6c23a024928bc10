package broker

import (
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

func TestDialServesClientsOfTheSameProcess(t *testing.T) {
	s := start(t, Options{})
	createTopic(t, s, "events", 1)
	cl := client(t, s, kgo.Dialer(s.Dial), kgo.ConsumeTopics("events"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	want := &kgo.Record{Topic: "events", Value: make([]byte, 900_000)}
	if err := cl.ProduceSync(bounded(t), want).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if got := cl.PollFetches(bounded(t)).Records(); len(got) != 1 || len(got[0].Value) != len(want.Value) {
		t.Errorf("got %d records", len(got))
	}
}

func TestDialOfAClosedServer(t *testing.T) {
	s := start(t, Options{})
	nc, err := s.Dial(bounded(t), "tcp", "anywhere")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := nc.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is open")
	}
	if _, err := s.Dial(bounded(t), "tcp", "anywhere"); err != net.ErrClosed {
		t.Errorf("got %v", err)
	}
}
