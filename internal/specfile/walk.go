package specfile

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

func itoa(n int) string { return strconv.Itoa(n) }

// Errorf adds an error at n, or at 1:1 if n is nil.
func (f *File) Errorf(n *yaml.Node, code, format string, args ...any) {
	f.Report(n, Problem{Severity: Error, Code: code, Message: fmt.Sprintf(format, args...)})
}

// Warnf adds a warning at n, or at 1:1 if n is nil.
func (f *File) Warnf(n *yaml.Node, code, format string, args ...any) {
	f.Report(n, Problem{Severity: Warning, Code: code, Message: fmt.Sprintf(format, args...)})
}

// Report adds p. If n is not nil, n's position replaces that of p.
func (f *File) Report(n *yaml.Node, p Problem) {
	if n != nil {
		p.Line, p.Column = n.Line, n.Column
	}
	f.add(p)
}

// IsNull reports whether n is missing, empty, or a plain null or ~.
func IsNull(n *yaml.Node) bool {
	return n == nil || n.Kind == yaml.ScalarNode && n.Tag == "!!null"
}

// Kind is what n is, for messages: "a map", "a list", "text", "nothing".
func Kind(n *yaml.Node) string {
	switch {
	case IsNull(n):
		return "nothing"
	case n.Kind == yaml.MappingNode:
		return "a map"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	}
	return "text"
}

// Entry is one key of a map with its value. Path is where the value is, such
// as "phases.build".
type Entry struct {
	Key   string
	Path  string
	At    *yaml.Node // the key
	Value *yaml.Node
}

// Map is the entries of n in source order, with merge keys (<<) resolved. A
// key that occurs twice is an error that names both lines; the first one
// counts. A missing or empty n has no entries; anything but a map is an error.
func (f *File) Map(n *yaml.Node, path string) []Entry {
	if IsNull(n) {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		f.wrong(n, path, "a map")
		return nil
	}
	var entries []Entry
	var merges []*yaml.Node
	seen := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch first := seen[key.Value]; {
		case key.Tag == "!!merge":
			merges = append(merges, value)
		case key.Kind != yaml.ScalarNode:
			f.Report(key, Problem{Severity: Error, Code: CodeType, Message: at(path, "want text as a key, have "+Kind(key)), Hint: f.kindHint(key, "text")})
		case first != nil:
			f.Errorf(key, CodeDuplicate, "%s", at(path, fmt.Sprintf("key %q occurs twice, in lines %d and %d", key.Value, first.Line, key.Line)))
		default:
			seen[key.Value] = key
			entries = append(entries, Entry{key.Value, join(path, key.Value), key, value})
		}
	}
	for _, m := range merges {
		entries = f.merge(entries, seen, m, path)
	}
	return entries
}

// merge adds the entries of a merge key's value whose keys are not there yet.
func (f *File) merge(entries []Entry, seen map[string]*yaml.Node, value *yaml.Node, path string) []Entry {
	sources := []*yaml.Node{value}
	if value.Kind == yaml.SequenceNode {
		sources = value.Content
	}
	for _, s := range sources {
		for _, e := range f.Map(s, path) {
			if seen[e.Key] == nil {
				seen[e.Key] = e.At
				entries = append(entries, e)
			}
		}
	}
	return entries
}

// Text is the source text of a scalar: 3.10 stays 3.10 and 0644 stays 0644.
// For a missing or empty n it is "" and false without a problem; anything but
// a scalar is an error.
func (f *File) Text(n *yaml.Node, path string) (string, bool) {
	if IsNull(n) {
		return "", false
	}
	if n.Kind != yaml.ScalarNode {
		f.wrong(n, path, "text")
		return "", false
	}
	return n.Value, true
}

// Flag is a yes or no: yes, no, on, off, true, false in any case, quoted or
// not. A missing or empty n is false; anything else is an error.
func (f *File) Flag(n *yaml.Node, path string) bool {
	text, ok := f.Text(n, path)
	if !ok {
		return false
	}
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "yes", "on", "true":
		return true
	case "no", "off", "false", "":
		return false
	}
	f.Errorf(n, CodeValue, "%s: want yes or no, have %q", path, text)
	return false
}

// List is the items of n; a single value that is not a list is a list of one.
// A missing or empty n has none.
func (f *File) List(n *yaml.Node, path string) []*yaml.Node {
	switch {
	case IsNull(n):
		return nil
	case n.Kind == yaml.SequenceNode:
		return n.Content
	case n.Kind == yaml.MappingNode:
		f.wrong(n, path, "a list")
		return nil
	}
	return []*yaml.Node{n}
}

// Item is one text of a list with its position.
type Item struct {
	Text   string
	Line   int
	Column int
}

// Texts is a list of texts; a single text is a list of one. An item with
// nothing in it is left out with a warning, any other item is an error.
func (f *File) Texts(n *yaml.Node, path string) []Item {
	var items []Item
	for i, item := range f.List(n, path) {
		where := path + "[" + itoa(i) + "]"
		if IsNull(item) {
			f.Warnf(item, CodeEmpty, "%s: nothing behind the dash, the item is left out", where)
			continue
		}
		if text, ok := f.Text(item, where); ok {
			items = append(items, Item{text, item.Line, item.Column})
		}
	}
	return items
}

// Unknown warns about a key that has no meaning, with the nearest of the known
// ones as a suggestion.
func (f *File) Unknown(e Entry, known []string) {
	f.Report(e.At, f.UnknownProblem(e, known))
}

// UnknownProblem is the warning of Unknown for a caller that changes it first.
func (f *File) UnknownProblem(e Entry, known []string) Problem {
	p := Problem{Line: e.At.Line, Column: e.At.Column, Severity: Warning, Code: CodeUnknownKey, Message: "unknown key " + e.Path}
	if near := Nearest(e.Key, known); near != "" {
		p.Hint = "did you mean " + near + "?"
	}
	if strings.ContainsRune(e.Key, noBreakSpace) {
		p.Hint = "there is a no-break space in it, which is no indentation; use blanks"
	}
	return p
}

const noBreakSpace = '\u00a0'

// wrong reports a value of another kind than wanted.
func (f *File) wrong(n *yaml.Node, path, want string) {
	f.Report(n, Problem{Severity: Error, Code: CodeType, Message: at(path, "want "+want+", have "+Kind(n)), Hint: f.kindHint(n, want)})
}

func at(path, message string) string {
	if path == "" {
		return message
	}
	return path + ": " + message
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
