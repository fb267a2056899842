package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// modulePath is ours; see go.mod.
const modulePath = "github.com/slipway-ci/slipway"

// source is one Go file of the tree, whatever its build constraints.
type source struct {
	file    string // from the root, with slashes
	pkg     string // its folder from the root
	test    bool
	imports []string
	env     []string // "12: os.Getenv", where it reads the environment
}

// tree parses every Go file below root that belongs to this module. It reads
// files rather than asking go list, so that code behind a build tag or for
// another system is held to the same rules.
func tree(root string) ([]source, error) {
	var sources []source
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name != root && skipped(name, entry.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(name) != ".go" || strings.HasPrefix(entry.Name(), "_") || strings.HasPrefix(entry.Name(), ".") {
			return nil
		}
		s, err := parse(root, name)
		if err != nil {
			return err
		}
		sources = append(sources, s)
		return nil
	})
	return sources, err
}

// skipped says whether the go command ignores a folder, or it is a module of
// its own.
func skipped(name, base string) bool {
	if base == "testdata" || base == "vendor" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
		return true
	}
	_, err := os.Stat(filepath.Join(name, "go.mod"))
	return err == nil
}

func parse(root, name string) (source, error) {
	rel, err := filepath.Rel(root, name)
	if err != nil {
		return source{}, err
	}
	rel = filepath.ToSlash(rel)
	s := source{file: rel, pkg: path.Dir(rel), test: strings.HasSuffix(rel, "_test.go")}
	files := token.NewFileSet()
	f, err := parser.ParseFile(files, name, nil, parser.SkipObjectResolution)
	if err != nil {
		return source{}, err
	}
	for _, spec := range f.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return source{}, fmt.Errorf("%s: import %s: %w", rel, spec.Path.Value, err)
		}
		s.imports = append(s.imports, p)
	}
	s.env = environmentReads(f, files)
	return s, nil
}

// environmentFuncs read the environment, by package.
var environmentFuncs = map[string][]string{
	"os":      {"Getenv", "LookupEnv", "Environ", "ExpandEnv"},
	"syscall": {"Getenv", "Environ"},
}

// environmentReads finds the calls and uses of environmentFuncs in a file.
func environmentReads(f *ast.File, files *token.FileSet) []string {
	names := map[string]string{} // in this file, to the package
	for _, spec := range f.Imports {
		p, _ := strconv.Unquote(spec.Path.Value)
		if environmentFuncs[p] == nil {
			continue
		}
		name := p
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names[name] = p
	}
	var found []string
	ast.Inspect(f, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		x, ok := sel.X.(*ast.Ident)
		if ok && slices.Contains(environmentFuncs[names[x.Name]], sel.Sel.Name) {
			found = append(found, fmt.Sprintf("%d: %s.%s", files.Position(sel.Pos()).Line, x.Name, sel.Sel.Name))
		}
		return true
	})
	return found
}
