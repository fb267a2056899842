package pipeline

import (
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/slipway-ci/slipway/internal/cron"
	"github.com/slipway-ci/slipway/internal/specfile"
)

// Bounds on what one file may make us match; AWS's are 3 and 8.
const (
	maxFilters      = 50
	maxPatterns     = 100
	maxPatternChars = 255
)

// on reads the triggers.
func (r *reader) on(n *yaml.Node) {
	given := false
	each := func(read func(n *yaml.Node, where string)) func(specfile.Entry) {
		return func(e specfile.Entry) { given = true; r.filters(e, read) }
	}
	r.keys(n, "on", map[string]func(specfile.Entry){
		"push": each(r.pushFilter), "pull_request": each(r.pullFilter), "release": each(r.releaseFilter), "schedule": each(r.schedule),
		"comment": func(e specfile.Entry) { given = true; r.comment(e) },
	}, []string{"manual", "tag", "webhook"})
	if !given {
		r.f.Errorf(orNode(n, r.f.Root), spFilter,
			"on: want push, pull_request, release, schedule or comment, have none; without on, pushes to the source's branch start the pipeline")
	}
}

func orNode(n, fallback *yaml.Node) *yaml.Node {
	if specfile.IsNull(n) {
		return fallback
	}
	return n
}

// filters reads a list of filters, or a single one.
func (r *reader) filters(e specfile.Entry, read func(n *yaml.Node, where string)) {
	list := []*yaml.Node{e.Value}
	if e.Value.Kind != yaml.MappingNode {
		list = r.f.List(e.Value, e.Path)
	}
	if len(list) == 0 {
		r.f.Errorf(orKey(e), spFilter, "%s: want a list of filters, have nothing", e.Path)
	}
	for i, n := range list {
		if i == maxFilters {
			r.f.Errorf(n, specfile.CodeLimit, "%s: want at most %d filters", e.Path, maxFilters)
			return
		}
		read(n, indexed(e.Path, i))
	}
}

func indexed(where string, i int) string { return where + "[" + itoa(i) + "]" }

func (r *reader) pushFilter(n *yaml.Node, where string) {
	var f PushFilter
	r.keys(n, where, map[string]func(specfile.Entry){
		"branches": r.into(&f.Branches), "tags": r.into(&f.Tags), "paths": r.into(&f.Paths),
	}, []string{"new_branch", "newBranch"})
	switch {
	case specfile.IsNull(n), n.Kind == yaml.MappingNode && len(n.Content) == 0:
		r.f.Errorf(n, spFilter, "%s: an empty filter; want branches, tags or paths", where)
		return
	case !f.Tags.empty() && (!f.Branches.empty() || !f.Paths.empty()):
		r.f.Report(n, specfile.Problem{Severity: specfile.Error, Code: spFilter, Message: where + ": tags can't be combined with branches or paths", Hint: "make it two filters"})
		return
	}
	r.triggers.Push = append(r.triggers.Push, f)
}

func (r *reader) pullFilter(n *yaml.Node, where string) {
	var f PullFilter
	r.keys(n, where, map[string]func(specfile.Entry){
		"branches": r.into(&f.Branches), "paths": r.into(&f.Paths),
		"events": func(e specfile.Entry) { f.Events = r.pullEvents(e) },
	}, []string{"drafts", "forks", "labels", "authors"})
	if specfile.IsNull(n) || n.Kind == yaml.MappingNode && len(n.Content) == 0 {
		r.f.Report(n, specfile.Problem{Severity: specfile.Error, Code: spFilter, Message: where + ": an empty filter; want events, branches or paths", Hint: `for all pull requests write branches: ["**"]`})
		return
	}
	r.triggers.Pull = append(r.triggers.Pull, f)
}

func (r *reader) releaseFilter(n *yaml.Node, where string) {
	var f ReleaseFilter
	r.keys(n, where, map[string]func(specfile.Entry){
		"tags":        r.into(&f.Tags),
		"prereleases": func(e specfile.Entry) { f.Prereleases = r.f.Flag(e.Value, e.Path) },
	}, []string{"branches", "names", "drafts"})
	if specfile.IsNull(n) || n.Kind == yaml.MappingNode && len(n.Content) == 0 {
		r.f.Report(n, specfile.Problem{Severity: specfile.Error, Code: spFilter, Message: where + ": an empty filter; want tags or prereleases", Hint: `for all releases write tags: ["**"]`})
		return
	}
	r.triggers.Release = append(r.triggers.Release, f)
}

