package fine

import "testing"

func TestPass(t *testing.T) {}

func TestSubtests(t *testing.T) {
	t.Run("one", func(t *testing.T) {})
	t.Run("two", func(t *testing.T) { t.Log("noise"); t.Skip("missing component: docker") })
}

func TestSkip(t *testing.T) { t.Skip("shared test data not here: corpus") }
