package specfile

import (
	"regexp"
	"strings"

	"go.yaml.in/yaml/v4"
)

var (
	conflictMarker   = regexp.MustCompile(`^(<{7}|={7}|>{7})( |$)`)
	bracketCommand   = regexp.MustCompile(`^\s*(- |[\w.-]+:\s)\s*\[.*\]\s*\S`)
	quotedStart      = regexp.MustCompile(`^\s*(- |[\w.-]+:\s)\s*("(\\.|[^"\\])*"|'([^']|'')*')\s*[^\s#]`)
	reservedStart    = regexp.MustCompile("^\\s*(- |[\\w.-]+:\\s)\\s*([@`%*&!|>])")
	tabbedIndent     = regexp.MustCompile(`^ *\t`)
	dashWithoutSpace = regexp.MustCompile(`^ *-[^\s-]`)
	startsEntry      = regexp.MustCompile(`^\S|^\s*(-(\s|$)|#|[\w.-]+:(\s|$))`)
	assignment       = regexp.MustCompile(`^\w+=`)
	keyWithoutColon  = regexp.MustCompile(`^\w[\w-]*(\s+['"]?\d\S*)?\s*$`)
	keyWithoutSpace  = regexp.MustCompile(`^\s*[\w-]+:[^\s/:]`)
	endsWithColon    = regexp.MustCompile(`^\s*(- )?[\w.-]+:\s+[^\s"'#].*:\s*$`)
)

// syntaxHint guesses from the source near a syntax error what its author did.
// line is where the parser stopped, from where the thing it was reading began.
func (f *File) syntaxHint(message string, line, from int) string {
	for i, text := range f.lines {
		if conflictMarker.MatchString(text) {
			return "line " + itoa(i+1) + " is a merge conflict marker"
		}
	}
	if strings.HasPrefix(f.Line(1), "#!") {
		return "this is a script, not YAML"
	}
	near := []int{line, line - 1, from, 1}
	for _, rule := range lineHints {
		for _, n := range near {
			if n > 0 && rule.pattern.MatchString(f.Line(n)) {
				return "line " + itoa(n) + ": " + rule.hint
			}
		}
	}
	if strings.Contains(message, "end of stream") && from > 0 {
		return "the quote that opens in line " + itoa(from) + " is not closed"
	}
	if h := f.breakHint(message, line); h != "" {
		return h
	}
	if strings.Contains(message, "',' or") || strings.Contains(message, "node content") && strings.HasPrefix(f.Line(1), "{") {
		return f.commaHint(line)
	}
	if strings.Contains(message, "<document start>") && !strings.Contains(f.Line(1), ":") {
		return "line 1 is neither a key with a colon nor a comment, which starts with #"
	}
	if strings.Contains(message, "expected") || strings.Contains(message, "mapping values") {
		return "check the indentation of this line and of those above it; a command of several lines needs a | block"
	}
	return ""
}

var lineHints = []struct {
	pattern *regexp.Regexp
	hint    string
}{
	{tabbedIndent, "a tab can't indent YAML, use blanks"},
	{regexp.MustCompile(`^ *\x{a0}`), "a no-break space can't indent YAML, use blanks"},
	{regexp.MustCompile("^ *```"), "delete the ```, which fences code in Markdown"},
	{regexp.MustCompile(`^ *//`), "a comment starts with #, not with //"},
	{regexp.MustCompile(`^ *[–—] `), "a list's dash is -, this one is longer"},
	{regexp.MustCompile(`^~\s*$`), "delete the ~, which an editor shows behind the end of a file"},
	{regexp.MustCompile(`\{\{|\{%|^\s*%\{|<%`), "this looks like a template placeholder that was not filled in; quote the value or render the file first"},
	{bracketCommand, "a value that starts with [ is a list to YAML; put the whole command in quotes"},
	{quotedStart, "quotes must go round the whole value; put the whole command in quotes of the other kind"},
	{reservedStart, "a value can't start with this character; put it in quotes"},
}

// commaHint is for JSON and for lists in brackets: what is missing stands before
// the line where the parser stopped.
func (f *File) commaHint(line int) string {
	for n := line - 1; n > 0; n-- {
		text := strings.TrimSpace(f.Line(n))
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		if strings.HasSuffix(text, ",") || strings.HasSuffix(text, "{") || strings.HasSuffix(text, "[") {
			break
		}
		return "line " + itoa(n) + " may lack a comma at its end"
	}
	return "a comma or a closing bracket is missing"
}

// breakHint looks for what cuts a multi-line value in two.
func (f *File) breakHint(message string, line int) string {
	for n := line - 1; n > 0 && n > line-3; n-- {
		if strings.HasPrefix(strings.TrimSpace(f.Line(n)), "#") && !startsEntry.MatchString(f.Line(n+1)) {
			return "line " + itoa(n) + " is a comment, which ends a command that goes on over several lines; use a | block"
		}
	}
	for n := line; n > 0 && n > line-2; n-- {
		if dashWithoutSpace.MatchString(f.Line(n)) {
			return "line " + itoa(n) + ": a list's dash needs a blank behind it"
		}
	}
	switch {
	case strings.Contains(message, "mapping values are not allowed"):
		if endsWithColon.MatchString(f.Line(line)) {
			return "a value that ends with a colon needs quotes"
		}
		for n := line; n > 0 && n > line-4; n-- {
			if keyWithoutSpace.MatchString(f.Line(n)) {
				return "line " + itoa(n) + ": a key needs a blank after its colon"
			}
			if keyWithoutColon.MatchString(f.Line(n)) {
				return "line " + itoa(n) + ": a key needs a colon and a blank after it"
			}
		}
		if strings.Count(f.Line(line), ": ") > 1 {
			return "a value with \": \" in it needs quotes, and each key a line of its own"
		}
	case strings.Contains(message, "could not find expected ':'"):
		if keyWithoutSpace.MatchString(f.Line(line)) {
			return "a key needs a blank after its colon"
		}
		return "a pasted script needs a | block, with every line indented deeper than its key"
	}
	return ""
}

// kindHint is for a value of the wrong kind: {{x}} is a map to YAML, and dashes
// turn a map into a list.
func (f *File) kindHint(n *yaml.Node, want string) string {
	switch {
	case want == "a map" && n.Kind == yaml.SequenceNode && len(n.Content) > 0 && n.Content[0].Kind == yaml.MappingNode:
		return "drop the dashes"
	case want == "a map" && n.Kind == yaml.ScalarNode && assignment.MatchString(n.Value):
		return "write NAME: value, not NAME=value"
	case strings.Contains(f.Line(n.Line), "{{"):
		return "this looks like a template placeholder that was not filled in; quote the value or render the file first"
	}
	return ""
}
