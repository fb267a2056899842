package pipeline

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/forge"
)

// FilterGroups are a project's webhook filters: an event starts builds if all
// filters of any group pass (CodeBuild reference 8.1).
type FilterGroups [][]EventFilter

// EventFilter tests one fact of an event.
type EventFilter struct {
	Type    string
	Pattern string // events, comma-separated; else a regular expression, searched for
	Exclude bool   // passes if the pattern doesn't match
}

// The types of filters.
const (
	FilterEvent         = "EVENT"
	FilterActor         = "ACTOR_ACCOUNT_ID"
	FilterHeadRef       = "HEAD_REF"
	FilterBaseRef       = "BASE_REF"
	FilterFilePath      = "FILE_PATH"
	FilterFilePathAll   = "FILE_PATH_ALL" // an addition: every changed file
	FilterCommitMessage = "COMMIT_MESSAGE"
	FilterRepository    = "REPOSITORY_NAME"
	FilterOrganization  = "ORGANIZATION_NAME"
	FilterTag           = "TAG_NAME" // of a release
	FilterRelease       = "RELEASE_NAME"
)

var filterTypes = []string{
	FilterEvent, FilterActor, FilterHeadRef, FilterBaseRef, FilterFilePath, FilterFilePathAll, FilterCommitMessage, FilterRepository, FilterOrganization,
	FilterTag, FilterRelease,
}

// filterEvents are those that start builds here.
var filterEvents = []string{
	"PUSH", "PULL_REQUEST_CREATED", "PULL_REQUEST_UPDATED", "PULL_REQUEST_REOPENED", "PULL_REQUEST_MERGED", "PULL_REQUEST_CLOSED",
	Released, Prereleased,
}

// elsewhere are filters and events of CodeBuild that have no meaning here, and
// what to write in their place.
var elsewhere = map[string]string{
	"WORKFLOW_JOB_QUEUED": "no jobs of other systems are run here", "WORKFLOW_NAME": "no jobs of other systems are run here",
}

// Check reports every mistake of the groups, each with its place.
func (g FilterGroups) Check() []error {
	var errs []error
	for i, group := range g {
		if !slices.ContainsFunc(group, func(f EventFilter) bool { return f.Type == FilterEvent }) {
			errs = append(errs, fmt.Errorf("[%d]: want an EVENT filter in every group", i))
		}
		for j, f := range group {
			if err := f.check(); err != nil {
				errs = append(errs, fmt.Errorf("[%d][%d]: %w", i, j, err))
			}
		}
	}
	return errs
}

func (f EventFilter) check() error {
	switch {
	case elsewhere[f.Type] != "":
		return fmt.Errorf("type %s: %s", f.Type, elsewhere[f.Type])
	case !slices.Contains(filterTypes, f.Type):
		return fmt.Errorf("type: want one of %s, have %q", strings.Join(filterTypes, ", "), f.Type)
	case f.Pattern == "":
		return fmt.Errorf("%s: want a pattern", f.Type)
	case f.Type == FilterEvent:
		return f.checkEvents()
	}
	expr, contains := strings.CutPrefix(f.Pattern, containsPrefix)
	if _, err := regexp.Compile(expr); err != nil {
		hint := ""
		if strings.Contains(expr, "(?!") || strings.Contains(expr, "(?=") || strings.Contains(expr, "(?<") {
			hint = "; there is no look-around, use exclude_matched_pattern"
		}
		return fmt.Errorf("%s: %w%s", f.Type, err, hint)
	}
	if f.Type == FilterActor && !contains && !whole(expr) {
		return fmt.Errorf("%s: %q also matches longer IDs: want ^%s$, or %s%s if that is meant", f.Type, expr, strings.Trim(expr, "^$"), containsPrefix, expr)
	}
	return nil
}

// containsPrefix marks a pattern for actors that may match a part of an ID.
const containsPrefix = "contains:"

// whole reports whether every alternative of an expression is anchored at both
// ends.
func whole(expr string) bool {
	if strings.HasPrefix(expr, "^(") && strings.HasSuffix(expr, ")$") && !strings.ContainsAny(expr[2:len(expr)-2], "()") {
		return true
	}
	if strings.ContainsAny(expr, "()") {
		return false
	}
	return !slices.ContainsFunc(strings.Split(expr, "|"), func(part string) bool {
		return !strings.HasPrefix(part, "^") || !strings.HasSuffix(part, "$") || strings.HasSuffix(part, `\$`)
	})
}

func (f EventFilter) checkEvents() error {
	for _, event := range f.events() {
		switch {
		case elsewhere[event] != "":
			return fmt.Errorf("EVENT %s: %s", event, elsewhere[event])
		case !slices.Contains(filterEvents, event):
			return fmt.Errorf("EVENT: want %s, have %q", strings.Join(filterEvents, ", "), event)
		}
	}
	return nil
}

