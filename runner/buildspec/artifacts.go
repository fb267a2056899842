package buildspec

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/slipway-ci/slipway/internal/specfile"
)

const (
	maxSecondary    = 12
	maxReports      = 5
	maxFallbackKeys = 5
)

// identifier is the form of artifact and batch identifiers: no dashes, fewer
// than 128 characters.
var identifier = regexp.MustCompile(`^[A-Za-z0-9_]{1,127}$`)

var errIdentifier = errors.New("want letters, digits and underscores, fewer than 128")

var (
	artifactKeys = []string{"files", "name", "discard-paths", "base-directory", "exclude-paths", "enable-symlinks", "s3-prefix", "secondary-artifacts"}
	cacheKeys    = []string{"key", "fallback-keys", "action", "paths", "save-on-failure"}
	reportKeys   = []string{"files", "file-format", "base-directory", "discard-paths", "fail-on"}
)

// artifacts reads the artifacts block, or one of secondary-artifacts.
func (p *parser) artifacts(e specfile.Entry, primary bool) *Artifacts {
	if specfile.IsNull(e.Value) || !p.isMap(e, "put the files under "+e.Path+".files") {
		return nil
	}
	a := &Artifacts{Line: e.At.Line}
	for _, k := range p.Map(e.Value, e.Path) {
		switch k.Key {
		case "files":
			a.Files = p.texts(k)
		case "name":
			a.Name = p.text(k)
		case "discard-paths":
			a.DiscardPaths = p.Flag(k.Value, k.Path)
		case "base-directory":
			a.BaseDirectory = p.text(k)
		case "exclude-paths":
			a.ExcludePaths = p.texts(k)
		case "enable-symlinks":
			a.EnableSymlinks = p.Flag(k.Value, k.Path)
		case "s3-prefix":
			a.S3Prefix = p.text(k)
			p.idle(k)
		case "type":
			if p.spec.Version != "0.1" {
				p.Report(k.At, warning(CodeDeprecated, k.Path+" has no effect in version 0.2", ""))
			}
		case "secondary-artifacts":
			if !primary {
				p.unknown(k, artifactKeys...)
				continue
			}
			a.Secondary = p.secondary(k)
		default:
			p.unknown(k, artifactKeys...)
		}
	}
	if len(a.Files) == 0 {
		hint := "list the files to keep"
		if len(a.Secondary) > 0 {
			hint += "; only an action with several outputs needs none"
		}
		p.doubtful(e.At, warning(CodeNoFiles, e.Path+".files: missing, collecting the artifacts will fail: no definition for primary artifacts in buildspec", hint))
	}
	return a
}

func (p *parser) secondary(e specfile.Entry) []Artifacts {
	var all []Artifacts
	for _, k := range p.Map(e.Value, e.Path) {
		if !identifier.MatchString(k.Key) {
			p.bad(k.At, k.Path, errIdentifier)
		}
		a := p.artifacts(k, false)
		if a == nil && specfile.IsNull(k.Value) {
			p.doubtful(k.At, warning(specfile.CodeEmpty, k.Path+": nothing in it", ""))
		}
		if a == nil {
			continue
		}
		a.ID = k.Key
		all = append(all, *a)
	}
	if len(all) > maxSecondary {
		p.Errorf(e.At, specfile.CodeLimit, "%s: want at most %d, have %d", e.Path, maxSecondary, len(all))
	}
	return all
}

func (p *parser) cache(e specfile.Entry) *Cache {
	if specfile.IsNull(e.Value) || !p.isMap(e, "put the paths under cache.paths") {
		return nil
	}
	c := &Cache{Line: e.At.Line}
	for _, k := range p.Map(e.Value, e.Path) {
		switch k.Key {
		case "key":
			c.Key = p.text(k)
		case "fallback-keys":
			c.FallbackKeys = p.texts(k)
			if n := len(c.FallbackKeys); n > maxFallbackKeys {
				p.Errorf(k.At, specfile.CodeLimit, "%s: want at most %d, have %d", k.Path, maxFallbackKeys, n)
			}
		case "action":
			c.Action = p.cacheAction(k)
		case "paths":
			c.Paths = p.texts(k)
		case "save-on-failure":
			c.SaveOnFailure = p.Flag(k.Value, k.Path)
		default:
			p.unknown(k, cacheKeys...)
		}
	}
	if len(c.FallbackKeys) > 0 && c.Key == "" {
		p.doubtful(e.At, warning(specfile.CodeMissingKey, e.Path+".fallback-keys has no effect without key", ""))
	}
	return c
}

func (p *parser) cacheAction(e specfile.Entry) CacheAction {
	text := p.text(e)
	switch action := CacheAction(strings.ToLower(text)); action {
	case Both, Restore, Save:
		return action
	case "both":
		return Both
	}
	p.bad(e.Value, e.Path, fmt.Errorf("want restore or save, have %q", text))
	return Both
}

func (p *parser) reports(e specfile.Entry) {
	groups := p.Map(e.Value, e.Path)
	if len(groups) > maxReports {
		p.Errorf(e.At, specfile.CodeLimit, "%s: want at most %d report groups, have %d", e.Path, maxReports, len(groups))
	}
	for _, g := range groups {
		p.spec.Reports = append(p.spec.Reports, p.report(g))
	}
}

func (p *parser) report(e specfile.Entry) Report {
	r := Report{Group: e.Key, Format: JUnitXML, Line: e.At.Line}
	for _, k := range p.Map(e.Value, e.Path) {
		switch k.Key {
		case "files":
			r.Files = p.texts(k)
		case "file-format":
			r.Format = p.format(k)
		case "base-directory":
			r.BaseDirectory = p.text(k)
		case "discard-paths":
			r.DiscardPaths = p.Flag(k.Value, k.Path)
		case "fail-on":
			r.FailOn = p.failOn(k)
		default:
			p.unknown(k, reportKeys...)
		}
	}
	if len(r.Files) == 0 {
		p.doubtful(e.At, warning(specfile.CodeMissingKey, e.Path+".files: missing, the report will be incomplete", "list the report files"))
	}
	return r
}

func (p *parser) format(e specfile.Entry) Format {
	text := p.text(e)
	f := Format(strings.ToUpper(strings.TrimSpace(text)))
	if f == "" {
		return JUnitXML
	}
	if !slices.Contains(Formats, f) {
		var names []string
		for _, known := range Formats {
			names = append(names, string(known))
		}
		problem := specfile.Problem{Severity: specfile.Error, Message: fmt.Sprintf("%s: want one of %s, have %q", e.Path, strings.Join(names, ", "), text)}
		if near := specfile.Nearest(text, names); near != "" {
			problem.Hint = "did you mean " + near + "?"
		}
		p.Report(e.Value, problem)
	}
	return f
}

var failOnCoverage = regexp.MustCompile(`^coverage\s*<\s*(\d{1,3}(?:\.\d+)?)\s*%?$`)

func (p *parser) failOn(e specfile.Entry) FailOn {
	var f FailOn
	for _, item := range p.Texts(e.Value, e.Path) {
		m := failOnCoverage.FindStringSubmatch(item.Text)
		switch {
		case item.Text == "failed":
			f.Failed = true
		case item.Text == "error":
			f.Errors = true
		case m != nil:
			f.CoverageBelow, _ = strconv.ParseFloat(m[1], 64) // the pattern admits numbers only
		default:
			p.bad(e.Value, e.Path, fmt.Errorf("want failed, error or coverage<percent, have %q", item.Text))
		}
	}
	return f
}