// schedule reads {cron: "0 3 * * *", tz: Europe/Berlin}.
func (r *reader) schedule(n *yaml.Node, where string) {
	var s Schedule
	zone := time.UTC
	var at *yaml.Node
	r.keys(n, where, map[string]func(specfile.Entry){
		"cron": func(e specfile.Entry) { at = orKey(e); s.Cron, _ = r.f.Text(e.Value, e.Path) },
		"tz": func(e specfile.Entry) {
			s.Zone, _ = r.f.Text(e.Value, e.Path)
			found, err := parseZone(s.Zone)
			if err != nil {
				r.f.Errorf(orKey(e), specfile.CodeValue, "%s: %s", e.Path, err)
				return
			}
			zone = found
		},
	}, []string{"branch", "variables"})
	if at == nil {
		r.f.Errorf(n, specfile.CodeMissingKey, "%s: cron is missing", where)
		return
	}
	when, err := cron.Parse(s.Cron, zone)
	if err != nil {
		r.f.Errorf(at, specfile.CodeValue, "%s.cron: %s", where, err)
		return
	}
	if _, ok := when.Next(time.Unix(0, 0)); !ok {
		r.f.Errorf(at, specfile.CodeValue, "%s.cron: there is no such time", where)
		return
	}
	r.triggers.Schedules = append(r.triggers.Schedules, s)
}

func (r *reader) pullEvents(e specfile.Entry) []PullEvent {
	var events []PullEvent
	for _, item := range r.f.Texts(e.Value, e.Path) {
		switch item.Text {
		case "open":
			events = append(events, PullOpen)
		case "updated":
			events = append(events, PullUpdated)
		case "closed":
			events = append(events, PullClosed)
		default:
			r.f.Report(nil, specfile.Problem{Line: item.Line, Column: item.Column, Severity: specfile.Error, Code: specfile.CodeValue,
				Message: e.Path + ": want open, updated or closed, have " + quotedText(item.Text)})
		}
	}
	return events
}

// into reads patterns; those that begin with ! are excludes.
func (r *reader) into(c *Criterion) func(specfile.Entry) {
	return func(e specfile.Entry) {
		items := r.f.Texts(e.Value, e.Path)
		if len(items) == 0 {
			r.f.Errorf(orKey(e), spFilter, "%s: want patterns, have none", e.Path)
		}
		if len(items) > maxPatterns {
			r.f.Errorf(e.Value, specfile.CodeLimit, "%s: want at most %d patterns, have %d", e.Path, maxPatterns, len(items))
			items = items[:maxPatterns]
		}
		for i, item := range items {
			r.pattern(c, indexed(e.Path, i), item)
		}
	}
}

func (r *reader) pattern(c *Criterion, where string, item specfile.Item) {
	at := specfile.Problem{Line: item.Line, Column: item.Column, Severity: specfile.Error, Code: spFilter}
	text, exclude := strings.CutPrefix(item.Text, "!")
	if text == "" || len([]rune(text)) > maxPatternChars {
		at.Message = where + ": want a pattern of 1 to 255 characters"
		r.f.Report(nil, at)
		return
	}
	if _, err := glob(text); err != nil {
		at.Message = where + ": " + err.Error()
		r.f.Report(nil, at)
		return
	}
	if exclude {
		c.Excludes = append(c.Excludes, text)
		return
	}
	if name, ok := strings.CutPrefix(text, "**/"); ok && strings.HasSuffix(where[:strings.LastIndexByte(where, '[')], "paths") && !strings.Contains(name, "/") {
		at.Severity = specfile.Warning
		at.Message, at.Hint = where+": a file at the root of the repository doesn't match "+quotedText(text), "add "+quotedText(name)
		r.f.Report(nil, at)
	}
	c.Includes = append(c.Includes, text)
}

func quotedText(s string) string { return `"` + cutBytes(s, 120) + `"` }
