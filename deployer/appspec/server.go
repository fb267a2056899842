package appspec

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"go.yaml.in/yaml/v4"

	"github.com/slipway-ci/slipway/internal/specfile"
)

var (
	topKeys    = []string{"version", "os", "files", "file_exists_behavior", "permissions", "hooks"}
	fileKeys   = []string{"source", "destination", "destination_file", "exclude"}
	scriptKeys = []string{"location", "timeout", "runas", "sudo", "args", "env"}
)

type parser struct {
	*specfile.File
	options Options
	spec    *Spec
}

// fields are the entries of one map by key.
type fields map[string]specfile.Entry

func byKey(entries []specfile.Entry) fields {
	m := make(fields, len(entries))
	for _, e := range entries {
		m[e.Key] = e
	}
	return m
}

// report adds a problem with a hint.
func (p *parser) report(n *yaml.Node, severity specfile.Severity, code, message, hint string) {
	p.Report(n, specfile.Problem{Severity: severity, Code: code, Message: message, Hint: hint})
}

// refuseTags reports custom tags such as !ruby/object, which the agent refuses
// too. Aliases are gone from the tree, and their number is limited.
func (p *parser) refuseTags(n *yaml.Node) {
	if strings.HasPrefix(n.Tag, "!") && !strings.HasPrefix(n.Tag, "!!") && n.Tag != "!" {
		p.Errorf(n, "APPSPEC_YAML", "the tag %s is not allowed", n.Tag)
	}
	for _, c := range n.Content {
		p.refuseTags(c)
	}
}

// file decides by content what the file is for and reads it.
func (p *parser) file() {
	entries := p.Map(p.Root, "")
	_, resources := field(entries, "resources")
	if _, os := byKey(entries)["os"]; resources && !os {
		p.service(entries)
		return
	}
	p.server(entries)
}

func (p *parser) server(entries []specfile.Entry) {
	top := byKey(entries)
	p.version(top)
	p.os(top)
	p.behavior(top)
	p.files(top["files"].Value)
	p.permissions(top["permissions"].Value)
	p.hooks(top["hooks"].Value)
	for _, e := range entries {
		if !slices.Contains(topKeys, e.Key) {
			p.extraKey(e, top)
		}
	}
}

// version must be the number 0, however written. The agent refuses text.
func (p *parser) version(top fields) {
	n := top["version"].Value
	if n != nil && n.Kind == yaml.ScalarNode && n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 {
		p.report(n, specfile.Error, "APPSPEC_VERSION", fmt.Sprintf("invalid version %q: want the number 0.0", n.Value), "remove the quotes")
		return
	}
	text, ok := p.Text(n, "version")
	if v, err := strconv.ParseFloat(text, 64); ok && err == nil && v == 0 {
		return
	}
	hint := ""
	if text == "" {
		hint = "there is none; write version: 0.0 in the first line"
	}
	if _, is := top["applicationName"]; is {
		hint = "this looks like input of aws deploy create-deployment, not like an appspec"
	}
	if n == nil || n.Kind == yaml.ScalarNode {
		p.report(n, specfile.Error, "APPSPEC_VERSION", fmt.Sprintf("invalid version %q: want 0.0", text), hint)
	}
}

func (p *parser) os(top fields) {
	n := top["os"].Value
	text, _ := p.Text(n, "os")
	switch {
	case text != "linux" && text != "windows":
		if n == nil || n.Kind == yaml.ScalarNode {
			p.Errorf(n, "APPSPEC_OS", "unsupported operating system %q: want linux or windows", text)
		}
	case p.options.Platform != "" && p.options.Platform != text:
		p.Errorf(n, "APPSPEC_OS", "unsupported operating system %q: this host has %s", text, p.options.Platform)
	}
	p.spec.OS = text
}

func (p *parser) behavior(top fields) {
	e := top["file_exists_behavior"]
	text, ok := p.Text(e.Value, e.Path)
	if !ok {
		return
	}
	if !slices.Contains(Behaviors, text) {
		p.Errorf(e.Value, "APPSPEC_FEB", "invalid file_exists_behavior %q: want DISALLOW, OVERWRITE or RETAIN", text)
		return
	}
	p.spec.FileExistsBehavior = text
}

// list is the items of n, which must be a list or nothing.
func (p *parser) list(n *yaml.Node, name, code, hint string) []*yaml.Node {
	if specfile.IsNull(n) {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		p.report(n, specfile.Error, code, fmt.Sprintf("%s: want a list, have %s", name, specfile.Kind(n)), hint)
		return nil
	}
	return n.Content
}

