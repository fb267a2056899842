package forge

import "testing"

func TestSplitName(t *testing.T) {
	tests := []struct {
		full string
		ok   bool
	}{
		{"octo/hello.world", true},
		{"octo/-_.", true},
		{"~jdoe/x", true},
		{"a~b/x", false},
		{"octo", false},
		{"octo/..", false},
		{"./x", false},
		{"octo/a/b", false},
		{"octo/a b", false},
		{"octo/a\x00", false},
		{"octo/a\n", false},
		{"/x", false},
		{"", false},
	}
	for _, tt := range tests {
		if _, _, err := SplitName(tt.full); (err == nil) != tt.ok {
			t.Errorf("SplitName(%q): %v, want ok %v", tt.full, err, tt.ok)
		}
	}
}
