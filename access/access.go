// Package access holds the words of who may do what: API tokens, and the
// record of what was done.
package access

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/forge"
)

// Token is an API token without its value, which nobody keeps.
type Token struct {
	V    int    `json:"v"`
	ID   string `json:"id"`
	Name string `json:"name"`
	// Role is read, write or admin.
	Role forge.Permission `json:"role"`
	// Repo is the one repository that the role is for, as FORGE/OWNER/NAME;
	// empty: all of them, and the server itself.
	Repo      string    `json:"repo,omitempty"`
	By        string    `json:"by,omitempty"` // who made it
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at,omitzero"` // zero: never
	// UsedAt is when it was used last, to the minute; zero: never.
	UsedAt time.Time `json:"used_at,omitzero"`
}

// Expired reports whether the token is worth nothing any more.
func (t Token) Expired(now time.Time) bool { return !t.ExpiresAt.IsZero() && !now.Before(t.ExpiresAt) }

var nameShape = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// Check says what is wrong with a token that somebody asks for.
func (t Token) Check(now time.Time) error {
	switch {
	case !nameShape.MatchString(t.Name):
		return fmt.Errorf("name: want letters, digits, '.', '_' and '-', at most 63, have %q", cut(t.Name))
	case t.Role != forge.Read && t.Role != forge.Write && t.Role != forge.Admin:
		return fmt.Errorf("role: want read, write or admin, have %q", cut(string(t.Role)))
	case t.Expired(now):
		return errors.New("expires_at: want a time to come")
	}
	if t.Repo == "" {
		return nil
	}
	_, err := ParseRepo(t.Repo)
	return err
}

// ParseRepo reads FORGE/OWNER/NAME. The repository's ID is not in it.
func ParseRepo(text string) (forge.Repo, error) {
	parts := strings.Split(text, "/")
	if len(parts) != 3 || parts[0] == "" || !forge.ValidName(parts[1]) || !forge.ValidName(parts[2]) {
		return forge.Repo{}, fmt.Errorf("repo: want FORGE/OWNER/NAME, have %q", cut(text))
	}
	return forge.Repo{Forge: parts[0], Owner: parts[1], Name: parts[2]}, nil
}

func cut(s string) string { return fmt.Sprintf("%.80s", s) }

// Entry is one thing that somebody did, or tried to do. It never holds a
// secret.
type Entry struct {
	V  int       `json:"v"`
	ID string    `json:"id"` // of the record; later ones are greater
	At time.Time `json:"at"`
	// Who did it; empty: somebody who did not prove who they are. Via is their
	// proof: admin token, token, session, sign-in link, github, or the forge
	// under whose comment they stand, such as "github comment".
	Who string `json:"who,omitempty"`
	Via string `json:"via,omitempty"`
	// WhoID is a comment's author as the forge numbers people, who may change
	// their names.
	WhoID string `json:"who_id,omitempty"`
	// From is the address that the request came from. Forwarded is what a proxy,
	// or a liar, says of the address behind it.
	From      string `json:"from,omitempty"`
	Forwarded string `json:"forwarded,omitempty"`
	Action    string `json:"action"`         // the route, such as "POST /api/v1/executions/:id/stop", or a command, such as "/approve"
	Target    string `json:"target"`         // the path, or the page of the comment
	Repo      string `json:"repo,omitempty"` // FORGE/OWNER/NAME
	// SHA is the commit that was spoken of, and Delivery the webhook that
	// brought a comment.
	SHA      string `json:"sha,omitempty"`
	Delivery string `json:"delivery,omitempty"`
	// Outcome is done, refused or failed; Status is that of the answer.
	Outcome string `json:"outcome"`
	Status  int    `json:"status,omitempty"`
	Detail  string `json:"detail,omitempty"`
}

// The outcomes.
const (
	Done    = "done"
	Refused = "refused"
	Failed  = "failed"
)
