package lint

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// direction bans imports between packages of the module, also through others.
type direction struct {
	from []string
	not  []string
	but  []string // exceptions to not
	why  string
}

// directions is the layout: messages from devices are ingested into the log;
// persistence keeps log and stores; actors own one partition each; the cluster
// says where; api and console show it; cmd connects.
var directions = []direction{
	{from: []string{"device", "windows", "console", "internal/invariants", "persistence"}, not: []string{"..."},
		why: "it is at the bottom, so that everything may build on it"},
	{from: []string{"windows/sql"}, not: []string{"..."}, but: []string{"windows"},
		why: "text to plan is a pure function"},
	{from: []string{"device/query"}, not: []string{"..."}, but: []string{"device"},
		why: "a condition is a pure function of what it is asked of"},
	{from: []string{"device/credential"}, not: []string{"ingest/...", "api/...", "persistence/...", "actors/...", "cluster/..."},
		why: "verification is pure; who asks and where keys are kept is another's"},
	{from: []string{"persistence/eventlog"}, not: []string{"actors/...", "windows/...", "ingest/...", "cluster/...", "api/...", "persistence/store"},
		why: "the log knows records, not what they mean"},
	{from: []string{"persistence/broker/..."}, not: []string{"actors/...", "windows/...", "ingest/...", "cluster/...", "api/...", "persistence/store", "persistence/eventlog"},
		why: "the log is a server like Kafka and knows nothing of its clients"},
	{from: []string{"persistence/store"}, not: []string{"persistence/eventlog", "persistence/broker/...", "actors/...", "cluster/...", "ingest/...", "api/..."},
		why: "the store never reads the log: its owner tells it what was applied"},
	{from: []string{"cluster"}, not: []string{"actors/...", "persistence/...", "ingest/...", "api/..."},
		why: "placement receives partition numbers and knows no device"},
	{from: []string{"actors/partition"}, not: []string{"persistence/...", "cluster/...", "ingest/...", "api/...", "actors"},
		why: "a core sees numbers, records and a state interface, so that it can be replayed"},
	{from: []string{"actors"}, not: []string{"ingest/...", "api/...", "cluster/..."}, but: []string{"ingest"},
		why: "hosts are called through interfaces of the caller and call the cluster through their own; of ingest only the session contract is shared"},
	{from: []string{"ingest"}, not: []string{"actors/...", "persistence/...", "cluster/...", "api/..."},
		why: "protocols reach the hub through the interface that ingest declares"},
	{from: []string{"ingest/*"}, not: []string{"..."}, but: []string{"ingest", "device/...", "internal/..."},
		why: "a protocol can be deleted without touching another or the core"},
	{from: []string{"api"}, not: []string{"actors/...", "cluster/...", "persistence/...", "ingest/..."},
		why: "the API calls interfaces that it declares; cmd connects them"},
	{from: []string{"...", "!cmd/...", "!bench/...", "!internal/..."}, not: []string{"bench/...", "cmd/...", "internal/sim", "internal/lint"},
		why: "nothing is built on workloads, commands and test machinery"},
}

// library limits who may import a third-party module.
type library struct {
	prefix string
	by     []string // packages
	tests  []string // packages whose tests may, too
	why    string
}

var libraries = []library{
	{prefix: "github.com/twmb/franz-go/pkg/kfake",
		why: "it does not keep what the log of our own promises, on which tests run as well"},
	{prefix: "github.com/twmb/franz-go/pkg/kmsg", by: []string{"persistence/broker/...", "persistence/eventlog"}, tests: []string{"persistence/...", "test/conformance"},
		why: "Kafka's wire format stays in persistence"},
	{prefix: "github.com/twmb/franz-go/pkg/kbin", by: []string{"persistence/broker/...", "persistence/eventlog"}, tests: []string{"persistence/...", "test/conformance"},
		why: "Kafka's wire format stays in persistence"},
	{prefix: "github.com/twmb/franz-go/pkg/kerr", by: []string{"persistence/broker/...", "persistence/eventlog"}, tests: []string{"persistence/...", "internal/torture", "test/conformance"},
		why: "Kafka's error codes are given a meaning in persistence"},
	{prefix: "github.com/twmb/franz-go", by: []string{"persistence/eventlog", "bench/..."}, tests: []string{"persistence/...", "bench/...", "cmd/...", "internal/sim", "internal/torture", "test/conformance"},
		why: "fencing and transactions are safe only behind one contract"},
	{prefix: "github.com/cockroachdb/pebble", by: []string{"persistence/..."}, tests: []string{"persistence/..."},
		why: "the engine can be replaced in one place"},
	{prefix: "github.com/hashicorp/memberlist", by: []string{"cluster"}, tests: []string{"cluster"},
		why: "only placement knows members"},
	{prefix: "github.com/asynkron/protoactor-go/cluster", by: []string{"cluster"}, tests: []string{"cluster"},
		why: "its panics are turned into errors in one package"},
	{prefix: "github.com/asynkron/protoactor-go/remote", by: []string{"cluster"}, tests: []string{"cluster"},
		why: "its queues are unbounded and are bounded in one package"},
	{prefix: "github.com/asynkron/protoactor-go", by: []string{"actors", "cluster"}, tests: []string{"actors", "cluster"},
		why: "actors are how requests reach a partition and nothing else"},
	{prefix: "github.com/mochi-mqtt/server", by: []string{"ingest/mqtt"}, tests: []string{"ingest/mqtt"},
		why: "its options and clients are exported and mutable"},
	{prefix: "github.com/eclipse/paho.golang", by: []string{"ingest/bridge", "bench/..."}, tests: []string{"ingest/...", "bench/...", "cmd/...", "internal/sim"},
		why: "the MQTT client belongs to the bridge and to simulated devices"},
	{prefix: "github.com/spf13", by: []string{"cmd/..."}, tests: []string{"cmd/..."}, why: "flags are read in cmd and handed on as Options"},
	{prefix: "github.com/oklog/run", by: []string{"cmd/..."}, tests: []string{"cmd/..."}, why: "only cmd composes the process"},
	{prefix: "gopkg.in/yaml.v3", by: []string{"cmd/..."}, tests: []string{"cmd/..."}, why: "configuration is read in cmd and handed on as Options"},
}

