package forge_test

import (
	"testing"

	"github.com/slipway-ci/slipway/forge"
)

func TestFileURL(t *testing.T) {
	tests := []struct {
		name, forge, web, path string
		line                   int
		want                   string
	}{
		{"GitHub", "github", "https://github.com/octo/app", "a b/c#1_test.go", 7, "https://github.com/octo/app/blob/5ha/a%20b/c%231_test.go#L7"},
		{"GitHub Enterprise Server", "github", "https://ghe.example.com/octo/app/", "x.go", 0, "https://ghe.example.com/octo/app/blob/5ha/x.go"},
		{"Bitbucket Cloud", "bitbucket", "https://bitbucket.org/octo/app", "src/x.go", 12, "https://bitbucket.org/octo/app/src/5ha/src/x.go#lines-12"},
		{"Bitbucket Data Center", "bitbucket-server", "https://git.example.com/projects/OCTO/repos/app", "src/x?.go", 3, "https://git.example.com/projects/OCTO/repos/app/browse/src/x%3F.go?at=5ha#3"},
		{"the built-in git host", "local", "http://127.0.0.1:8080/repos/local/me/app", "x.go", 1, ""},
		{"a repository without pages", "github", "", "x.go", 1, ""},
		{"no file", "github", "https://github.com/octo/app", "", 1, ""},
	}
	for _, tt := range tests {
		if got := (forge.Repo{Forge: tt.forge, WebURL: tt.web}).FileURL("5ha", tt.path, tt.line); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}
