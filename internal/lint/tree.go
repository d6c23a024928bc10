package lint

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// Module is the path of the module that is checked.
const Module = "github.com/gemello/gemello"

// Tree is a parsed source tree.
type Tree struct {
	fset  *token.FileSet
	Files []*File
	Texts map[string][]byte // other files, by path
}

// File is one Go source file.
type File struct {
	Path    string // from the root, with slashes
	Package string // import path below the module, "" for the root
	Test    bool
	Lines   int
	Source  []byte
	Imports map[string]string // local name -> import path
	AST     *ast.File
}

// Rule is one check; the findings are complete sentences without a full stop.
type Rule func(*Tree) []string

// skipped are directories that hold no source of ours.
var skipped = map[string]bool{".git": true, "node_modules": true, "bin": true, "data": true}

// Load parses the tree below root. A file that does not parse is an error.
func Load(root fs.FS) (*Tree, error) {
	t := &Tree{fset: token.NewFileSet(), Texts: map[string][]byte{}}
	err := fs.WalkDir(root, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if skipped[d.Name()] && p != "." {
				return fs.SkipDir
			}
			return nil
		}
		info, err := d.Info()
		if err != nil || !info.Mode().IsRegular() || info.Size() > 1<<20 {
			return err
		}
		src, err := fs.ReadFile(root, p)
		if err != nil {
			return err
		}
		if !strings.HasSuffix(p, ".go") {
			if !bytes.ContainsRune(src[:min(len(src), 8000)], 0) {
				t.Texts[p] = src
			}
			return nil
		}
		return t.add(p, src)
	})
	if err != nil {
		return nil, fmt.Errorf("load source tree: %w", err)
	}
	return t, nil
}

func (t *Tree) add(p string, src []byte) error {
	f, err := parser.ParseFile(t.fset, p, src, parser.ParseComments)
	if err != nil {
		return err
	}
	dir := path.Dir(p)
	if dir == "." {
		dir = ""
	}
	file := &File{
		Path: p, Package: dir, Test: strings.HasSuffix(p, "_test.go"),
		Lines: bytes.Count(src, []byte("\n")), Source: src, Imports: map[string]string{}, AST: f,
	}
	for _, i := range f.Imports {
		target, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			return err
		}
		name := localName(target)
		if i.Name != nil {
			name = i.Name.Name
		}
		if name == "_" || name == "." {
			name += target
		}
		file.Imports[name] = target
	}
	t.Files = append(t.Files, file)
	return nil
}

// localName is the name by which an import without alias is used: the last
// element of the path that is not a major version.
func localName(target string) string {
	base := path.Base(target)
	if len(base) > 1 && base[0] == 'v' && strings.Trim(base[1:], "0123456789") == "" {
		base = path.Base(path.Dir(target))
	}
	return base
}

func (t *Tree) at(n ast.Node) string {
	p := t.fset.Position(n.Pos())
	return fmt.Sprintf("%s:%d", p.Filename, p.Line)
}

// ours returns the package below the module that an import path names.
func ours(target string) (pkg string, ok bool) {
	if target == Module {
		return "", true
	}
	return strings.CutPrefix(target, Module+"/")
}

// isStandard reports whether an import path is of the standard library.
func isStandard(target string) bool {
	first, _, _ := strings.Cut(target, "/")
	return !strings.Contains(first, ".")
}

// matches reports whether pkg is pattern, or below it when it ends in "/...".
func matches(pattern, pkg string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "/..."); ok {
		return pkg == prefix || strings.HasPrefix(pkg, prefix+"/")
	}
	return pattern == pkg
}

func matchesAny(patterns []string, pkg string) bool {
	for _, p := range patterns {
		if matches(p, pkg) {
			return true
		}
	}
	return false
}
