package lint

import (
	"os"
	"testing"
)

func TestTree(t *testing.T) {
	tree, err := Load(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.Files) == 0 {
		t.Fatal("no source found")
	}
	for name, rule := range map[string]Rule{
		"imports": Imports, "purity": Purity, "tests": Tests, "output": Output,
		"state": State, "sizes": Sizes, "packages": Packages, "paths": Paths,
	} {
		t.Run(name, func(t *testing.T) {
			for _, f := range rule(tree) {
				t.Error(f)
			}
		})
	}
}
