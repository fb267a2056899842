package pipeline

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/cron"
)

// The operators of VariableCheck rules, as AWS spells them.
const (
	opEqual    = "EQ"
	opNot      = "NE"
	opContains = "CONTAINS"
	opMatches  = "MATCHES"
)

// operatorWords are those of pipeline files.
var operatorWords = map[string]string{opEqual: "==", opNot: "!=", opContains: "contains", opMatches: "matches"}

// compare is a VariableCheck. Texts are compared with regard to case; a pattern,
// in Go's syntax, has to match all of the text (CodePipeline reference 3.8).
func compare(text, operator, value string) (bool, error) {
	switch operator {
	case opEqual:
		return text == value, nil
	case opNot:
		return text != value, nil
	case opContains:
		return strings.Contains(text, value), nil
	case opMatches:
		pattern, err := wholePattern(value)
		return err == nil && pattern.MatchString(text), err
	}
	return false, fmt.Errorf("there is no operator %.40q", operator)
}

func wholePattern(text string) (*regexp.Regexp, error) {
	if _, err := regexp.Compile(text); err != nil {
		return nil, err
	}
	return regexp.Compile(`^(?:` + text + `)$`)
}

// parseWindow reads the times of a DeploymentWindow; the zone is UTC if it is
// empty.
func parseWindow(text, zone string) (cron.Schedule, error) {
	where, err := parseZone(zone)
	if err != nil {
		return cron.Schedule{}, err
	}
	return cron.ParseQuartz(text, where)
}

// parseZone is a time zone by its name in the time zone database.
func parseZone(name string) (*time.Location, error) {
	if name == "Local" { // the server's own, which nobody who writes a file knows
		return nil, fmt.Errorf("want a time zone such as Europe/Berlin, have %q", name)
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("want a time zone such as Europe/Berlin, have %.60q", name)
	}
	return zone, nil
}
