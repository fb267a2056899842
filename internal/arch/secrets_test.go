package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/testenv"
)

// secretName is what things are called that an answer's time must not tell of.
var secretName = regexp.MustCompile(`(?i)(token|secret|password|signature|mac)$`)

// notSecret are files that compare what is called so and isn't secret, or not
// for somebody else.
var notSecret = map[string]string{
	"handlers/pipelines.go":        "an approval's token says which question is answered; rights decide",
	"cmd/slipway/serve.go":         "both are the operator's own",
	"internal/redact/redact.go":    "the length of a word",
	"forge/forgetest/bitbucket.go": "a test helper",
	"forge/forgetest/oauth.go":     "a test helper",
}

// Secrets are compared by hmac.Equal or subtle.ConstantTimeCompare, or looked
// up by their sum; == stops at the first byte that differs.
//
// Attacks: 9.
func TestSecretsAreComparedInConstantTime(t *testing.T) {
	root := testenv.Root()
	for _, dir := range []string{"handlers", "forge", "access", "dispatch", "cmd", "internal"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			name, _ := filepath.Rel(root, path) // it is below
			found := hasty(t, name, text)
			if (notSecret[name] != "") != (len(found) > 0) {
				t.Errorf("%s: secrets are compared byte by byte at %q; named as no secret: %q", name, found, notSecret[name])
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := hasty(t, "x.go", []byte("package x\nfunc f(a, token string) bool { return token == a && token != \"\" }")); len(got) != 1 {
		t.Errorf("of two comparisons, one with nothing, found %q", got)
	}
}

// hasty are the places that compare a secret with something that isn't written
// there.
func hasty(t *testing.T, name string, text []byte) []string {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, name, text, 0)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	ast.Inspect(file, func(n ast.Node) bool {
		e, ok := n.(*ast.BinaryExpr)
		if ok && (e.Op == token.EQL || e.Op == token.NEQ) && !written(e.X) && !written(e.Y) && (secret(e.X) || secret(e.Y)) {
			found = append(found, files.Position(e.Pos()).String())
		}
		return true
	})
	return found
}

// written reports whether e is a literal, nil, or compared by type alone.
func written(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.BasicLit, *ast.CompositeLit, *ast.ParenExpr, *ast.BinaryExpr:
		return true
	case *ast.Ident:
		return e.Name == "nil" || e.Name == "true" || e.Name == "false"
	}
	return false
}

func secret(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return secretName.MatchString(e.Name)
	case *ast.SelectorExpr:
		return secretName.MatchString(e.Sel.Name)
	case *ast.CallExpr:
		if name, ok := e.Fun.(*ast.Ident); ok && name.Name == "string" && len(e.Args) == 1 {
			return secret(e.Args[0])
		}
	}
	return false
}
