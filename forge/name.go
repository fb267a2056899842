package forge

import (
	"fmt"
	"regexp"
	"strings"
)

// 100 is GitHub's limit; the others' are lower.
var nameShape = regexp.MustCompile(`^[A-Za-z0-9._-]{1,100}$`)

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