func (p *parser) files(n *yaml.Node) {
	for i, item := range p.list(n, "files", "FILES_SHAPE", "start each entry with a dash: - source: ...") {
		p.mapping(item, fmt.Sprintf("files[%d]", i))
	}
}

func (p *parser) mapping(item *yaml.Node, where string) {
	if item.Kind != yaml.MappingNode {
		p.Errorf(item, "FILES_SOURCE", "%s: want a map with source and destination, have %s", where, specfile.Kind(item))
		return
	}
	entries := p.Map(item, where)
	for _, e := range entries {
		p.fileKey(e)
	}
	m := byKey(entries)
	source, hasSource := p.Text(m["source"].Value, where+".source")
	destination, _ := p.Text(m["destination"].Value, where+".destination")
	destination = strings.TrimSpace(destination)
	switch {
	case !hasSource:
		p.report(item, specfile.Error, "FILES_SOURCE", fmt.Sprintf("%s: the destination %q has no source", where, destination), splitItem(entries))
		return
	case destination == "":
		p.report(item, specfile.Error, "FILES_DEST", fmt.Sprintf("%s: the source %q has no destination", where, source), splitItem(entries))
		return
	}
	clean, ok := p.inBundle(source)
	if !ok {
		p.Errorf(m["source"].Value, "FILES_SOURCE", "%s.source: %q leaves the revision", where, source)
		return
	}
	p.checkPaths(m, where, clean, destination)
	f := File{Source: clean, Destination: destination, Line: item.Line, Column: item.Column}
	f.Name, f.Exclude = p.rename(m["destination_file"]), p.exclude(m["exclude"])
	p.spec.Files = append(p.spec.Files, f)
}

// rename is a name for a single file.
func (p *parser) rename(e specfile.Entry) string {
	name, ok := p.Text(e.Value, e.Path)
	if ok && (name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\\\x00")) {
		p.Errorf(e.Value, "FILES_DEST", "%s: want the name of a file, without a folder, have %q", e.Path, name)
	}
	return name
}

// maxExcludes bounds the patterns of one entry.
const maxExcludes = 100

func (p *parser) exclude(e specfile.Entry) []string {
	var patterns []string
	for i, item := range p.Texts(e.Value, e.Path) {
		pattern := path.Clean(strings.TrimPrefix(item.Text, "/"))
		at := specfile.Problem{Line: item.Line, Column: item.Column, Severity: specfile.Error, Code: "FILES_EXCLUDE"}
		switch {
		case i == maxExcludes:
			at.Message = fmt.Sprintf("%s: want at most %d patterns", e.Path, maxExcludes)
			p.Report(nil, at)
			return patterns
		case item.Text == "" || pattern == "." || !doublestar.ValidatePattern(pattern):
			at.Message = fmt.Sprintf("%s[%d]: %q is no pattern such as **/*.map", e.Path, i, item.Text)
			p.Report(nil, at)
		default:
			patterns = append(patterns, pattern)
		}
	}
	return patterns
}

// checkPaths warns of what CodeDeploy takes otherwise, and of what is taken
// literally though hardly meant so.
func (p *parser) checkPaths(m fields, where, source, destination string) {
	if IsPattern(source) {
		p.Warnf(m["source"].Value, "FILES_GLOB", "%s.source: unless a file has this very name, %q is a pattern; CodeDeploy's agent has none", where, source)
	}
	if p.spec.OS != "linux" {
		return
	}
	switch {
	case strings.HasPrefix(destination, "~"), strings.Contains(destination, "$"):
		p.Warnf(m["destination"].Value, "FILES_DEST", "%s.destination: neither ~ nor variables are expanded in %q", where, destination)
	case !path.IsAbs(destination):
		p.Warnf(m["destination"].Value, "FILES_DEST", "%s.destination: want an absolute path, %q is taken as /%s", where, destination, path.Clean(destination))
	}
}

// fileKey warns of keys that have no meaning within an entry of files.
func (p *parser) fileKey(e specfile.Entry) {
	switch {
	case slices.Contains(fileKeys, e.Key):
	case e.Key == "overwrite", e.Key == "file_exists_behavior":
		p.report(e.At, specfile.Warning, "KEY_UNKNOWN", e.Path+" has no meaning here",
			"to replace files that exist already write file_exists_behavior: OVERWRITE at the top level")
	default:
		p.Unknown(e, fileKeys)
	}
}

