package ui

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Line is one line of a log, ready to be shown: text with classes. The text is
// data; whoever shows it escapes it.
type Line struct {
	N     int64  `json:"n"` // counts from 1
	Spans []Span `json:"s"`
}

// Span is text in one style. Class is empty or a list of the class names that
// the style sheet knows: a0 to a15 and b0 to b15 for colours, and bold, dim,
// italic, underline, inverse, strike.
type Span struct {
	Class string `json:"c,omitempty"`
	Text  string `json:"t"`
}

// Window is some lines of a log that has Total.
type Window struct {
	From   int64  `json:"from"`
	Total  int64  `json:"total"`
	Sealed bool   `json:"sealed"` // nothing will be added any more
	Lines  []Line `json:"lines"`
}

// lineLimitBytes is how much of one line is shown.
const lineLimitBytes = 32 << 10

// Renderer turns the bytes of a log into lines. It knows the colours of SGR
// sequences; every other escape and control character is dropped, also those
// that would make links, move the cursor or set titles.
type Renderer struct {
	next    int64
	style   style
	partial []byte
	dropped int64 // bytes of the partial line beyond the limit
}

// NewRenderer is a Renderer whose first line has the number from.
func NewRenderer(from int64) *Renderer { return &Renderer{next: from} }

// Next is the number of the line that comes next.
func (r *Renderer) Next() int64 { return r.next }

// Prime takes the colours that are on after text, and nothing else of it.
func (r *Renderer) Prime(text []byte) {
	for line := range bytes.SplitSeq(text, []byte("\n")) {
		r.spans(line)
	}
}

// Write takes the next bytes of the log and returns the lines that they
// complete.
func (r *Renderer) Write(block []byte) []Line {
	var lines []Line
	for {
		i := bytes.IndexByte(block, '\n')
		if i < 0 {
			r.hold(block)
			return lines
		}
		r.hold(block[:i])
		lines = append(lines, r.line())
		block = block[i+1:]
	}
}

// Rest is the last line if no line end follows it.
func (r *Renderer) Rest() []Line {
	if len(r.partial) == 0 {
		return nil
	}
	return []Line{r.line()}
}

func (r *Renderer) hold(part []byte) {
	room := lineLimitBytes - len(r.partial)
	if len(part) > room {
		r.dropped += int64(len(part) - room)
		part = part[:room]
	}
	r.partial = append(r.partial, part...)
}

func (r *Renderer) line() Line {
	l := Line{N: r.next, Spans: r.spans(r.partial)}
	if r.dropped > 0 {
		l.Spans = append(l.Spans, Span{Class: "dim", Text: " … " + strconv.FormatInt(r.dropped, 10) + " more bytes in the raw log"})
	}
	r.next++
	r.partial, r.dropped = r.partial[:0], 0
	return l
}

// spans interprets one line. A carriage return with text behind it starts the
// line anew, as progress bars do.
func (r *Renderer) spans(line []byte) []Span {
	spans := []Span{}
	var text strings.Builder
	flush := func() {
		if text.Len() == 0 {
			return
		}
		if n, class := len(spans), r.style.class(); n > 0 && spans[n-1].Class == class {
			spans[n-1].Text += text.String()
		} else {
			spans = append(spans, Span{class, text.String()})
		}
		text.Reset()
	}
	line = bytes.TrimRight(line, "\r")
	for len(line) > 0 {
		c, size := utf8.DecodeRune(line)
		switch {
		case c == '\x1b' || c >= 0x80 && c < 0xa0 && size > 1:
			n, sgr := escape(line)
			if sgr != nil {
				flush()
				r.style.apply(string(sgr))
			}
			size = n
		case c == '\r':
			text.Reset()
			spans = spans[:0]
		case c == '\t', c >= ' ' && c != 0x7f:
			text.WriteRune(c) // an invalid byte becomes U+FFFD
		}
		line = line[size:]
	}
	flush()
	return spans
}

// escape measures the escape sequence at the start of s, and returns the
// parameters of a Select Graphic Rendition. A sequence that does not end is as
// long as the line.
func escape(s []byte) (length int, sgr []byte) {
	kind, i := byte(0), 2
	if s[0] == '\x1b' {
		if len(s) < 2 {
			return 1, nil
		}
		kind = s[1]
	} else {
		kind = s[1] - 0x40 // a C1 control as two bytes of UTF-8: c2 9b is ESC [
	}
	switch {
	case kind == '[':
		return control(s, i)
	case kind == ']', kind == 'P', kind == 'X', kind == '^', kind == '_':
		return stringEnd(s, i), nil
	case kind >= 0x20 && kind <= 0x2f: // ESC ( B and the like
		for i < len(s) && s[i] >= 0x20 && s[i] <= 0x2f {
			i++
		}
		return min(i+1, len(s)), nil
	case kind == '\x1b', kind < 0x20, kind >= 0x7f && s[0] == '\x1b':
		return 1, nil // not a sequence: what follows is looked at by itself
	}
	return 2, nil
}

func control(s []byte, i int) (length int, sgr []byte) {
	for ; i < len(s); i++ {
		switch b := s[i]; {
		case b >= 0x40 && b <= 0x7e:
			if b == 'm' {
				return i + 1, s[2:i]
			}
			return i + 1, nil
		case b < 0x20 || b > 0x7e:
			return i, nil // broken off
		}
	}
	return len(s), nil
}

