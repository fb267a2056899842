package forge

import (
	"errors"
	"testing"
)

func TestNamed(t *testing.T) {
	away := errors.New("away")
	member := func(org, team string) (bool, error) {
		if org == "away" {
			return false, away
		}
		return org == "octo" && team == "ops", nil
	}
	tests := []struct {
		approvers []string
		want      bool
		err       error
	}{
		{nil, false, nil},
		{[]string{"bob", "@Alice"}, true, nil},
		{[]string{"user/alice"}, true, nil},
		{[]string{"alice/x", "team/alice"}, false, nil},
		{[]string{"team/ops"}, true, nil},
		{[]string{"other/ops", "octo/ops"}, true, nil},
		{[]string{"away/ops", "alice"}, false, away},
		{[]string{"alice", "away/ops"}, true, nil},
		{[]string{"", "@", "user/"}, false, nil},
	}
	for _, tt := range tests {
		if got, err := Named(tt.approvers, "alice", "octo", member); got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%q: got %t, %v, want %t, %v", tt.approvers, got, err, tt.want, tt.err)
		}
	}
}
