package fleet

import (
	"strings"
	"testing"
)

// CodeDeploy reference 4.1 and 4.2: checks against AWS's own text.
func TestMinimum(t *testing.T) {
	tests := []struct {
		name, config, minimum string
		n, want               int
	}{
		{"4.1 AllAtOnce, N=9", AllAtOnce, "", 9, 0},
		{"4.1 HalfAtATime, N=9: 5 stay", HalfAtATime, "", 9, 5},
		{"4.1 OneAtATime, N=9", OneAtATime, "", 9, 8},
		{"the default is OneAtATime", "", "", 4, 3},
		{"a short name", "AllAtOnce", "", 4, 0},
		{"4.2 HOST_COUNT 6 of 9", "", "6", 9, 6},
		{"4.2 40 % of 9", "", "40%", 9, 4},
		{"4.2 85 % of 10", "", "85%", 10, 9},
		{"4.2 95 % of 10", "", "95%", 10, 10},
		{"4.2 M=0", "careful", "0", 5, 0},
		{"4.2 HalfAtATime, N=1 has room for it", HalfAtATime, "", 1, 0},
		{"4.2 OneAtATime, N=1", OneAtATime, "", 1, 0},
		{"a custom percentage keeps its word", "", "50%", 1, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := ParseConfig(tt.config, tt.minimum)
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Minimum(tt.n); got != tt.want {
				t.Errorf("Minimum(%d) = %d, want %d", tt.n, got, tt.want)
			}
		})
	}
}

func TestParseConfigRefuses(t *testing.T) {
	tests := []struct{ config, minimum, want string }{
		{"CodeDeployDefault.Canary", "", "neither"},
		{"mine", "", "needs minimum_healthy_hosts"},
		{"CodeDeployDefault.mine", "2", "minimum of its own"},
		{"OneAtATime", "2", "minimum of its own"},
		{"a b", "2", "want up to 100"},
		{strings.Repeat("x", 101), "2", "want up to 100"},
		{"", "100%", "at most 99%"},
		{"", "-1", "want a number"},
		{"", "+1", "want a number"},
		{"", "%", "want a number"},
		{"", "half", "want a number"},
	}
	for _, tt := range tests {
		if _, err := ParseConfig(tt.config, tt.minimum); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("ParseConfig(%q, %q): got %v, want %q in it", tt.config, tt.minimum, err, tt.want)
		}
	}
}
