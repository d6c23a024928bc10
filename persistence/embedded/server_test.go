package embedded

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gemello/gemello/persistence/eventlog"
)

func TestRestartKeepsDataOffsetsAndFencing(t *testing.T) {
	dir := t.TempDir()
	s := start(t, Options{Dir: dir, SyncWrites: true})
	addr := s.Addr()
	l := connect(t, addr, eventlog.SASL{})
	ensure(t, l, twoPartitions)
	commit(t, l, "core", record("out", 0, "a", "1"))
	term, err := l.NewTerm(within(t), "core", eventlog.TermOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer term.Close()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, cleanFile)); err != nil {
		t.Error(err)
	}
	again := start(t, Options{Dir: dir, Listen: addr})
	l2 := connect(t, again.Addr(), eventlog.SASL{})
	commit(t, l2, "core", record("out", 0, "a", "2"))
	if err := term.Commit(within(t), []eventlog.Record{record("out", 0, "a", "zombie")}); eventlog.Classify(err) != eventlog.Fenced {
		t.Errorf("a term from before the restart got %v", err)
	}
	if got := read(t, l2, "out", 0); !slices.Equal(got, []string{"a=1", "a=2"}) {
		t.Errorf("got %v", got)
	}
}

func TestStartRefusesInOneLineWithARemedy(t *testing.T) {
	running := start(t, Options{Dir: t.TempDir()})
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	newer := t.TempDir()
	if err := os.WriteFile(filepath.Join(newer, "meta.json"), []byte(`{"version":99}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		o    Options
		want string
	}{
		"no directory":          {Options{}, "set data"},
		"directory in use":      {Options{Dir: running.dir}, "in use by process"},
		"a file in its place":   {Options{Dir: file}, "choose another"},
		"written by a newer":    {Options{Dir: newer}, "newer"},
		"port in use":           {Options{Dir: t.TempDir(), Listen: running.Addr()}, "port is in use"},
		"not an address":        {Options{Dir: t.TempDir(), Listen: "9092"}, "want host:port"},
		"open to the world":     {Options{Dir: t.TempDir(), Listen: "192.0.2.1:9092"}, "--auth"},
		"no host to tell":       {Options{Dir: t.TempDir(), Listen: ":0", Users: []User{{"u", "p"}}}, "name one"},
		"user without password": {Options{Dir: t.TempDir(), Users: []User{{Name: "u"}}}, "must not be empty"},
		"user with our name":    {Options{Dir: t.TempDir(), Users: []User{{nodeUser, "p"}}}, "taken"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Start(within(t), c.o)
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
	dir := t.TempDir()
	if _, err := Start(within(t), Options{Dir: dir, Listen: running.Addr()}); err == nil {
		t.Fatal("it started")
	}
	start(t, Options{Dir: dir})
}
