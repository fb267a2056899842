package pipeline

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/forge"
)

// Triggers say which events start a pipeline (CodePipeline reference, section
// 4). The zero value starts it for pushes to the default branch.
type Triggers struct {
	Push []PushFilter `json:"push,omitempty"`
	Pull []PullFilter `json:"pull_request,omitempty"`
	// Release are of a forge that has releases: GitHub.
	Release []ReleaseFilter `json:"release,omitempty"`
	// Schedules start it at times, at the head of Branch.
	Schedules []Schedule `json:"schedule,omitempty"`
	// Comments are regular expressions of RE2 for a whole line of a comment on a
	// pull request; their named groups become variables (forges reference 5.4).
	Comments []string `json:"comment,omitempty"`
	// Branch is the source's, whose pushes start the pipeline where it has no
	// filters; empty means the repository's default branch.
	Branch string `json:"branch,omitempty"`
}

// PushFilter matches pushes of tags if it has Tags, and of branches otherwise.
type PushFilter struct {
	Branches Criterion `json:"branches,omitzero"`
	Tags     Criterion `json:"tags,omitzero"`
	Paths    Criterion `json:"paths,omitzero"`
}

// PullFilter matches pull requests: Branches are those that they aim at.
type PullFilter struct {
	Events   []PullEvent `json:"events,omitempty"` // empty: all
	Branches Criterion   `json:"branches,omitzero"`
	Paths    Criterion   `json:"paths,omitzero"`
}

// ReleaseFilter matches releases by their tag.
type ReleaseFilter struct {
	Tags Criterion `json:"tags,omitzero"`
	// Prereleases: those, too, that are marked as previews.
	Prereleases bool `json:"prereleases,omitempty"`
}

// PullEvent is what happened to a pull request, in the words of filters.
type PullEvent string

// The events of pull requests that filters know.
const (
	PullOpen    PullEvent = "OPEN"
	PullUpdated PullEvent = "UPDATED"
	PullClosed  PullEvent = "CLOSED"
)

// Criterion is a set of patterns: a text passes if an include matches it, or
// there are none, and no exclude does. The zero value lets everything pass.
type Criterion struct {
	Includes []string `json:"includes,omitempty"`
	Excludes []string `json:"excludes,omitempty"`
}

func (c Criterion) empty() bool { return len(c.Includes) == 0 && len(c.Excludes) == 0 }

// String is the patterns as a pipeline file spells them.
func (c Criterion) String() string {
	all := slices.Clone(c.Includes)
	for _, x := range c.Excludes {
		all = append(all, "!"+x)
	}
	return "[" + strings.Join(all, ", ") + "]"
}

// Match reports whether any of the texts passes.
func (c Criterion) Match(texts ...string) bool {
	in, out := compiled(c.Includes), compiled(c.Excludes)
	return slices.ContainsFunc(texts, func(s string) bool {
		return (len(c.Includes) == 0 || matchesAny(in, s)) && !matchesAny(out, s)
	})
}

// compiled leaves out patterns that are none: a file that has such is refused
// when it is read.
func compiled(patterns []string) []*regexp.Regexp {
	var list []*regexp.Regexp
	for _, p := range patterns {
		if re, err := glob(p); err == nil {
			list = append(list, re)
		}
	}
	return list
}

func matchesAny(list []*regexp.Regexp, s string) bool {
	return slices.ContainsFunc(list, func(re *regexp.Regexp) bool { return re.MatchString(s) })
}

// Changed are the files that an event changed. It is asked at most once, and
// only if a filter looks at paths.
type Changed func() (forge.Changes, error)

// Match reports whether an event starts the pipeline, and why, or why not. The
// error is that of changed.
func (t Triggers) Match(e forge.Event, changed Changed) (start bool, reason string, err error) {
	m := matcher{changed: changed}
	switch {
	case e.Kind == forge.Push && e.Push != nil:
		start = m.push(t, e)
	case e.Kind == forge.Pull && e.Pull != nil:
		start = m.pull(t, e)
	case e.Kind == forge.MergeGroup && e.Merge != nil:
		start = m.mergeGroup(t, *e.Merge)
	case e.Kind == forge.Release && e.Release != nil:
		start = m.release(t, *e.Release)
	default:
		m.missed = []string{"nothing is triggered by " + eventName(e)}
	}
	switch {
	case m.err != nil:
		return false, "", m.err
	case start:
		return true, m.matched, nil
	}
	return false, "no trigger matched: " + strings.Join(m.missed, "; "), nil
}

// matcher goes through the filters and notes what each wanted.
type matcher struct {
	changed Changed
	known   *forge.Changes
	err     error
	matched string
	missed  []string
}

func (m *matcher) miss(format string, args ...any) bool {
	if text := fmt.Sprintf(format, args...); !slices.Contains(m.missed, text) {
		m.missed = append(m.missed, text)
	}
	return false
}

