package broker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestStartRefusesInOneLineWithARemedy(t *testing.T) {
	dir := t.TempDir()
	running := start(t, Options{Dir: dir})
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	old := t.TempDir()
	if err := os.WriteFile(filepath.Join(old, oldFile), []byte(`{"version":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		o    Options
		want string
	}{
		"no directory":           {Options{}, "set data"},
		"directory in use":       {Options{Dir: dir}, "in use by"},
		"a file in its place":    {Options{Dir: file}, "choose another"},
		"written by the old log": {Options{Dir: old}, "new data directory"},
		"port in use":            {Options{Dir: t.TempDir(), Listen: running.Addr()}, "port is in use"},
		"not an address":         {Options{Dir: t.TempDir(), Listen: "9092"}, "want host:port"},
		"open to the world":      {Options{Dir: t.TempDir(), Listen: "192.0.2.1:9092"}, "--auth"},
		"no host to tell":        {Options{Dir: t.TempDir(), Listen: ":0", Users: []User{{"u", "p"}}}, "name one"},
		"no port to tell":        {Options{Dir: t.TempDir(), Advertise: "log.example:kafka"}, "want host:port"},
		"user without password":  {Options{Dir: t.TempDir(), Users: []User{{Name: "u"}}}, "must not be empty"},
		"user with our name":     {Options{Dir: t.TempDir(), Users: []User{{nodeUser, "p"}}}, "taken"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Start(bounded(t), c.o)
			if err == nil {
				s.Close()
				t.Fatal("it started")
			}
			if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %q, want %q in it", err, c.want)
			}
		})
	}
	// A refused start leaves nothing locked.
	again := t.TempDir()
	if _, err := Start(bounded(t), Options{Dir: again, Listen: running.Addr()}); err == nil {
		t.Fatal("it started")
	}
	start(t, Options{Dir: again})
}

func TestRestartKeepsWhatWasAcknowledged(t *testing.T) {
	for name, o := range map[string]Options{
		"on disk":   {Dir: t.TempDir(), SyncWrites: true},
		"in memory": {Dir: "log", FS: vfs.NewMem()},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, o)
			createTopic(t, s, "events", 2)
			produce(t, s, "events", 1, "a", "b")
			id, cluster := topicID(t, s, "events"), s.log.ClusterID()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Errorf("closed again: %v", err)
			}
			s = start(t, o)
			if topicID(t, s, "events") != id || s.log.ClusterID() != cluster {
				t.Error("topic or cluster has another id")
			}
			got := partition(ask[*kmsg.FetchResponse](dial(t, s), fetchRequest("events", 0, 0), 12), 1)
			if got.HighWatermark != 2 || len(got.RecordBatches) == 0 {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestCloseEndsConnectionsThatWait(t *testing.T) {
	s := start(t, Options{})
	createTopic(t, s, "events", 1)
	idle, waiting := dial(t, s), dial(t, s)
	fetch := fetchRequest("events", 0)
	fetch.MaxWaitMillis = 60_000
	fetch.SetVersion(12)
	waiting.send(fetch)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	idle.ended()
	waiting.ended()
}

func TestAdvertisedAddressIsWhatClientsAreTold(t *testing.T) {
	s := start(t, Options{Advertise: "log.example:1234"})
	if s.Addr() != "log.example:1234" {
		t.Errorf("got %s", s.Addr())
	}
	w := dialAt(t, s.listener.Addr().String())
	b := ask[*kmsg.MetadataResponse](w, kmsg.NewPtrMetadataRequest(), 12).Brokers
	if len(b) != 1 || b[0].Host != "log.example" || b[0].Port != 1234 || b[0].NodeID != nodeID {
		t.Errorf("got %+v", b)
	}
	c := kmsg.NewPtrFindCoordinatorRequest()
	c.CoordinatorKeys = []string{"group"}
	if got := ask[*kmsg.FindCoordinatorResponse](w, c, 4).Coordinators; len(got) != 1 || got[0].Port != 1234 {
		t.Errorf("got %+v", got)
	}
}

func TestMetricsCountWhatIsServed(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	s := start(t, Options{Registerer: r})
	createTopic(t, s, "events", 1)
	cl := client(t, s)
	if err := cl.ProduceSync(bounded(t), &kgo.Record{Topic: "events", Value: []byte("v")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.Metric {
			values[f.GetName()] += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	for _, name := range []string{
		"gemello_log_connections", "gemello_log_connections_accepted_total", "gemello_log_requests_total",
		"gemello_log_received_bytes_total", "gemello_log_sent_bytes_total", "gemello_log_append_batches_total", "gemello_log_append_bytes_total",
	} {
		if values[name] == 0 {
			t.Errorf("%s is 0", name)
		}
	}
}
