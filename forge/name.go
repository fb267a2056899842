package forge

import (
	"fmt"
	"regexp"
	"strings"
)

// 100 is GitHub's limit; the others' are lower. A personal project of Bitbucket
// Data Center begins with a tilde.
var nameShape = regexp.MustCompile(`^~?[A-Za-z0-9._-]{1,100}$`)

// ValidName reports whether name may be an owner's or a repository's: it is
// safe as one segment of a path or of a URL.
func ValidName(name string) bool {
	return nameShape.MatchString(name) && name != "." && name != ".."
}

// SplitName splits owner/name and checks both.
func SplitName(full string) (owner, name string, err error) {
	owner, name, ok := strings.Cut(full, "/")
	if !ok || !ValidName(owner) || !ValidName(name) {
		return "", "", fmt.Errorf("repository name %q: want owner/name", full)
	}
	return owner, name, nil
}

// ValidSHA reports whether sha is a whole commit ID: 40 or 64 hex digits.
func ValidSHA(sha string) bool { return shaShape.MatchString(sha) }

var shaShape = regexp.MustCompile(`^(?:[0-9a-f]{40}|[0-9a-f]{64})$`)

// ValidRef reports whether git could have such a full ref (git-check-ref-format),
// as far as another could do harm. Quotes, $ and ; are legal.
func ValidRef(ref string) bool {
	_, rest, _ := strings.Cut(ref, "refs/")
	bad := !strings.HasPrefix(ref, "refs/") || rest == "" || len(ref) > 1024 ||
		strings.HasSuffix(ref, "/") || strings.Contains(ref, "..") || strings.Contains(ref, "//") ||
		strings.ContainsFunc(ref, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`~^:?*[\`, r) })
	return !bad
}
