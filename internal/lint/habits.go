package lint

import (
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"path"
	"slices"
	"strings"
)

// clockFuncs are what reads or waits for the wall clock in package time.
var clockFuncs = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"}

// Purity checks that pure packages have no clock, goroutine or randomness.
func Purity(t *Tree) []string {
	var out []string
	for _, f := range t.Files {
		if f.Test || !matchesAny(pure, f.Package) {
			continue
		}
		for _, i := range f.AST.Imports {
			switch target := strings.Trim(i.Path.Value, `"`); target {
			case "math/rand", "math/rand/v2", "crypto/rand", "os", "net", "net/http":
				out = append(out, fmt.Sprintf("%s: %s imports %s: the same input must give the same output", t.at(i), f.Package, target))
			}
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				out = append(out, fmt.Sprintf("%s: %s starts a goroutine: hosts do that", t.at(n), f.Package))
			case *ast.SelectorExpr:
				if f.selects(n, "time", clockFuncs...) {
					out = append(out, fmt.Sprintf("%s: %s uses time.%s: take the time as an argument", t.at(n), f.Package, n.Sel.Name))
				}
			}
			return true
		})
	}
	return out
}

// selects reports whether e is one of the names of the package imported from
// target.
func (f *File) selects(e *ast.SelectorExpr, target string, names ...string) bool {
	x, ok := e.X.(*ast.Ident)
	return ok && f.Imports[x.Name] == target && x.Obj == nil && slices.Contains(names, e.Sel.Name)
}

// Tests checks that tests neither sleep nor skip without saying why.
func Tests(t *Tree) []string {
	var out []string
	for _, f := range t.Files {
		if !f.Test {
			continue
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			switch {
			case f.selects(sel, "time", "Sleep"):
				out = append(out, fmt.Sprintf("%s: a test sleeps: inject the clock or wait for a condition with a deadline", t.at(n)))
			case sel.Sel.Name == "SkipNow", sel.Sel.Name == "Skip" && len(call.Args) == 0:
				out = append(out, fmt.Sprintf("%s: a test is skipped without a reason: say what it needs", t.at(n)))
			}
			return true
		})
	}
	return out
}

// Output checks that packages neither print nor end the process.
func Output(t *Tree) []string {
	var out []string
	for _, f := range t.Files {
		if f.Test {
			continue
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			e, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			switch {
			case f.selects(e, "fmt", "Print", "Println", "Printf"):
				out = append(out, fmt.Sprintf("%s: fmt.%s: write to the writer that the caller passed", t.at(n), e.Sel.Name))
			case f.selects(e, "os", "Exit") && f.AST.Name.Name != "main":
				out = append(out, fmt.Sprintf("%s: os.Exit: return an error; only main ends the process", t.at(n)))
			case f.selects(e, "log", "Fatal", "Fatalf", "Fatalln", "Print", "Printf", "Println"),
				f.selects(e, "log/slog", "Default", "SetDefault", "Info", "Warn", "Error", "Debug"):
				out = append(out, fmt.Sprintf("%s: %s: log to the *slog.Logger of Options", t.at(n), e.Sel.Name))
			}
			return true
		})
	}
	return out
}

// State checks for init functions and for package-level variables that are made
// to be changed: locks, atomics and channels.
func State(t *Tree) []string {
	var out []string
	for _, f := range t.Files {
		if f.Test {
			continue
		}
		for _, d := range f.AST.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil && d.Name.Name == "init" {
					out = append(out, fmt.Sprintf("%s: init function: construct explicitly, from cmd", t.at(d)))
				}
			case *ast.GenDecl:
				if d.Tok != token.VAR {
					continue
				}
				for _, s := range d.Specs {
					if v := s.(*ast.ValueSpec); f.isState(v) {
						out = append(out, fmt.Sprintf("%s: package-level state %s: put it into a type that cmd constructs", t.at(v), v.Names[0].Name))
					}
				}
			}
		}
	}
	return out
}

func (f *File) isState(v *ast.ValueSpec) bool {
	found := false
	look := func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return false
		case *ast.ChanType:
			found = true
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok {
				p := f.Imports[x.Name]
				found = found || p == "sync" && n.Sel.Name != "OnceFunc" && n.Sel.Name != "OnceValue" || p == "sync/atomic"
			}
		}
		return true
	}
	if v.Type != nil {
		ast.Inspect(v.Type, look)
	}
	for _, x := range v.Values {
		ast.Inspect(x, look)
	}
	return found
}

const (
	maxLines = 600
	// longMark opens the comment that gives the reason for a longer file.
	longMark = "// Long because "
)

// Sizes checks that files are of a size that can be reviewed.
func Sizes(t *Tree) []string {
	var out []string
	for _, f := range t.Files {
		if f.Lines > maxLines && !strings.Contains(string(f.Source), longMark) && !ast.IsGenerated(f.AST) {
			out = append(out, fmt.Sprintf("%s: %d lines: split it by idea, or give the reason in a comment that begins with %q", f.Path, f.Lines, longMark))
		}
	}
	return out
}

// vague are names that say nothing about what a package provides.
var vague = []string{"util", "utils", "common", "base", "shared", "lib", "helper", "helpers", "manager", "types", "models", "interfaces", "misc", "pkg"}

// Packages checks that each package has a doc.go with its description and a name
// that says what it provides.
func Packages(t *Tree) []string {
	var out []string
	documented := map[string]bool{}
	for _, f := range t.Files {
		if f.Test {
			continue
		}
		has := path.Base(f.Path) == "doc.go" && f.AST.Doc != nil
		documented[f.Package] = documented[f.Package] || has
	}
	for _, pkg := range slices.Sorted(maps.Keys(documented)) {
		if !documented[pkg] {
			out = append(out, fmt.Sprintf("%s: no doc.go with a package comment: say the nouns, the guarantees and what it never does", pkg))
		}
		if slices.Contains(vague, path.Base(pkg)) {
			out = append(out, fmt.Sprintf("%s: name the package for what it provides", pkg))
		}
	}
	return out
}

// Paths checks that nothing in the tree depends on the machine it was written
// on: absolute paths of it, or the registry that its packages came from.
func Paths(t *Tree) []string {
	var out []string
	check := func(p string, src []byte) {
		for n, line := range strings.Split(string(src), "\n") {
			for _, dir := range []string{"work", "root", "home"} {
				if i := strings.Index(line, "/"+dir+"/"); i >= 0 && startsPath(line, i) {
					out = append(out, fmt.Sprintf("%s:%d: a path below /%s: nothing may depend on the machine it was written on", p, n+1, dir))
				}
			}
			if path.Ext(p) == ".json" && strings.Contains(line, `"resolved": "http`) {
				out = append(out, fmt.Sprintf("%s:%d: a lock file names the registry it was made with; leave resolved out", p, n+1))
			}
		}
	}
	for _, f := range t.Files {
		check(f.Path, f.Source)
	}
	for _, p := range slices.Sorted(maps.Keys(t.Texts)) {
		check(p, t.Texts[p])
	}
	return out
}

// startsPath reports whether the slash at i begins an absolute path rather than
// going on with a relative one or an address.
func startsPath(line string, i int) bool {
	return i == 0 || strings.ContainsRune(" \t\"'`=:(", rune(line[i-1]))
}