func (f EventFilter) events() []string {
	var list []string
	for _, event := range strings.Split(f.Pattern, ",") {
		list = append(list, strings.TrimSpace(event))
	}
	return list
}

// String is the filter as a reason names it.
func (f EventFilter) String() string {
	if f.Exclude {
		return f.Type + " not " + f.Pattern
	}
	return f.Type + " " + f.Pattern
}

// Match reports whether an event starts builds, and why, or why not. event is
// its name, such as PULL_REQUEST_CREATED. The error is that of changed.
func (g FilterGroups) Match(e forge.Event, event string, changed Changed) (start bool, reason string, err error) {
	m := groupMatcher{e: e, event: event, changed: changed}
	var missed []string
	for i, group := range g {
		at := slices.IndexFunc(group, func(f EventFilter) bool { return !m.passes(f) })
		switch {
		case m.err != nil:
			return false, "", m.err
		case at < 0:
			return true, fmt.Sprintf("filter group %d matched: %s", i+1, event), nil
		}
		missed = append(missed, fmt.Sprintf("group %d wants %s, got %s", i+1, group[at], m.got))
	}
	return false, "no filter group matched: " + strings.Join(missed, "; "), nil
}

// groupMatcher knows the facts of one event.
type groupMatcher struct {
	e       forge.Event
	event   string
	changed Changed
	known   *forge.Changes
	err     error
	got     string // what the last filter was tested with
}

func (m *groupMatcher) passes(f EventFilter) bool {
	if f.Type == FilterEvent {
		m.got = m.event
		return m.wanted(f.events()) != f.Exclude
	}
	re, err := regexp.Compile(strings.TrimPrefix(f.Pattern, containsPrefix))
	if err != nil { // such a configuration isn't taken
		m.got = "a pattern that is none"
		return false
	}
	if f.Type == FilterFilePath || f.Type == FilterFilePathAll {
		return m.files(f, re)
	}
	value, ok := m.value(f.Type)
	if m.got = value; !ok {
		m.got = m.event + ", which has none"
		return false
	}
	return re.MatchString(value) != f.Exclude
}

// wanted reports whether the event is one of those named. A merge group counts
// as an update of a pull request: the queue waits for the same checks.
func (m *groupMatcher) wanted(events []string) bool {
	if m.event == MergeGroupEvent {
		return slices.Contains(events, "PULL_REQUEST_CREATED") || slices.Contains(events, "PULL_REQUEST_UPDATED")
	}
	return slices.Contains(events, m.event)
}

// value is what a filter is tested with. One that the event lacks passes no
// filter, with exclusion or without.
func (m *groupMatcher) value(kind string) (value string, ok bool) {
	push, pr, group, release := m.e.Push, m.e.Pull, m.e.Merge, m.e.Release
	switch kind {
	case FilterActor:
		return m.e.Sender.ID, true
	case FilterRepository:
		return m.e.Repo.Name, true
	case FilterOrganization:
		return m.e.Repo.Owner, true
	case FilterHeadRef:
		if push != nil {
			return push.Ref, true
		}
		if pr != nil {
			return "refs/heads/" + pr.HeadRef, true
		}
		if group != nil {
			return group.HeadRef, true
		}
	case FilterBaseRef:
		if pr != nil {
			return "refs/heads/" + pr.BaseRef, true
		}
		if group != nil {
			return "refs/heads/" + group.BaseRef, true
		}
	case FilterCommitMessage:
		if push != nil {
			return push.Message, true
		}
		if group != nil {
			return group.Message, true
		}
	case FilterTag:
		if release != nil {
			return release.Tag, true
		}
	case FilterRelease:
		if release != nil {
			return release.Name, release.Name != ""
		}
	}
	return "", false
}

// files looks at the changed files; a list that the forge cut short passes. A
// release changes none.
func (m *groupMatcher) files(f EventFilter, re *regexp.Regexp) bool {
	if m.e.Release != nil {
		m.got = m.event + ", which has none"
		return false
	}
	if m.known == nil {
		known, err := m.changed()
		if m.known, m.err = &known, err; err != nil {
			return false
		}
	}
	m.got = someOf(m.known.Paths)
	if m.known.Unknown != "" {
		return true
	}
	if f.Type == FilterFilePathAll {
		all := len(m.known.Paths) > 0 && !slices.ContainsFunc(m.known.Paths, func(p string) bool { return !re.MatchString(p) })
		return all != f.Exclude
	}
	return slices.ContainsFunc(m.known.Paths, re.MatchString) != f.Exclude
}
