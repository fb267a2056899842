package appspec

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/slipway-ci/slipway/internal/specfile"
)

// Context is the SELinux context of a permission.
type Context struct {
	User  string
	Type  string
	Range *Range // nil if the file has none
}

// Range is an SELinux security range.
type Range struct {
	Low, High  int
	Categories []int // ascending
	text       string
}

// String is the range as its author wrote it.
func (r Range) String() string { return r.text }

var contextKeys = []string{"name", "user", "type", "range"}

// context reads the SELinux context. The agent reads the user under name, the
// documentation calls it user: both count (reference 1.6).
func (p *parser) context(n *yaml.Node, where string) *Context {
	if specfile.IsNull(n) {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		p.Errorf(n, "PERM_CONTEXT_TYPE", "%s: want a map with type, have %s", where, specfile.Kind(n))
		return nil
	}
	entries := p.Map(n, where)
	for _, e := range entries {
		if !slices.Contains(contextKeys, e.Key) {
			p.Unknown(e, contextKeys)
		}
	}
	m := byKey(entries)
	text := func(key string) string {
		s, _ := p.Text(m[key].Value, where+"."+key)
		return strings.TrimSpace(s)
	}
	c := &Context{User: text("name"), Type: text("type")}
	if c.User == "" {
		c.User = text("user")
	}
	if c.Type == "" {
		p.Errorf(n, "PERM_CONTEXT_TYPE", "%s: a context without a type", where)
	}
	if r := m["range"].Value; !specfile.IsNull(r) {
		parsed, err := ParseRange(text("range"))
		if err != nil {
			p.Errorf(r, "PERM_RANGE", "%s.range: %v", where, err)
		}
		c.Range = &parsed
	}
	return c
}

var (
	levels   = regexp.MustCompile(`^s(\d{1,4})(?:-s(\d{1,4}))?$`)
	category = regexp.MustCompile(`^c(\d{1,4})(?:\.c(\d{1,4}))?$`)
)

const maxCategory = 1023

// ParseRange reads s<low>[-s<high>][:<category>,...], a category being cN or
// cN.cM.
func ParseRange(text string) (Range, error) {
	part, categories, more := strings.Cut(text, ":")
	m := levels.FindStringSubmatch(part)
	if m == nil {
		return Range{}, fmt.Errorf("invalid sensitivity %q: want s0 or s0-s1", part)
	}
	r := Range{text: text}
	r.Low, r.High = span(m)
	if r.High < r.Low {
		return Range{}, fmt.Errorf("invalid sensitivity %q: the second level is below the first", part)
	}
	if !more {
		return r, nil
	}
	for c := range strings.SplitSeq(categories, ",") {
		m := category.FindStringSubmatch(c)
		if m == nil {
			return Range{}, fmt.Errorf("invalid category %q: want c0 or c0.c3", c)
		}
		low, high := span(m)
		if high < low || high > maxCategory {
			return Range{}, fmt.Errorf("invalid category %q: want ascending numbers up to %d", c, maxCategory)
		}
		for n := low; n <= high; n++ {
			if slices.Contains(r.Categories, n) {
				return Range{}, fmt.Errorf("duplicate category c%d", n)
			}
			r.Categories = append(r.Categories, n)
		}
	}
	slices.Sort(r.Categories)
	return r, nil
}

// span is the two numbers of a match; a missing second one equals the first.
func span(m []string) (low, high int) {
	low, _ = strconv.Atoi(m[1]) // at most 4 digits
	if m[2] == "" {
		return low, low
	}
	high, _ = strconv.Atoi(m[2])
	return low, high
}
