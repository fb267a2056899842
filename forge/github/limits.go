package github

import (
	"path"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/slipway-ci/slipway/forge"
)

// GitHub's limits, or less where it counts in units that it does not document.
// Lengths of text are in UTF-16 units, the largest of the ways to count.
const (
	titleLimit       = 255
	textLimit        = 60000 // GitHub: 65,535
	batchLimit       = 50    // annotations a request
	annotationLimit  = 500   // a check run; ours
	messageLimit     = 60000 // bytes; GitHub: 64 KB
	actionLimit      = 3
	labelLimit       = 20
	actionTextLimit  = 40
	identifierLimit  = 20
	descriptionLimit = 140 // of a commit status
	contextLimit     = 100
	fileLimitBytes   = 1 << 20
)

// clean makes text fit for the forge: valid UTF-8 without control characters
// other than tab and line feed.
func clean(s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\r\n", "\n")
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' && r != '\n' || r == 0x7f {
			return -1
		}
		return r
	}, s)
}

// line is clean text in one line of at most limit units, cut with an ellipsis.
func line(s string, limit int) string {
	s = strings.Join(strings.Fields(clean(s)), " ")
	if units(s) <= limit {
		return s
	}
	return prefix(s, limit-1) + "…"
}

func units(s string) int {
	n := 0
	for _, r := range s {
		n += max(1, utf16.RuneLen(r))
	}
	return n
}

// prefix is the longest start of s with at most limit units.
func prefix(s string, limit int) string {
	n := 0
	for i, r := range s {
		if n += max(1, utf16.RuneLen(r)); n > limit {
			return s[:i]
		}
	}
	return s
}

// markdown is clean Markdown that fits. It is cut at the end of a line if there
// is one near, what stands open is closed, and a last line says where the rest is.
func markdown(s, url string) string {
	s = clean(s)
	if units(s) <= textLimit {
		return s
	}
	note := "… truncated"
	if webURL(url) != "" {
		note += ", full log: " + line(url, 2000)
	}
	cut := prefix(s, textLimit-units(note)-1000)
	if i := strings.LastIndexByte(cut, '\n'); i > len(cut)/2 {
		cut = cut[:i]
	}
	return cut + closing(cut) + "\n\n" + note + "\n"
}

// closing ends the code fence and the <details> that s leaves open.
func closing(s string) string {
	fence, open := "", 0
	for text := range strings.Lines(s) {
		text = strings.TrimRight(text, "\n \t")
		run := fenceOf(text)
		switch {
		case fence == "" && run != "":
			fence = run
		case fence != "" && strings.HasPrefix(run, fence) && strings.TrimSpace(text) == run:
			fence = ""
		case fence == "":
			lower := strings.ToLower(text)
			open = max(0, open+strings.Count(lower, "<details")-strings.Count(lower, "</details"))
		}
	}
	if len(fence) > 200 {
		fence = fence[:200] // not a fence that anybody wrote; the note has room for no more
	}
	end := ""
	if fence != "" {
		end = "\n" + fence
	}
	return end + strings.Repeat("\n</details>", min(open, 20))
}

// fenceOf is the run of backticks or tildes that a line starts with, if it can
// open or close a code block (CommonMark 4.5).
func fenceOf(text string) string {
	trimmed := strings.TrimLeft(text, " ")
	if len(text)-len(trimmed) > 3 || len(trimmed) < 3 {
		return ""
	}
	mark := trimmed[:1]
	if mark != "`" && mark != "~" {
		return ""
	}
	run := trimmed[:len(trimmed)-len(strings.TrimLeft(trimmed, mark))]
	if len(run) < 3 || mark == "`" && strings.Contains(trimmed[len(run):], "`") {
		return ""
	}
	return run
}

var levels = []string{"failure", "warning", "notice"}

// annotations puts remarks into the form and order in which they are sent:
// the worst first, without repeats and without files outside the repository.
// The result depends on its input alone, so that a count of those sent stays
// true. more is how many were left out for want of room.
func annotations(all []forge.Annotation) (list []forge.Annotation, more int) {
	for _, a := range all {
		a.Path = path.Clean(strings.TrimPrefix(clean(a.Path), "./"))
		if a.Path == "." || path.IsAbs(a.Path) || a.Path == ".." || strings.HasPrefix(a.Path, "../") || strings.ContainsAny(a.Path, "\n\t") {
			continue
		}
		if !slices.Contains(levels, a.Level) {
			a.Level = "notice"
		}
		a.StartLine = max(1, a.StartLine)
		a.EndLine = max(a.StartLine, a.EndLine)
		if a.StartLine != a.EndLine || a.Column < 0 {
			a.Column = 0
		}
		a.Title = line(a.Title, titleLimit)
		a.Message = cutBytes(clean(a.Message), messageLimit)
		if strings.TrimSpace(a.Message) == "" {
			a.Message = a.Title
		}
		if a.Message == "" {
			continue
		}
		list = append(list, a)
	}
	slices.SortStableFunc(list, compareAnnotations)
	list = slices.Compact(list)
	if len(list) > annotationLimit {
		list, more = list[:annotationLimit], len(list)-annotationLimit
	}
	return list, more
}

func cutBytes(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
