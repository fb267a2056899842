package specfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

const (
	// DefaultMaxBytes is the size limit of a file unless Options say otherwise.
	DefaultMaxBytes = 256 << 10
	// maxAliasNodes bounds how many nodes aliases may add to those written.
	maxAliasNodes = 10_000
	// maxProblems bounds the report on one file.
	maxProblems = 200
)

// Options of Parse.
type Options struct {
	// MaxBytes is the size limit; 0 means DefaultMaxBytes.
	MaxBytes int
	// ErrorCode is the Code of every error; empty keeps the specific ones.
	ErrorCode string
}

// File is one parsed file. Its methods walk the tree and collect problems, so
// that all mistakes are reported at once. It is not safe for concurrent use.
type File struct {
	// Root is the map at the top level, nil if there is none (Problems says
	// why). Aliases in the tree are already replaced by what they stand for.
	Root *yaml.Node

	options  Options
	lines    []string
	problems Problems
	dropped  bool
	// pairs are the columns behind surrogate pairs, by line; see joinSurrogates.
	pairs map[int][]int
}

// Parse reads one YAML (or JSON) document. A byte order mark, CRLF line ends
// and the surrogate pairs of JSON are accepted. It never fails: what is wrong
// is in Problems.
func Parse(data []byte, options Options) *File {
	if options.MaxBytes == 0 {
		options.MaxBytes = DefaultMaxBytes
	}
	f := &File{options: options}
	if f.tooLarge(data) {
		return f
	}
	data, ok := f.read(data)
	if !ok {
		return f
	}
	root, ok := f.load(data)
	if ok {
		f.Root = f.top(root)
	}
	return f
}

func (f *File) tooLarge(data []byte) bool {
	if len(data) <= f.options.MaxBytes {
		return false
	}
	f.add(Problem{1, 1, Error, CodeLimit, fmt.Sprintf("the file has %d bytes: want at most %d", len(data), f.options.MaxBytes), ""})
	return true
}

// read takes in the source and reports whether it can be YAML at all.
func (f *File) read(data []byte) ([]byte, bool) {
	data = f.joinSurrogates(bytes.TrimPrefix(data, []byte("\uFEFF")))
	f.lines = strings.Split(lineBreaks.Replace(string(data)), "\n")
	return data, !f.unreadable(data)
}

// lineBreaks turns all that ends a line in YAML into \n.
var lineBreaks = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u0085", "\n", "\u2028", "\n", "\u2029", "\n")

// Problems are those found so far, sorted by position.
func (f *File) Problems() Problems {
	f.problems.Sort()
	return f.problems
}

// Line is the source text of line n (from 1) without its line end, or empty.
func (f *File) Line(n int) string {
	if n < 1 || n > len(f.lines) {
		return ""
	}
	return f.lines[n-1]
}

// Lines is the number of lines of the source.
func (f *File) Lines() int { return len(f.lines) }

func (f *File) add(p Problem) {
	if f.dropped {
		return
	}
	if p.Severity == Error && f.options.ErrorCode != "" {
		p.Code = f.options.ErrorCode
	}
	if len(f.problems) == maxProblems {
		f.dropped = true
		p.Code, p.Hint = CodeLimit, ""
		p.Message = fmt.Sprintf("more than %d problems, the rest is not shown", maxProblems)
		p.Severity = Error
	}
	p.Line, p.Column = max(p.Line, 1), max(f.sourceColumn(p.Line, p.Column), 1)
	f.problems = append(f.problems, p)
}

// unreadable reports bytes that no YAML document may hold, with the position
// that the YAML reader itself does not give.
func (f *File) unreadable(data []byte) bool {
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		f.add(Problem{1, 1, Error, CodeSyntax, "the file is UTF-16: want UTF-8", "save it as UTF-8"})
		return true
	}
	for i, line := range f.lines {
		column := 0
		for _, r := range line {
			column++
			what := ""
			switch {
			case r == utf8.RuneError && !strings.ContainsRune(line, '\uFFFD'):
				what = "invalid UTF-8"
			case r == utf8.RuneError && !utf8.ValidString(line):
				what = "invalid UTF-8"
			case r < ' ' && r != '\t', r == 0x7f:
				what = fmt.Sprintf("control characters are not allowed (%U)", r)
			}
			if what != "" {
				f.add(Problem{i + 1, column, Error, CodeSyntax, fmt.Sprintf("%s at line %d", what, i+1), ""})
				return true
			}
		}
	}
	return false
}

