package chat

import (
	"regexp"
	"strings"
)

// visible are the lines of a comment that may hold a command: those that
// begin with a slash in the first column, outside of code, HTML comments and
// preformatted blocks (forges reference 5.2, 2).
func visible(body string) []line {
	var r reader
	var out []line
	for i, text := range strings.Split(body, "\n") {
		if shown, ok := r.read(text); ok && strings.HasPrefix(text, "/") && strings.HasPrefix(shown, "/") {
			out = append(out, line{number: i + 1, text: strings.TrimRight(shown, " \t")})
		}
	}
	return out
}

// line is one line of a comment; number counts from 1.
type line struct {
	number int
	text   string
}

// reader knows in what the next line stands.
type reader struct {
	fence string // the characters that opened a code block
	until string // what ends an HTML comment or block
}

var (
	fenceOpens  = regexp.MustCompile("^ {0,3}(`{3,}|~{3,})([^`]*)$")
	fenceTildes = regexp.MustCompile("^ {0,3}(~{3,})")
	blockOpens  = regexp.MustCompile(`(?i)<!--|<(pre|code)\b[^>]*>`)
)

// read takes the next line and answers with what of it is plain text; false if
// nothing is.
func (r *reader) read(text string) (string, bool) {
	if r.fence != "" {
		bare := strings.TrimSpace(text)
		if len(text)-len(strings.TrimLeft(text, " ")) <= 3 && len(bare) >= len(r.fence) && strings.Trim(bare, r.fence[:1]) == "" {
			r.fence = ""
		}
		return "", false
	}
	if r.until == "" {
		if m := fenceOpens.FindStringSubmatch(text); m != nil {
			r.fence = m[1]
			return "", false
		}
		if m := fenceTildes.FindStringSubmatch(text); m != nil {
			r.fence = m[1]
			return "", false
		}
	}
	shown := r.blocks(text)
	return shown, shown != ""
}

// blocks leaves out what is within HTML comments, <pre> and <code>.
func (r *reader) blocks(text string) string {
	var shown strings.Builder
	for text != "" {
		if r.until != "" {
			at := strings.Index(strings.ToLower(text), r.until)
			if at < 0 {
				return shown.String()
			}
			text = text[at+len(r.until):]
			r.until = ""
			continue
		}
		m := blockOpens.FindStringSubmatchIndex(text)
		if m == nil {
			break
		}
		shown.WriteString(text[:m[0]])
		r.until = "-->"
		if m[2] >= 0 {
			r.until = "</" + strings.ToLower(text[m[2]:m[3]]) + ">"
		}
		text = text[m[1]:]
	}
	shown.WriteString(text)
	return shown.String()
}
