package broken

import "testing"

func TestParent(t *testing.T) {
	t.Run("bad", func(t *testing.T) { t.Error("got 1, want 2") })
	t.Run("good", func(t *testing.T) {})
}

func TestAlone(t *testing.T) {
	t.Run("good", func(t *testing.T) {})
	t.Error("the parent itself")
}