// load composes the first document and checks that nothing follows it.
func (f *File) load(data []byte) (*yaml.Node, bool) {
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		f.syntax(err)
		return nil, false
	}
	var first, second yaml.Node
	if err := loader.Load(&first); errors.Is(err, io.EOF) {
		f.add(Problem{1, 1, Error, CodeEmpty, "the file is empty: want a map", ""})
		return nil, false
	} else if err != nil {
		f.syntax(err)
		return nil, false
	}
	switch err := loader.Load(&second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		f.syntax(err)
		return nil, false
	case len(second.Content) > 0 && !IsNull(second.Content[0]):
		n := second.Content[0]
		f.add(Problem{n.Line, n.Column, Error, CodeSyntax, fmt.Sprintf("want one document, a second one starts at line %d", n.Line), "a line --- starts a new document"})
	}
	return &first, true
}

// top replaces aliases and checks that the top level is a map.
func (f *File) top(document *yaml.Node) *yaml.Node {
	if len(document.Content) == 0 {
		f.add(Problem{1, 1, Error, CodeEmpty, "the file is empty: want a map", ""})
		return nil
	}
	if !f.expand(document) {
		return nil
	}
	root := document.Content[0]
	switch {
	case IsNull(root):
		f.add(Problem{1, 1, Error, CodeEmpty, "the file is empty: want a map", ""})
	case root.Kind != yaml.MappingNode:
		hint := ""
		if root.Kind == yaml.ScalarNode {
			hint = "this does not look like YAML"
			if strings.HasPrefix(f.Line(1), "#!") {
				hint = "this is a script, not YAML"
			}
		}
		f.add(Problem{root.Line, root.Column, Error, CodeType, "want a map at the top level, have " + Kind(root), hint})
	default:
		return root
	}
	return nil
}

// syntax adds the problem of an error of the YAML library, in the wording of
// libyaml: "<what> at line <n>".
func (f *File) syntax(err error) {
	p := Problem{Line: 1, Column: 1, Severity: Error, Code: CodeSyntax, Message: strings.TrimPrefix(err.Error(), "yaml: ")}
	if e, ok := errors.AsType[*yaml.LoadError](err); ok {
		p.Line, p.Column = e.Mark.Line, e.Mark.Column
		p.Message = strings.TrimPrefix(e.Message, "yaml: ")
		p.Hint = f.syntaxHint(e.Message, e.Mark.Line, e.ContextMark.Line)
	}
	p.Line = min(max(p.Line, 1), len(f.lines))
	p.Message = fmt.Sprintf("%s at line %d", strings.ReplaceAll(p.Message, "\n", " "), p.Line)
	f.add(p)
}

// expand replaces every alias below n by its target and reports whether the
// result is finite and small enough.
func (f *File) expand(n *yaml.Node) bool {
	x := expander{sizes: map[*yaml.Node]int{}}
	total := x.size(n)
	switch {
	case x.cycle != nil:
		f.add(Problem{x.cycle.Line, x.cycle.Column, Error, CodeSyntax, fmt.Sprintf("anchor %q contains itself at line %d", x.cycle.Value, x.cycle.Line), ""})
		return false
	case total > len(x.sizes)+maxAliasNodes:
		f.add(Problem{1, 1, Error, CodeLimit, fmt.Sprintf("aliases expand to more than %d nodes", maxAliasNodes), ""})
		return false
	}
	return true
}

type expander struct {
	sizes map[*yaml.Node]int // 0 while the node is being visited
	cycle *yaml.Node
}

// size is the number of nodes that a walk below n would meet.
func (x *expander) size(n *yaml.Node) int {
	if s, seen := x.sizes[n]; seen {
		return s
	}
	x.sizes[n] = 0
	total := 1
	for i, c := range n.Content {
		if c.Kind == yaml.AliasNode {
			if s, seen := x.sizes[c.Alias]; seen && s == 0 {
				x.cycle = c
				return total
			}
			c = c.Alias
			n.Content[i] = c
		}
		total = min(total+x.size(c), 1<<30)
	}
	x.sizes[n] = total
	return total
}
