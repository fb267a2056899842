package buildspec

import (
	"strings"

	"go.yaml.in/yaml/v4"
)

// quoteHint says how to write a command that YAML does not read as text.
func (p *parser) quoteHint(item *yaml.Node) string {
	source := p.source(item)
	switch {
	case strings.Contains(source, "{{"):
		return "this looks like a template placeholder that was not filled in; quote the command or render the file first"
	case item.Kind == yaml.SequenceNode && strings.HasPrefix(source, "- "):
		return "one dash too many"
	case len(item.Content) > 0 && item.Line != item.Content[0].Line:
		return "put the command in a | block"
	case len(source) > 120 || source == "" || !p.afterDash(item):
		return "put the whole command in quotes"
	case item.Kind == yaml.SequenceNode:
		return "a command that starts with [ needs quotes: - " + quote(source)
	}
	return "a command with a colon and a blank in it needs quotes: - " + quote(source)
}

// source is the rest of the line from where n begins.
func (p *parser) source(n *yaml.Node) string {
	line := []rune(p.Line(n.Line))
	if n.Column < 1 || n.Column > len(line) {
		return ""
	}
	return strings.TrimSpace(string(line[n.Column-1:]))
}

// afterDash reports whether nothing but a dash precedes n in its line.
func (p *parser) afterDash(n *yaml.Node) bool {
	line := []rune(p.Line(n.Line))
	return n.Column <= len(line) && strings.TrimSpace(string(line[:n.Column-1])) == "-"
}

// inList reports whether n is an item of a list rather than the value of a key.
func (p *parser) inList(n *yaml.Node) bool {
	line := []rune(p.Line(n.Line))
	before := strings.TrimSpace(string(line[:min(n.Column-1, len(line))]))
	return before != "" && !strings.HasSuffix(before, ":")
}

// quote puts s in single quotes as YAML writes them.
func quote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}

// blockStart is the line of the first text of a block whose | is in line n.
func (p *parser) blockStart(n int) int {
	for i := n + 1; i <= p.Lines(); i++ {
		if strings.TrimSpace(p.Line(i)) != "" {
			return i
		}
	}
	return n
}

// lintPlain warns about a command without quotes that YAML cuts or joins,
// or whose beginning it takes for a tag.
func (p *parser) lintPlain(item *yaml.Node, path string) {
	if strings.HasPrefix(item.Tag, "!") && !strings.HasPrefix(item.Tag, "!!") {
		p.Report(item, warning(CodeTag, path+": "+item.Tag+" is a tag to YAML and not part of the command", "put the whole command in quotes"))
		return
	}
	if item.Style != 0 {
		return
	}
	source := p.source(item)
	first, comment := source, false
	if i := strings.Index(source, " #"); i >= 0 {
		first, comment = strings.TrimSpace(source[:i]), true
	}
	switch {
	case comment && strings.HasPrefix(item.Value, first) && !strings.HasPrefix(item.Value, source):
		if !openQuote(first) {
			return // to a shell, too, a comment begins here
		}
		p.Report(item, warning(CodeComment, path+": the text from # on is a comment and not part of the command", "put the whole command in quotes if it belongs there"))
	case item.Value == source || !strings.HasPrefix(item.Value, source):
	case strings.HasPrefix(item.Value, source+" - "):
		p.Report(item, warning(CodeJoined, path+": the next line begins with a dash and is part of this command", "indent the next item as far as this one"))
	case p.backslashEnds(item):
		p.Report(item, warning(CodeEscaped, path+": the lines are joined with a blank, and the \\ before it escapes that blank", "use a | block, or drop the \\"))
	case !p.inList(item):
		p.Report(item, warning(CodeJoined, path+": the lines are one command, joined with blanks", "put \"- \" before each command, or use a | block"))
	default:
		p.Report(item, warning(CodeJoined, path+": the command goes on in the next line and is joined with a blank", "use a | block to keep the lines"))
	}
}

// openQuote reports whether a shell finds a quote in s that does not end in s.
func openQuote(s string) bool {
	var open rune
	escaped := false
	for _, c := range s {
		switch {
		case escaped:
			escaped = false
		case c == '\\' && open != '\'':
			escaped = true
		case open == 0 && strings.ContainsRune("'\"`", c):
			open = c
		case c == open:
			open = 0
		}
	}
	return open != 0
}

// backslashEnds reports whether a line of a plain multi-line item, but the
// last, ends in a backslash.
func (p *parser) backslashEnds(item *yaml.Node) bool {
	rest := item.Value
	for n := item.Line; n <= p.Lines(); n++ {
		text := strings.TrimSpace(p.Line(n))
		if n == item.Line {
			text = p.source(item)
		}
		rest = strings.TrimSpace(strings.TrimPrefix(rest, text))
		if rest == "" {
			return false
		}
		if strings.HasSuffix(text, `\`) {
			return true
		}
	}
	return false
}
