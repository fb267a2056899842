package forge

import "strings"

// Named reports whether a user is among approvers. Each entry is a login,
// user/LOGIN, id:ID, ORG/TEAM, or team/TEAM for a team of owner, and may begin
// with @; case doesn't matter in logins. A nickname is no login. member is asked about teams, in the order of
// the entries, until one has the answer; its error ends the search.
func Named(approvers []string, user User, owner string, member func(org, team string) (bool, error)) (bool, error) {
	for _, a := range approvers {
		if id, ok := strings.CutPrefix(a, "id:"); ok {
			if id != "" && id == user.ID {
				return true, nil
			}
			continue
		}
		org, team, isTeam := strings.Cut(strings.TrimPrefix(a, "@"), "/")
		switch {
		case !isTeam:
			org, team = "user", org
		case org == "team":
			org = owner
		}
		if org == "user" {
			if user.Login != "" && !user.Nickname && strings.EqualFold(team, user.Login) {
				return true, nil
			}
			continue
		}
		if found, err := member(org, team); err != nil || found {
			return found, err
		}
	}
	return false, nil
}
