package chat

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"unicode"

	"github.com/slipway-ci/slipway/access"
	"github.com/slipway-ci/slipway/forge"
)

// noteLimitRunes is how much of a line, and of what came of it, is noted.
const noteLimitRunes = 300

// entry is what the audit log says of a command: who, where, what, and what
// came of it (forges reference 4.10). It is nil for what was only looked at, and
// for what strangers were refused once they have filled their share.
func (t *talk) entry(c Command, outcome, result string) *access.Entry {
	if c.Spec.Who == Reader && outcome == access.Done {
		return nil
	}
	if outcome == access.Refused && !t.level.AtLeast(forge.Write) && !t.strangers.Note(t.Now()) {
		return nil
	}
	detail := plain(c.Text)
	if result != "" {
		detail += ": " + plain(result)
	}
	return &access.Entry{
		At: t.Now().UTC(), Who: t.c.Author.Login, WhoID: t.c.Author.ID, Via: t.d.Forge + " comment",
		Action: "/" + c.Spec.Name, Target: cmp.Or(t.c.WebURL, fmt.Sprintf("comment %s on #%d", t.c.ID, t.c.Pull)),
		Repo: t.e.Repo.Forge + "/" + t.e.Repo.FullName(), SHA: t.pr.HeadSHA, Delivery: t.d.ID, Outcome: outcome, Detail: detail,
	}
}

// note writes what came of the i-th command into the audit log, once.
func (t *talk) note(ctx context.Context, key string, i int, r result) error {
	if r.Note == nil || t.Audit == nil {
		return nil
	}
	return t.Audit.AddAuditOnce(ctx, fmt.Sprintf("chat:%s:%d", key, i), *r.Note)
}

// plain is somebody's text, cut and without what isn't text.
func plain(s string) string {
	if runes := []rune(s); len(runes) > noteLimitRunes {
		s = string(runes[:noteLimitRunes]) + "…"
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, s)
}
