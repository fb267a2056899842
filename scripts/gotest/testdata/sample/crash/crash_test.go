package crash

import (
	"os"
	"testing"
)

func TestBefore(t *testing.T) {}

func TestDies(t *testing.T) {
	t.Log("last words")
	os.Exit(3)
}
