package appspec

import (
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"go.yaml.in/yaml/v4"

	"github.com/slipway-ci/slipway/internal/specfile"
)

// Permission says who owns, and who may do what with, what a deployment
// copied or created below Object.
type Permission struct {
	Object  string // as written but for blanks
	Pattern string // ** if the file does not say
	Except  []string
	Files   bool // type includes file
	Dirs    bool // type includes directory
	Owner   string
	Group   string
	Mode    *fs.FileMode // nil leaves it
	ACLs    []ACE
	Context *Context
	// IncludeSelf applies it to the folder Object too; an addition of ours.
	IncludeSelf  bool
	Line, Column int
}

var permissionKeys = []string{"object", "pattern", "except", "type", "owner", "group", "mode", "acls", "context", "include_self"}

func (p *parser) permissions(n *yaml.Node) {
	items := p.list(n, "permissions", "PERM_SHAPE", "start each entry with a dash: - object: ...")
	if len(items) > 0 && p.spec.OS == "windows" {
		p.Errorf(n, "PERM_WINDOWS", "permissions: supported on linux only")
		return
	}
	for i, item := range items {
		where := fmt.Sprintf("permissions[%d]", i)
		if item.Kind != yaml.MappingNode {
			p.Errorf(item, "PERM_OBJECT", "%s: want a map with object, have %s", where, specfile.Kind(item))
			continue
		}
		p.spec.Permissions = append(p.spec.Permissions, p.permission(item, where))
	}
}

func (p *parser) permission(item *yaml.Node, where string) Permission {
	entries := p.Map(item, where)
	for _, e := range entries {
		if !slices.Contains(permissionKeys, e.Key) {
			p.Unknown(e, permissionKeys)
		}
	}
	m := byKey(entries)
	text := func(key string) string {
		s, _ := p.Text(m[key].Value, where+"."+key)
		return strings.TrimSpace(s)
	}
	r := Permission{Object: text("object"), Pattern: text("pattern"), Owner: text("owner"), Group: text("group"), Line: item.Line, Column: item.Column}
	if r.Object == "" {
		p.Errorf(item, "PERM_OBJECT", "%s: a permission without an object", where)
	}
	if r.Pattern == "" {
		r.Pattern = "**"
	}
	for _, n := range p.list(m["except"].Value, where+".except", "PERM_EXCEPT", "write [...] round it") {
		s, _ := p.Text(n, where+".except")
		r.Except = append(r.Except, s)
	}
	r.Files, r.Dirs = p.types(m["type"].Value, where+".type")
	r.Mode = p.mode(m["mode"].Value, where+".mode")
	for _, n := range p.list(m["acls"].Value, where+".acls", "PERM_ACE", "write [...] round it") {
		r.ACLs = append(r.ACLs, p.ace(n, where+".acls")...)
	}
	r.Context = p.context(m["context"].Value, where+".context")
	r.IncludeSelf = p.Flag(m["include_self"].Value, where+".include_self")
	return r
}

// types reads which of files and folders an entry is for; both by default.
func (p *parser) types(n *yaml.Node, where string) (files, dirs bool) {
	if specfile.IsNull(n) {
		return true, true
	}
	for _, item := range p.list(n, where, "PERM_TYPE", "write [...] round it") {
		switch text, _ := p.Text(item, where); text {
		case "file":
			files = true
		case "directory":
			dirs = true
		default:
			p.Errorf(item, "PERM_TYPE", "%s: unsupported object type %q: want file or directory", where, text)
		}
	}
	return files, dirs
}

// mode reads up to 4 octal digits from the source text, so that 0644 without
// quotes means what its author wrote (reference 1.10).
func (p *parser) mode(n *yaml.Node, where string) *fs.FileMode {
	text, ok := p.Text(n, where)
	if !ok {
		return nil
	}
	digits := strings.TrimSpace(text)
	if n.Style == 0 {
		digits = strings.TrimPrefix(digits, "0o")
	}
	mode, code, message := ParseMode(digits)
	if code != "" {
		p.Errorf(n, code, "%s: %s", where, message)
		return nil
	}
	if n.Style == 0 && len(text) > 1 && text[0] == '0' {
		p.report(n, specfile.Warning, "PERM_MODE_OCTAL", fmt.Sprintf("%s: %s is applied as written; AWS reads it as an octal number and applies another mode or refuses it", where, text), "quote it")
	}
	return &mode
}

// ParseMode reads 1 to 4 octal digits as chmod does. If they are none, code
// and message say so.
func ParseMode(digits string) (mode fs.FileMode, code, message string) {
	if len(digits) < 1 || len(digits) > 4 {
		return 0, "PERM_MODE_LEN", fmt.Sprintf("%q has %d characters: want 1 to 4", digits, len(digits))
	}
	for _, c := range digits {
		if c < '0' || c > '7' {
			return 0, "PERM_MODE_CHAR", fmt.Sprintf("invalid character %q in %q: want digits 0 to 7", c, digits)
		}
	}
	n, err := strconv.ParseUint(digits, 8, 32)
	if err != nil {
		return 0, "PERM_MODE_CHAR", err.Error()
	}
	mode = fs.FileMode(n & 0o777)
	for bit, flag := range map[uint64]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if n&bit != 0 {
			mode |= flag
		}
	}
	return mode, "", ""
}

// Matches reports whether the entry is for name, a path relative to Object.
// A pattern without a slash is for direct children and knows * only, as the
// agent has it; one with a slash (which never matches there) goes any depth
// with *, ?, [] and **. The pattern ** alone is for everything.
func (r Permission) Matches(name string) bool {
	if r.Pattern != "**" && !matches(r.Pattern, name) {
		return false
	}
	return !slices.ContainsFunc(r.Except, func(e string) bool { return matches(e, name) })
}

func matches(pattern, name string) bool {
	if strings.Contains(pattern, "/") {
		return doublestar.MatchUnvalidated(pattern, name)
	}
	return !strings.Contains(name, "/") && matchStars(pattern, name)
}

// matchStars matches a pattern in which only * is special.
func matchStars(pattern, name string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == name
	}
	first, last := parts[0], parts[len(parts)-1]
	if len(name) < len(first)+len(last) || !strings.HasPrefix(name, first) || !strings.HasSuffix(name, last) {
		return false
	}
	name = name[len(first) : len(name)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(name, part)
		if i < 0 {
			return false
		}
		name = name[i+len(part):]
	}
	return true
}
