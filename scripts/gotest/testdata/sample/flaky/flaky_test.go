package flaky

import (
	"os"
	"testing"
)

// TestOnce fails where it runs first.
func TestOnce(t *testing.T) {
	t.Run("good", func(t *testing.T) {})
	t.Run("bad", func(t *testing.T) {
		file := os.Getenv("SAMPLE_SEEN")
		if _, err := os.Stat(file); err == nil {
			return
		}
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if os.Getenv("SAMPLE_RACE") != "" {
			t.Log("WARNING: DATA RACE")
		}
		t.Error("not the first time")
	})
}
