package lint

import (
	"strings"
	"testing"
	"testing/fstest"
)

// TestEachRuleCatchesAPlantedFault shows that the rules can fail, and that they
// stay silent about the nearest thing that is allowed.
func TestEachRuleCatchesAPlantedFault(t *testing.T) {
	ours := func(pkg string) string { return `import _ "` + Module + `/` + pkg + `"` }
	for _, c := range []struct {
		name  string
		rule  Rule
		files map[string]string
		want  string // part of the one finding; "" for none
	}{
		{"pure package imports a library", Imports, map[string]string{"windows/a.go": "package windows\nimport _ \"example.com/x\""}, "windows imports example.com/x"},
		{"pure package imports the standard library", Imports, map[string]string{"windows/a.go": "package windows\nimport _ \"sort\""}, ""},
		{"bottom imports anything of ours", Imports, map[string]string{"device/a.go": "package device\n" + ours("windows")}, "device imports windows"},
		{"test of the bottom imports something of ours", Imports, map[string]string{"device/a_test.go": "package device\n" + ours("windows")}, ""},
		{"forbidden package through another", Imports, map[string]string{
			"actors/partition/a.go": "package partition\n" + ours("x"), "x/a.go": "package x\n" + ours("persistence/store"), "persistence/store/a.go": "package store",
		}, "actors/partition imports x, which imports persistence/store"},
		{"protocol imports another", Imports, map[string]string{"ingest/mqtt/a.go": "package mqtt\n" + ours("ingest/amqp")}, "ingest/mqtt imports ingest/amqp"},
		{"protocol imports the session contract", Imports, map[string]string{"ingest/mqtt/a.go": "package mqtt\n" + ours("ingest")}, ""},
		{"something imports cmd", Imports, map[string]string{"api/a.go": "package api\n" + ours("cmd/gemello")}, "api imports cmd/gemello"},
		{"cmd imports bench", Imports, map[string]string{"cmd/gemello/a.go": "package main\n" + ours("bench/devices")}, ""},
		{"library out of its package", Imports, map[string]string{"actors/a.go": "package actors\nimport _ \"github.com/cockroachdb/pebble/v2\""}, "actors imports github.com/cockroachdb/pebble/v2"},
		{"library out of its package in a test", Imports, map[string]string{"actors/a_test.go": "package actors\nimport _ \"github.com/twmb/franz-go/pkg/kgo\""}, "actors imports github.com/twmb/franz-go/pkg/kgo"},
		{"library in its package", Imports, map[string]string{"persistence/store/a.go": "package store\nimport _ \"github.com/cockroachdb/pebble/v2\""}, ""},

		{"clock in a pure package", Purity, map[string]string{"windows/a.go": "package windows\nimport \"time\"\nvar _ = time.Now()"}, "time.Now"},
		{"clock under another name", Purity, map[string]string{"windows/a.go": "package windows\nimport clk \"time\"\nvar _ = clk.Now()"}, "time.Now"},
		{"duration in a pure package", Purity, map[string]string{"windows/a.go": "package windows\nimport \"time\"\nvar _ = time.Second"}, ""},
		{"field that is called time", Purity, map[string]string{"windows/a.go": "package windows\ntype c struct{ time struct{ Now int } }\nfunc f(time struct{ Now int }) int { return time.Now }"}, ""},
		{"goroutine in a pure package", Purity, map[string]string{"actors/partition/a.go": "package partition\nfunc f() { go f() }"}, "goroutine"},
		{"goroutine in a host", Purity, map[string]string{"actors/a.go": "package actors\nfunc f() { go f() }"}, ""},
		{"randomness in a pure package", Purity, map[string]string{"device/a.go": "package device\nimport _ \"math/rand/v2\""}, "math/rand/v2"},

		{"sleeping test", Tests, map[string]string{"a/a_test.go": "package a\nimport \"time\"\nfunc f() { time.Sleep(1) }"}, "a test sleeps"},
		{"skip without reason", Tests, map[string]string{"a/a_test.go": "package a\nimport \"testing\"\nfunc f(t *testing.T) { t.Skip() }"}, "without a reason"},
		{"skip with reason", Tests, map[string]string{"a/a_test.go": "package a\nimport \"testing\"\nfunc f(t *testing.T) { t.Skip(\"needs node\") }"}, ""},

		{"printing package", Output, map[string]string{"a/a.go": "package a\nimport \"fmt\"\nfunc f() { fmt.Println() }"}, "fmt.Println"},
		{"global logger", Output, map[string]string{"a/a.go": "package a\nimport \"log/slog\"\nfunc f() { slog.Info(\"x\") }"}, "slog.Logger of Options"},
		{"exit outside main", Output, map[string]string{"a/a.go": "package a\nimport \"os\"\nfunc f() { os.Exit(1) }"}, "os.Exit"},
		{"exit in main", Output, map[string]string{"a/a.go": "package main\nimport \"os\"\nfunc main() { os.Exit(1) }"}, ""},

		{"init function", State, map[string]string{"a/a.go": "package a\nfunc init() {}"}, "init function"},
		{"package-level lock", State, map[string]string{"a/a.go": "package a\nimport \"sync\"\nvar mu sync.Mutex"}, "state mu"},
		{"package-level channel", State, map[string]string{"a/a.go": "package a\nvar c = make(chan int)"}, "state c"},
		{"sentinel error", State, map[string]string{"a/a.go": "package a\nimport \"errors\"\nvar ErrX = errors.New(\"x\")"}, ""},

		{"long file", Sizes, map[string]string{"a/a.go": "package a\n" + strings.Repeat("\n", maxLines)}, "601 lines"},
		{"long file with a reason", Sizes, map[string]string{"a/a.go": "package a\n" + longMark + "it is one table.\n" + strings.Repeat("\n", maxLines)}, ""},

		{"package without doc.go", Packages, map[string]string{"a/a.go": "// Package a is documented elsewhere.\npackage a"}, "no doc.go"},
		{"doc.go without comment", Packages, map[string]string{"a/doc.go": "package a"}, "no doc.go"},
		{"package with doc.go", Packages, map[string]string{"a/doc.go": "// Package a does a.\npackage a"}, ""},
		{"package of tests only", Packages, map[string]string{"a/a_test.go": "package a"}, ""},
		{"vague name", Packages, map[string]string{"util/doc.go": "// Package util is.\npackage util"}, "name the package"},

		{"path of a machine", Paths, map[string]string{"a.md": "see /" + "root/x"}, "a path below"},
		{"relative path", Paths, map[string]string{"a.md": "see src/" + "root/x and https://example.com/" + "home/x"}, ""},
		{"private registry", Paths, map[string]string{"package-lock.json": "\"resolved\": \"https://npm.example.com/x.tgz\""}, "names the registry"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fs := fstest.MapFS{}
			for p, src := range c.files {
				fs[p] = &fstest.MapFile{Data: []byte(src)}
			}
			tree, err := Load(fs)
			if err != nil {
				t.Fatal(err)
			}
			got := c.rule(tree)
			switch {
			case c.want == "" && len(got) > 0:
				t.Errorf("findings about what is allowed: %q", got)
			case c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)):
				t.Errorf("findings = %q, want one with %q", got, c.want)
			}
		})
	}
}
