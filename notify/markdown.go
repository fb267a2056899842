package notify

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// escapeSequence is a terminal's CSI or OSC sequence, or a two-byte one.
var escapeSequence = regexp.MustCompile(`\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[@-Z\\-_])`)

// printable drops what is not text: invalid UTF-8, terminal sequences and
// control characters apart from tab and line feed (forges reference 3.2).
func printable(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = escapeSequence.ReplaceAllString(s, "")
	s = strings.ReplaceAll(s, "\r\n", "\n")
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' && r != '\n' || r >= 0x7f && r < 0xa0 || bidi(r) {
			return -1
		}
		return r
	}, s)
}

// bidi reports the characters that reorder the text around them.
func bidi(r rune) bool { return r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 }

// plain is text for one line.
func plain(s string) string { return strings.Join(strings.Fields(printable(s)), " ") }

// zeroWidth after @ and # keeps what a build prints from pinging people and
// from linking issues.
const zeroWidth = "\u200b"

// escape makes one line of Markdown that shows s as it is, and pings nobody.
func escape(s string) string {
	var b strings.Builder
	for _, r := range plain(s) {
		switch {
		case r == '@' || r == '#':
			b.WriteRune(r)
			b.WriteString(zeroWidth)
		case strings.ContainsRune("\\`*_{}[]()<>|~&!", r):
			b.WriteByte('\\')
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
	}
	return breakLinks(b.String())
}

// breakLinks keeps addresses in user text from becoming links.
func breakLinks(s string) string {
	s = strings.ReplaceAll(s, "://", ":"+zeroWidth+"//")
	return strings.ReplaceAll(s, "www.", "www"+zeroWidth+".")
}

// fence shows lines as they are: its fence is longer than any run of backticks
// inside.
func fence(text string) string {
	text = strings.TrimRight(printable(text), "\n")
	longest, run := 0, 0
	for _, r := range text {
		if r != '`' {
			run = 0
			continue
		}
		run++
		longest = max(longest, run)
	}
	marks := strings.Repeat("`", max(3, longest+1))
	return marks + "text\n" + text + "\n" + marks + "\n"
}

// cut shortens s to at most n runes; the last is an ellipsis then.
func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	runes := []rune(s)
	return string(runes[:n-1]) + "…"
}
