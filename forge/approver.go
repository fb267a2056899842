package forge

import "strings"

// Named reports whether a login is among approvers. Each entry is a login,
// user/LOGIN, ORG/TEAM, or team/TEAM for a team of owner, and may begin with @;
// case doesn't matter in logins. member is asked about teams, in the order of
// the entries, until one has the answer; its error ends the search.
func Named(approvers []string, login, owner string, member func(org, team string) (bool, error)) (bool, error) {
	for _, a := range approvers {
		org, team, isTeam := strings.Cut(strings.TrimPrefix(a, "@"), "/")
		switch {
		case !isTeam:
			org, team = "user", org
		case org == "team":
			org = owner
		}
		if org == "user" {
			if strings.EqualFold(team, login) {
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
