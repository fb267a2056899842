package forge

import "testing"

func TestPermissionLadder(t *testing.T) {
	for i, p := range ladder {
		for j, want := range ladder {
			if got := p.AtLeast(want); got != (i >= j) {
				t.Errorf("%q.AtLeast(%q) = %t", p, want, got)
			}
			if got := p.Higher(want); got != ladder[max(i, j)] {
				t.Errorf("%q.Higher(%q) = %q", p, want, got)
			}
		}
		if p.AtLeast("owner") || Permission("owner").AtLeast(Read) || Permission("owner").Higher(p) != p {
			t.Errorf("an unknown word stands above or below %q", p)
		}
	}
}
