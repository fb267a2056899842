package runner

import (
	"strings"
	"testing"
)

// Docker is named for images that no longer list it.
//
// In the wild: 15.
func TestWild15DockerIsPassedOver(t *testing.T) {
	have := map[string]imageRuntime{"python": {versions: map[string][]string{"3.10": {"p"}, "3.9": {"q"}}}}
	if commands, err := selectRuntime(have, "docker", "18"); err != nil || commands != nil {
		t.Errorf("got %q, %v", commands, err)
	}
	if _, err := selectRuntime(have, "cobol", "1"); err == nil || !strings.Contains(err.Error(), "Unknown runtime named 'cobol'") {
		t.Errorf("got %v", err)
	}
	for version, want := range map[string]string{"3.x": "p", "latest": "p", "3.9": "q"} {
		if commands, err := selectRuntime(have, "python", version); err != nil || len(commands) != 1 || commands[0] != want {
			t.Errorf("%s: got %q, %v", version, commands, err)
		}
	}
}
