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
		{[]string{"id:7"}, true, nil},
		{[]string{"id:", "id:77", "id:alice", "@id:7x"}, false, nil},
	}
	for _, tt := range tests {
		if got, err := Named(tt.approvers, User{ID: "7", Login: "alice"}, "octo", member); got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%q: got %t, %v, want %t, %v", tt.approvers, got, err, tt.want, tt.err)
		}
	}
}

// Who calls themselves as somebody else does is nobody else, and who has no
// login or ID is nobody.
//
// Attacks: 2.
func TestNicknamesNameNobody(t *testing.T) {
	member := func(string, string) (bool, error) { return false, nil }
	approvers := []string{"alice", "user/alice", "@alice", "", "id:", "id:{a}"}
	for _, tt := range []struct {
		user User
		want bool
	}{
		{User{ID: "{m}", Login: "alice", Nickname: true}, false},
		{User{ID: "{a}", Login: "anything", Nickname: true}, true},
		{User{Login: "alice"}, true},
		{User{}, false},
	} {
		if got, err := Named(approvers, tt.user, "octo", member); got != tt.want || err != nil {
			t.Errorf("%+v: got %t, %v", tt.user, got, err)
		}
	}
}
