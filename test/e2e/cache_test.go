package e2e

import (
	"strings"
	"testing"
)

// TestCacheOfARunner has a runner in a process of its own keep a cache at the
// server and restore it: by the same key, and by a fallback of another one.
func TestCacheOfARunner(t *testing.T) {
	s := shared(t)
	r := s.repo(t, owner, "cached")
	spec := `version: 0.2
phases:
  build:
    commands:
      - if [ -e deps/made ]; then echo "found $(cat deps/made)"; else echo none; fi
      - mkdir -p deps; cat lock > deps/made
cache:
  key: deps-$(codebuild-hash-files lock)
  fallback-keys: [deps-]
  paths: ['deps/**/*']
`
	for _, tt := range []struct{ name, lock, output, cache string }{
		{"nothing yet", "one", "none", "Cache saved"},
		{"the same key", "one", "found one", "Skip saving the cache due to: key"},
		{"a fallback", "two", "found one", "Cache saved"},
		{"the new key", "two", "found two", "Skip saving the cache due to: key"},
	} {
		x := s.awaitExecution(t, s.push(t, r, "main", tt.name, map[string]string{"buildspec.yml": spec, "lock": tt.lock, "name": tt.name}))
		log := string(s.open(t, s.url+"/api/v1/builds/"+x.buildAction().Build+"/log"))
		if x.Status != "Succeeded" || !strings.Contains(log, "\n"+tt.output+"\n") || !strings.Contains(log, tt.cache) {
			t.Errorf("%s: got %s, want %q and %q in\n%s", tt.name, x.Status, tt.output, tt.cache, log)
		}
	}
}
