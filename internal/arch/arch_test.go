package arch

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/internal/testenv"
)

// TestTree holds the whole tree to the rules.
func TestTree(t *testing.T) {
	sources, err := tree(testenv.Root())
	if err != nil {
		t.Fatal(err)
	}
	if len(sources) < 5 {
		t.Fatalf("got %d Go files below %s, want the whole tree", len(sources), testenv.Root())
	}
	for _, v := range violations(sources) {
		t.Error(v)
	}
}

func TestRowsNameRows(t *testing.T) {
	for pkg, row := range mayImport {
		for _, p := range row {
			if _, ok := mayImport[p]; !ok && p != "*" {
				t.Errorf("%s may import %s, which has no row", pkg, p)
			}
		}
	}
}

func TestViolations(t *testing.T) {
	tests := []struct {
		name string
		file source
		want []string
	}{
		{"an arrow towards the domain",
			source{file: "queue/queue.go", pkg: "queue", imports: []string{modulePath + "/pipeline", "context"}}, nil},
		{"siblings",
			source{file: "queue/queue.go", pkg: "queue", imports: []string{modulePath + "/store"}},
			[]string{"queue/queue.go: imports " + modulePath + "/store: queue may import pipeline"}},
		{"siblings in a test",
			source{file: "queue/queue_test.go", pkg: "queue", test: true, imports: []string{modulePath + "/store"}},
			[]string{"queue/queue_test.go: imports " + modulePath + "/store: queue may import pipeline"}},
		{"a package without a row",
			source{file: "util/util.go", pkg: "util"},
			[]string{"util/util.go: package util has no row in mayImport"}},
		{"a helper in a test",
			source{file: "queue/queue_test.go", pkg: "queue", test: true, imports: []string{modulePath + "/queue", modulePath + "/internal/testenv"}}, nil},
		{"a helper in the program",
			source{file: "cmd/slipway/main.go", pkg: "cmd/slipway", imports: []string{modulePath + "/internal/testenv"}},
			[]string{"cmd/slipway/main.go: imports " + modulePath + "/internal/testenv: only tests import a test helper"}},
		{"the wiring imports all",
			source{file: "cmd/slipway/main.go", pkg: "cmd/slipway", imports: []string{modulePath + "/runner/docker"}}, nil},
		{"a library at its owner",
			source{file: "handlers/ui/page.go", pkg: "handlers/ui", imports: []string{"github.com/gin-gonic/gin"}}, nil},
		{"a library elsewhere",
			source{file: "notify/notify.go", pkg: "notify", imports: []string{"github.com/google/go-github/v60/github"}},
			[]string{"notify/notify.go: imports github.com/google/go-github/v60/github: go-github belongs to forge/github"}},
		{"a package below an owner isn't the owner",
			source{file: "store/logs/logs.go", pkg: "store/logs", imports: []string{"github.com/redis/go-redis/v9"}},
			[]string{"store/logs/logs.go: imports github.com/redis/go-redis/v9: go-redis belongs to queue/..., store, bench/floor/..."}},
		{"the environment",
			source{file: "runner/run.go", pkg: "runner", env: []string{"7: os.Getenv"}},
			[]string{"runner/run.go:7: os.Getenv: the environment is read in cmd/slipway only"}},
		{"the environment in a test",
			source{file: "runner/run_test.go", pkg: "runner", test: true, env: []string{"7: os.Getenv"}}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, violations([]source{tt.file})); diff != "" {
				t.Errorf("violations (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTreeOfFiles(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":             "module x\n",
		"a/a.go":             "//go:build plan9\n\npackage a\n\nimport env \"os\"\n\nvar home = env.Getenv(\"HOME\")\nvar get = env.LookupEnv\n",
		"a/a_test.go":        "package a\n\nimport \"testing\"\n",
		"a/testdata/t.go":    "not Go",
		"a/_old.go":          "not Go",
		".hidden/h.go":       "not Go",
		"tools/go.mod":       "module tools\n",
		"tools/tools.go":     "not Go",
		"b/shadow/shadow.go": "package shadow\n\nfunc f(os interface{ Getenv() string }) { os.Getenv() }\n",
	} {
		file := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := tree(root)
	if err != nil {
		t.Fatal(err)
	}
	want := []source{
		{file: "a/a.go", pkg: "a", imports: []string{"os"}, env: []string{"7: env.Getenv", "8: env.LookupEnv"}},
		{file: "a/a_test.go", pkg: "a", test: true, imports: []string{"testing"}},
		{file: "b/shadow/shadow.go", pkg: "b/shadow"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(source{})); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

// TestDependenciesAreExplained compares docs/dependencies.md with the tree:
// every module that our code imports has a line there, and every line names a
// module that go.mod requires.
func TestDependenciesAreExplained(t *testing.T) {
	var required, explained []string
	for _, m := range regexp.MustCompile(`(?m)^(?:require )?\t?(\S+) v\S+(?: // indirect)?$`).FindAllStringSubmatch(read(t, "go.mod"), -1) {
		required = append(required, m[1])
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)`").FindAllStringSubmatch(read(t, "docs/dependencies.md"), -1) {
		explained = append(explained, m[1])
	}
	sources, err := tree(testenv.Root())
	if err != nil {
		t.Fatal(err)
	}
	imported := map[string]string{} // module to a file that imports it
	for _, s := range sources {
		for _, p := range s.imports {
			if m := moduleOf(p, required); m != "" {
				imported[m] = s.file
			}
		}
	}
	for m, file := range imported {
		if !slices.Contains(explained, m) {
			t.Errorf("%s imports %s: docs/dependencies.md doesn't say what for", file, m)
		}
	}
	for _, m := range explained {
		if !slices.Contains(required, m) {
			t.Errorf("docs/dependencies.md explains %s: go.mod doesn't require it", m)
		}
	}
	if len(imported) == 0 {
		t.Error("got no imported module, want some")
	}
}

// moduleOf is the module that provides a package: the longest that fits.
func moduleOf(importPath string, modules []string) string {
	var best string
	for _, m := range modules {
		if (importPath == m || strings.HasPrefix(importPath, m+"/")) && len(m) > len(best) {
			best = m
		}
	}
	return best
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(testenv.Root(), name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(data), "\r\n", "\n")
}
