package buildspec

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

const (
	defaultRetries = 3
	maxRetries     = 100
)

// The digits are a count only if a dash or the end follows: in RETRY-5xx they
// belong to the pattern.
var retryForm = regexp.MustCompile(`(?is)^RETRY(?:-(\d+))?(?:-(.+))?$`)

// ParseOnFailure reads an on-failure value: ABORT, CONTINUE, RETRY, RETRY-n,
// RETRY-regex or RETRY-n-regex, the word in any case. An empty one is Unset.
func ParseOnFailure(text string) (OnFailure, error) {
	text = strings.TrimSpace(text)
	switch strings.ToUpper(text) {
	case "":
		return OnFailure{}, nil
	case "ABORT":
		return OnFailure{Action: Abort}, nil
	case "CONTINUE":
		return OnFailure{Action: Continue}, nil
	}
	m := retryForm.FindStringSubmatch(text)
	if m == nil {
		return OnFailure{}, fmt.Errorf("want ABORT, CONTINUE, RETRY, RETRY-count, RETRY-regex or RETRY-count-regex, have %q", text)
	}
	f := OnFailure{Action: Retry, Retries: defaultRetries}
	if m[1] != "" {
		n, err := strconv.Atoi(m[1])
		if err != nil || n > maxRetries {
			return OnFailure{}, fmt.Errorf("want a retry count from 0 to %d, have %s", maxRetries, m[1])
		}
		f.Retries = n
	}
	pattern := m[2]
	if pattern == "" {
		pattern = ".*"
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return OnFailure{}, fmt.Errorf("want a regular expression (RE2), have %q: %w", pattern, err)
	}
	f.Pattern = re
	return f, nil
}