// pure are the packages that never read clocks, start goroutines or use
// randomness.
var pure = []string{"device", "device/query", "windows", "windows/sql", "actors/partition"}

// Imports checks directions and libraries.
func Imports(t *Tree) []string {
	var out []string
	graph := map[string]map[string]string{} // package -> imported package -> where
	for _, f := range t.Files {
		for _, i := range f.AST.Imports {
			target := strings.Trim(i.Path.Value, `"`)
			if pkg, ok := ours(target); ok {
				if !f.Test && pkg != f.Package {
					if graph[f.Package] == nil {
						graph[f.Package] = map[string]string{}
					}
					graph[f.Package][pkg] = t.at(i)
				}
				continue
			}
			if isStandard(target) {
				continue
			}
			if matchesAny(pure, f.Package) && !f.Test {
				out = append(out, fmt.Sprintf("%s: %s imports %s: it is pure and uses the standard library alone", t.at(i), f.Package, target))
			}
			if l := libraryOf(target); l != nil && !matchesAny(l.by, f.Package) && !(f.Test && matchesAny(l.tests, f.Package)) {
				out = append(out, fmt.Sprintf("%s: %s imports %s: %s", t.at(i), f.Package, target, l.why))
			}
		}
	}
	for _, from := range slices.Sorted(maps.Keys(graph)) {
		for _, d := range directions {
			if !d.covers(from) {
				continue
			}
			if chain := d.search(graph, from); chain != nil {
				out = append(out, fmt.Sprintf("%s: %s imports %s: %s",
					graph[from][chain[0]], from, strings.Join(chain, ", which imports "), d.why))
			}
		}
	}
	return out
}

// libraryOf returns the entry with the longest prefix: the table has the
// narrower one first.
func libraryOf(target string) *library {
	for i := range libraries {
		if strings.HasPrefix(target, libraries[i].prefix) {
			return &libraries[i]
		}
	}
	return nil
}

func (d *direction) covers(pkg string) bool {
	covered := false
	for _, p := range d.from {
		if not, ok := strings.CutPrefix(p, "!"); ok {
			if matches(not, pkg) {
				return false
			}
			continue
		}
		if parent, ok := strings.CutSuffix(p, "/*"); ok {
			rest, below := strings.CutPrefix(pkg, parent+"/")
			covered = covered || below && !strings.Contains(rest, "/")
			continue
		}
		covered = covered || p == "..." || matches(p, pkg)
	}
	return covered
}

func (d *direction) bans(pkg string) bool {
	if matchesAny(d.but, pkg) {
		return false
	}
	return matchesAny(d.not, pkg) || slices.Contains(d.not, "...")
}

// search returns the shortest chain of imports from a package to a banned one.
// Bans on everything stop at the first step: what an exception imports is
// checked by its own entry.
func (d *direction) search(graph map[string]map[string]string, from string) []string {
	type step struct {
		pkg   string
		chain []string
	}
	seen := map[string]bool{from: true}
	queue := []step{{pkg: from}}
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		for _, next := range slices.Sorted(maps.Keys(graph[s.pkg])) {
			chain := append(slices.Clone(s.chain), next)
			if d.bans(next) {
				return chain
			}
			if !seen[next] && !slices.Contains(d.not, "...") {
				seen[next] = true
				queue = append(queue, step{next, chain})
			}
		}
	}
	return nil
}