// stringEnd is where a sequence that carries text ends: behind BEL or ESC \.
func stringEnd(s []byte, i int) int {
	for ; i < len(s); i++ {
		switch {
		case s[i] == '\a':
			return i + 1
		case s[i] == '\x1b' && i+1 < len(s) && s[i+1] == '\\':
			return i + 2
		case s[i] == 0xc2 && i+1 < len(s) && s[i+1] == 0x9c:
			return i + 2
		}
	}
	return len(s)
}

// style is the state that SGR sequences set. Colours count from 1; 0 is the
// default one.
type style struct {
	front, back                                   int
	bold, dim, italic, underline, inverse, strike bool
}

// class names the style; empty for plain text.
func (s style) class() string {
	var names []string
	if s.front > 0 {
		names = append(names, "a"+strconv.Itoa(s.front-1))
	}
	if s.back > 0 {
		names = append(names, "b"+strconv.Itoa(s.back-1))
	}
	for _, f := range []struct {
		on   bool
		name string
	}{{s.bold, "bold"}, {s.dim, "dim"}, {s.italic, "italic"}, {s.underline, "underline"}, {s.inverse, "inverse"}, {s.strike, "strike"}} {
		if f.on {
			names = append(names, f.name)
		}
	}
	return strings.Join(names, " ")
}

// apply takes the parameters between ESC [ and m.
func (s *style) apply(parameters string) {
	if len(parameters) > 64 || strings.ContainsAny(parameters, "<=>?") {
		return
	}
	fields := sgrFields(parameters)
	for i := 0; i < len(fields); i++ {
		n, err := strconv.Atoi(fields[i])
		if err != nil {
			return
		}
		if n == 38 || n == 48 {
			colour, used := extended(fields[i+1:])
			i += used
			if n == 38 {
				s.front = colour
			} else {
				s.back = colour
			}
			continue
		}
		s.set(n)
	}
}

// sgrFields splits parameters. One that is empty is 0; within colons, where
// 38:2::R:G:B leaves out the colour space, it is nothing.
func sgrFields(parameters string) []string {
	var fields []string
	for field := range strings.SplitSeq(parameters, ";") {
		switch {
		case field == "":
			fields = append(fields, "0")
		case strings.Contains(field, ":"):
			fields = append(fields, strings.FieldsFunc(field, func(r rune) bool { return r == ':' })...)
		default:
			fields = append(fields, field)
		}
	}
	return fields
}

func (s *style) set(n int) {
	switch {
	case n == 0:
		*s = style{}
	case n == 1:
		s.bold = true
	case n == 2:
		s.dim = true
	case n == 3:
		s.italic = true
	case n == 4:
		s.underline = true
	case n == 7:
		s.inverse = true
	case n == 9:
		s.strike = true
	case n == 22:
		s.bold, s.dim = false, false
	case n == 23:
		s.italic = false
	case n == 24:
		s.underline = false
	case n == 27:
		s.inverse = false
	case n == 29:
		s.strike = false
	case n >= 30 && n <= 37:
		s.front = n - 30 + 1
	case n == 39:
		s.front = 0
	case n >= 40 && n <= 47:
		s.back = n - 40 + 1
	case n == 49:
		s.back = 0
	case n >= 90 && n <= 97:
		s.front = n - 90 + 8 + 1
	case n >= 100 && n <= 107:
		s.back = n - 100 + 8 + 1
	}
}

// extended reads what follows 38 or 48: 5;N or 2;R;G;B, and finds the nearest
// of the sixteen colours that both colour schemes of the page define.
func extended(fields []string) (colour, used int) {
	number := func(i int) int {
		if i >= len(fields) {
			return 0
		}
		n, err := strconv.Atoi(fields[i])
		if err != nil {
			return 0
		}
		return max(0, min(n, 255))
	}
	switch {
	case len(fields) >= 2 && fields[0] == "5":
		return indexed(number(1)), 2
	case len(fields) >= 4 && fields[0] == "2":
		return nearest(number(1), number(2), number(3)), 4
	}
	return 0, len(fields)
}

func indexed(n int) int {
	switch {
	case n < 16:
		return n + 1
	case n >= 232:
		grey := 8 + (n-232)*10
		return nearest(grey, grey, grey)
	}
	n -= 16
	level := func(k int) int {
		if k == 0 {
			return 0
		}
		return 55 + 40*k
	}
	return nearest(level(n/36), level(n/6%6), level(n%6))
}

// palette is the classical sixteen, only used to find the nearest one.
var palette = [16][3]int{
	{0, 0, 0}, {170, 0, 0}, {0, 170, 0}, {170, 120, 0}, {0, 0, 170}, {170, 0, 170}, {0, 170, 170}, {190, 190, 190},
	{100, 100, 100}, {255, 85, 85}, {85, 255, 85}, {255, 255, 85}, {85, 85, 255}, {255, 85, 255}, {85, 255, 255}, {255, 255, 255},
}

func nearest(red, green, blue int) int {
	best, distance := 0, 1<<30
	for i, p := range palette {
		r, g, b := p[0]-red, p[1]-green, p[2]-blue
		if d := r*r + g*g + b*b; d < distance {
			best, distance = i, d
		}
	}
	return best + 1
}