func (m *matcher) push(t Triggers, e forge.Event) bool {
	branch, isBranch := strings.CutPrefix(e.Push.Ref, "refs/heads/")
	tag, isTag := strings.CutPrefix(e.Push.Ref, "refs/tags/")
	what := e.Push.Ref
	switch {
	case isBranch:
		what = "push to branch " + branch
	case isTag:
		what = "push of tag " + tag
	}
	if len(t.Push) == 0 && len(t.Pull) > 0 {
		return m.miss("only pull requests start it, got %s", what)
	}
	if len(t.Push) == 0 && len(t.Schedules) > 0 {
		return m.miss("only its schedule starts it, got %s", what)
	}
	if len(t.Push) == 0 && len(t.Release) > 0 {
		return m.miss("only releases start it, got %s", what)
	}
	if len(t.Push) == 0 && len(t.Comments) > 0 {
		return m.miss("only comments start it, got %s", what)
	}
	filters := t.Push
	if len(filters) == 0 {
		source := t.Branch
		if source == "" {
			source = e.Repo.DefaultBranch
		}
		if isBranch && branch == source {
			m.matched = what
			return true
		}
		return m.miss("branches [%s], got %s", source, strings.TrimPrefix(what, "push to branch "))
	}
	for _, f := range filters {
		if m.pushFilter(f, branch, tag, isBranch, isTag, what) {
			return true
		}
	}
	return false
}

func (m *matcher) pushFilter(f PushFilter, branch, tag string, isBranch, isTag bool, what string) bool {
	switch {
	case !f.Tags.empty():
		if !isTag || !f.Tags.Match(tag) {
			return m.miss("tags %s, got %s", f.Tags, strings.TrimPrefix(what, "push of tag "))
		}
		m.matched = what
		return true
	case !isBranch && f.Branches.empty():
		return m.miss("branches [**], got %s", what)
	case !isBranch || !f.Branches.Match(branch):
		return m.miss("branches %s, got %s", f.Branches, strings.TrimPrefix(what, "push to branch "))
	}
	return m.paths(f.Paths, what)
}

func (m *matcher) pull(t Triggers, e forge.Event) bool {
	pr := e.Pull
	if len(t.Pull) == 0 {
		return m.miss("only pushes start it, got pull request #%d", pr.Number)
	}
	event, ok := pullEvent(e)
	if !ok {
		return m.miss("pull request events [OPEN, UPDATED, CLOSED], got %s", e.Action)
	}
	for _, f := range t.Pull {
		switch {
		case len(f.Events) > 0 && !slices.Contains(f.Events, event):
			m.miss("pull request events %s, got %s (%s)", listed(f.Events), event, e.Action)
		case !f.Branches.Match(pr.BaseRef):
			m.miss("target branches %s, got %s", f.Branches, pr.BaseRef)
		case m.paths(f.Paths, fmt.Sprintf("pull request #%d %s", pr.Number, e.Action)):
			return true
		}
	}
	return false
}

// mergeGroup is passed by filters for pull requests that were opened or updated:
// the checks that these must have, the queue waits for (forges reference 2.5).
func (m *matcher) mergeGroup(t Triggers, g forge.MergeGroupSpec) bool {
	if len(t.Pull) == 0 {
		return m.miss("a merge queue starts what pull requests start, and they don't start it")
	}
	for _, f := range t.Pull {
		switch {
		case len(f.Events) > 0 && !slices.Contains(f.Events, PullOpen) && !slices.Contains(f.Events, PullUpdated):
			m.miss("pull request events %s, got a merge group", listed(f.Events))
		case !f.Branches.Match(g.BaseRef):
			m.miss("target branches %s, got %s", f.Branches, g.BaseRef)
		case m.paths(f.Paths, "merge group for "+g.BaseRef):
			return true
		}
	}
	return false
}

func (m *matcher) release(t Triggers, r forge.ReleaseSpec) bool {
	if len(t.Release) == 0 {
		return m.miss("releases don't start it, got %s", r.Tag)
	}
	for _, f := range t.Release {
		switch {
		case r.Prerelease && !f.Prereleases:
			m.miss("no prereleases, got %s", r.Tag)
		case !f.Tags.Match(r.Tag):
			m.miss("releases of tags %s, got %s", f.Tags, r.Tag)
		default:
			m.matched = "release " + r.Tag
			return true
		}
	}
	return false
}

func listed(events []PullEvent) string {
	var words []string
	for _, e := range events {
		words = append(words, string(e))
	}
	return "[" + strings.Join(words, ", ") + "]"
}

// pullEvent is an event of a pull request in the words of filters; ok is false
// for one that they don't know (CodePipeline reference 4.4).
func pullEvent(e forge.Event) (event PullEvent, ok bool) {
	switch e.Action {
	case "opened", "reopened", "ready_for_review":
		return PullOpen, true
	case "synchronize":
		return PullUpdated, true
	case "edited":
		return PullUpdated, e.Pull.BaseChanged
	case "closed":
		return PullClosed, true
	}
	return "", false
}

// paths looks at the changed files. A list that the forge cut short matches.
func (m *matcher) paths(c Criterion, what string) bool {
	if c.empty() {
		m.matched = what
		return true
	}
	if m.known == nil && m.err == nil {
		known, err := m.changed()
		m.known, m.err = &known, err
	}
	switch {
	case m.err != nil:
		return false
	case m.known.Unknown != "":
		m.matched = what + " (taken for changing " + c.String() + ": " + m.known.Unknown + ")"
		return true
	case c.Match(m.known.Paths...):
		m.matched = what + " that changes " + c.String()
		return true
	}
	return m.miss("paths %s, got %s", c, someOf(m.known.Paths))
}

// someOf names the first few files.
func someOf(files []string) string {
	const few = 3
	switch {
	case len(files) == 0:
		return "no changed files"
	case len(files) > few:
		return fmt.Sprintf("%s and %d more", strings.Join(files[:few], ", "), len(files)-few)
	}
	return strings.Join(files, ", ")
}