// inBundle is a path of the author as one relative to the root of the
// revision, and false if it leaves it. A leading slash means that root.
func (p *parser) inBundle(text string) (string, bool) {
	if p.spec.OS == "windows" {
		text = strings.ReplaceAll(text, `\`, "/")
	}
	clean := path.Clean(strings.TrimLeft(text, "/"))
	return clean, clean != ".." && !strings.HasPrefix(clean, "../")
}

func (p *parser) hooks(n *yaml.Node) {
	if !specfile.IsNull(n) && n.Kind != yaml.MappingNode {
		p.report(n, specfile.Error, "HOOK_SHAPE", "hooks: want a map of lifecycle events, have "+specfile.Kind(n), "write each event as a key without a dash")
		return
	}
	for _, e := range p.Map(n, "hooks") {
		p.event(e)
	}
}

// event reads the scripts of one event. Those of an unknown event are checked
// too: the agent fails on their shape although it never runs them.
func (p *parser) event(e specfile.Entry) {
	scripts, ok := p.scripts(e)
	switch {
	case slices.Contains(reserved, e.Key):
		p.Warnf(e.At, "HOOK_RESERVED", "%s: this event belongs to CodeDeploy, its scripts never run", e.Path)
	case slices.Contains(Events, e.Key), slices.Contains(p.options.Events, e.Key):
		if ok && len(scripts) > 0 {
			p.spec.Hooks[e.Key] = scripts
		}
	default:
		p.unknown(e, "HOOK_UNKNOWN", "unknown lifecycle event "+e.Key+", its scripts never run", Events)
	}
}

func (p *parser) scripts(e specfile.Entry) ([]Script, bool) {
	if specfile.IsNull(e.Value) {
		return nil, true
	}
	if e.Value.Kind != yaml.SequenceNode {
		hint := "write - location: ... below it"
		if slices.Contains(scriptKeys, e.Key) {
			hint = "indent it like the location that it belongs to"
		}
		p.report(e.Value, specfile.Error, "HOOK_SHAPE", e.Path+": want a list of scripts, have "+specfile.Kind(e.Value), hint)
		return nil, false
	}
	var scripts []Script
	ok := true
	for i, item := range e.Value.Content {
		s, good := p.script(item, fmt.Sprintf("%s[%d]", e.Path, i))
		ok = ok && good
		scripts = append(scripts, s)
	}
	return scripts, ok
}

func (p *parser) script(item *yaml.Node, where string) (Script, bool) {
	s := Script{Timeout: DefaultTimeout, Line: item.Line, Column: item.Column}
	if item.Kind != yaml.MappingNode {
		p.report(item, specfile.Error, "HOOK_SHAPE", where+": want a map with location, have "+specfile.Kind(item), "write - location: ...")
		return s, false
	}
	entries := p.Map(item, where)
	for _, e := range entries {
		if !slices.Contains(scriptKeys, e.Key) {
			p.scriptKey(e)
		}
	}
	m := byKey(entries)
	location, _ := p.Text(m["location"].Value, where+".location")
	location = strings.TrimSpace(location)
	if location == "" {
		p.report(item, specfile.Error, "HOOK_LOCATION", where+": a script without a location", splitItem(entries))
		return s, false
	}
	var inside bool
	if s.Location, inside = p.inBundle(location); !inside {
		p.Errorf(m["location"].Value, "HOOK_LOCATION", "%s.location: %q leaves the revision", where, location)
		return s, false
	}
	if strings.Contains(location, " -") {
		p.report(m["location"].Value, specfile.Warning, "HOOK_LOCATION", fmt.Sprintf("%s.location: %q is looked up as the name of a file", where, location), "arguments go into args, a list")
	}
	s.RunAs, _ = p.Text(m["runas"].Value, where+".runas")
	s.RunAs = strings.TrimSpace(s.RunAs)
	if s.RunAs != "" && p.spec.OS == "windows" {
		p.Warnf(m["runas"].Value, "HOOK_RUNAS", "%s.runas has no effect on windows", where)
	}
	s.Sudo = p.Flag(m["sudo"].Value, where+".sudo")
	for _, a := range p.list(m["args"].Value, where+".args", "HOOK_SHAPE", "") {
		text, _ := p.Text(a, where+".args")
		s.Args = append(s.Args, text)
	}
	for _, e := range p.Map(m["env"].Value, where+".env") {
		text, _ := p.Text(e.Value, e.Path)
		s.Env = append(s.Env, e.Key+"="+text)
	}
	return s, p.timeout(m["timeout"].Value, where+".timeout", &s)
}

// scriptKey warns of an unknown key of a script.
func (p *parser) scriptKey(e specfile.Entry) {
	if slices.Contains([]string{"run", "command", "commands", "script", "interpreter"}, e.Key) {
		p.report(e.At, specfile.Warning, "KEY_UNKNOWN", "unknown key "+e.Path, "commands go into a script of the revision, named by location")
		return
	}
	p.Unknown(e, scriptKeys)
}

// timeout reads whole seconds in decimal; 90s, 5m and 1h are an addition.
func (p *parser) timeout(n *yaml.Node, where string, s *Script) bool {
	text, ok := p.Text(n, where)
	if !ok {
		return specfile.IsNull(n)
	}
	text = strings.TrimSpace(text)
	seconds, err := strconv.ParseInt(text, 10, 32)
	d := time.Duration(seconds) * time.Second
	if err != nil {
		d, err = time.ParseDuration(text)
	}
	if err != nil || d <= 0 || d%time.Second != 0 || strings.ContainsAny(text, "+.") {
		p.Errorf(n, "HOOK_TIMEOUT", "%s: invalid timeout %q: want whole seconds above 0", where, text)
		return false
	}
	switch {
	case d > DefaultTimeout:
		p.Warnf(n, "HOOK_TIMEOUT", "%s: AWS ends a lifecycle event after 3600 seconds", where)
	case len(text) > 1 && text[0] == '0' && err == nil && n.Style == 0:
		p.Warnf(n, "HOOK_TIMEOUT", "%s: %s means %s here, AWS reads it as an octal number", where, text, d)
	}
	s.Timeout = d
	return true
}

// extraKey deals with a key of the top level that should not be there: scripts
// of a lifecycle event count as if they stood under hooks (reference 1.11).
func (p *parser) extraKey(e specfile.Entry, top fields) {
	if strings.EqualFold(e.Key, "resources") {
		p.Warnf(e.At, "APPSPEC_KIND", "%s is for ECS or Lambda, the os in line %d for servers: it is ignored", e.Key, top["os"].At.Line)
		return
	}
	if inner, ok := byKey(p.Map(onlyMap(e.Value), e.Key))["file_exists_behavior"]; ok && e.Key != "hooks" {
		p.report(inner.At, specfile.Warning, "KEY_UNKNOWN", inner.Path+" has no meaning here", "write file_exists_behavior at the top level")
		return
	}
	if p.options.AWS || !slices.Contains(Events, e.Key) || !hasLocations(e.Value) {
		p.unknown(e, "KEY_UNKNOWN", "unknown key "+e.Key+", it is ignored", append(slices.Clone(topKeys), Events...))
		return
	}
	for _, h := range p.Map(onlyMap(top["hooks"].Value), "hooks") {
		if h.Key == e.Key {
			p.Errorf(e.At, "HOOK_AMBIGUOUS", "%s stands at the top level and, in line %d, under hooks: want one of them", e.Key, h.At.Line)
			return
		}
	}
	p.report(e.At, specfile.Warning, "HOOK_HOISTED",
		fmt.Sprintf("%s stands at the top level, lines %d to %d: taken as if under hooks", e.Key, e.At.Line, lastLine(e.Value)),
		"indent it below hooks:; AWS would never run these scripts")
	p.event(e)
}

// splitItem is a hint for an item of one key that should have had several.
func splitItem(entries []specfile.Entry) string {
	if len(entries) != 1 || entries[0].Key == "location" {
		return ""
	}
	return "if " + entries[0].Key + " belongs to the item next to it, only the first key of an item has a dash"
}

func onlyMap(n *yaml.Node) *yaml.Node {
	if n != nil && n.Kind == yaml.MappingNode {
		return n
	}
	return nil
}

// hasLocations reports whether n is a list of maps that have a location.
func hasLocations(n *yaml.Node) bool {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		return false
	}
	for _, item := range n.Content {
		has := false
		for i := 0; item.Kind == yaml.MappingNode && i < len(item.Content); i += 2 {
			has = has || item.Content[i].Value == "location"
		}
		if !has {
			return false
		}
	}
	return true
}

func lastLine(n *yaml.Node) int {
	last := n.Line
	for _, c := range n.Content {
		last = max(last, lastLine(c))
	}
	return last
}

// unknown warns of a key that means nothing; one that is nearly right gets the
// code KEY_TYPO.
func (p *parser) unknown(e specfile.Entry, code, message string, known []string) {
	hint := ""
	if near := specfile.Nearest(e.Key, known); near != "" {
		code, hint = "KEY_TYPO", "did you mean "+near+"?"
	}
	p.report(e.At, specfile.Warning, code, message, hint)
}
