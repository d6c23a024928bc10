package embedded

import (
	"context"
	"testing"
	"time"

	"github.com/gemello/gemello/persistence/eventlog"
)

func TestAnonymousClientsReadWhatIsTheirsAndWriteWhatIsTheirs(t *testing.T) {
	o := Options{
		Dir:           t.TempDir(),
		Private:       []string{"hub.device-log", "hub.checkpoints"},
		ReadOnly:      []string{"hub.events"},
		PrivatePrefix: "hub.",
	}
	t.Run("new directory", func(t *testing.T) { checkAccess(t, o, "mine") })
	t.Run("directory that was in use", func(t *testing.T) { checkAccess(t, o, "mine2") })
}

func checkAccess(t *testing.T, o Options, fresh string) {
	s := start(t, o)
	node := connect(t, s.Addr(), eventlog.SASL(s.Credentials()))
	ensure(t, node, eventlog.TopicSpec{Name: "hub.device-log", Partitions: 1}, eventlog.TopicSpec{Name: "hub.events", Partitions: 1}, eventlog.TopicSpec{Name: "results", Partitions: 1})
	commit(t, node, "hub.d.0", record("hub.device-log", 0, "d", "secret"), record("hub.events", 0, "d", "event"), record("results", 0, "d", "row"))

	anyone := connect(t, s.Addr(), eventlog.SASL{})
	for topic, readable := range map[string]bool{"hub.device-log": false, "hub.events": true, "results": true} {
		ctx, cancel := context.WithTimeout(within(t), 2*time.Second)
		n := 0
		err := anyone.ReadRange(ctx, topic, 0, 0, 1, func(*eventlog.Record) error { n++; return nil })
		cancel()
		if (err == nil && n == 1) != readable {
			t.Errorf("read %s: %d records, %v", topic, n, err)
		}
	}
	a, err := anyone.NewAppender(eventlog.AppenderOptions{DeliveryTimeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	for topic, writable := range map[string]bool{"hub.device-log": false, "hub.events": false, "results": true} {
		done := make(chan error, 1)
		a.Append(within(t), &eventlog.Record{Topic: topic, Key: []byte("d")}, func(_ *eventlog.Record, err error) { done <- err })
		if err := <-done; (err == nil) != writable {
			t.Errorf("write %s: %v", topic, err)
		}
	}
	for topic, creatable := range map[string]bool{"hub.checkpoints": false, fresh: true} {
		ctx, cancel := context.WithTimeout(within(t), 2*time.Second)
		err := anyone.EnsureTopics(ctx, eventlog.TopicSpec{Name: topic, Partitions: 1})
		cancel()
		if (err == nil) != creatable {
			t.Errorf("create %s: %v", topic, err)
		}
	}
	for id, usable := range map[string]bool{"hub.d.0": false, "mine": true} {
		ctx, cancel := context.WithTimeout(within(t), 2*time.Second)
		term, err := anyone.NewTerm(ctx, id, eventlog.TermOptions{})
		cancel()
		if (err == nil) != usable {
			t.Errorf("term %s: %v", id, err)
		}
		if err == nil {
			term.Close()
		}
	}
	commit(t, node, "hub.d.0", record("hub.device-log", 0, "d", "still ours"))
}

func TestWithUsersOnlyTheyConnect(t *testing.T) {
	dir := t.TempDir()
	for _, password := range []string{"first", "changed"} {
		s := start(t, Options{Dir: dir, Users: []User{{"ana", password}}})
		for name, c := range map[string]struct {
			sasl eventlog.SASL
			ok   bool
		}{
			"scram 256":            {eventlog.SASL{Mechanism: "SCRAM-SHA-256", User: "ana", Password: password}, true},
			"scram 512":            {eventlog.SASL{Mechanism: "SCRAM-SHA-512", User: "ana", Password: password}, true},
			"this process":         {eventlog.SASL(s.Credentials()), true},
			"nobody":               {eventlog.SASL{}, false},
			"wrong password":       {eventlog.SASL{Mechanism: "SCRAM-SHA-256", User: "ana", Password: "guess"}, false},
			"plain":                {eventlog.SASL{Mechanism: "PLAIN", User: "ana", Password: password}, false},
			"plain, nothing given": {eventlog.SASL{Mechanism: "PLAIN", User: nodeUser, Password: ""}, false},
		} {
			ctx, cancel := context.WithTimeout(within(t), time.Second)
			l, err := eventlog.Open(ctx, eventlog.Options{Seeds: []string{s.Addr()}, SASL: c.sasl})
			cancel()
			if (err == nil) != c.ok {
				t.Errorf("%s: %v", name, err)
			}
			if err == nil {
				l.Close()
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
