package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// printable is a text of somebody else's as a terminal may have it: in one line
// and without control characters, which could move the cursor or hide text.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' {
			return ' '
		}
		return shown(r)
	}, s)
}

// harmless is printable of a text of several lines.
func harmless(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' {
			return r
		}
		return shown(r)
	}, s)
}

// shown is r, or what stands for one that drives a terminal.
func shown(r rune) rune {
	if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == utf8.RuneError {
		return utf8.RuneError
	}
	return r
}

// sayf prints for people: no value can drive their terminal. Its verbs are %s.
func (a *app) sayf(format string, values ...any) {
	for i, v := range values {
		values[i] = printable(fmt.Sprint(v))
	}
	fmt.Fprintf(a.stdout, format, values...)
}

// logOutput is where logs are printed. A terminal gets their colours, and no
// other sequence: those write to the clipboard, change titles, or have the
// terminal type. Files and pipes get every byte.
func (a *app) logOutput() io.Writer {
	if terminal(a.stdout) {
		return &tamed{to: a.stdout}
	}
	return a.stdout
}

// tamed passes text, line ends, carriage returns and colours on.
type tamed struct {
	to   io.Writer
	rest []byte // the begin of what the next write goes on with
}

// Write never returns fewer bytes than it got, unless with an error.
func (w *tamed) Write(p []byte) (int, error) {
	text := append(w.rest, p...)
	var out bytes.Buffer
	for len(text) > 0 {
		n := piece(text, &out)
		if n == 0 {
			break
		}
		text = text[n:]
	}
	w.rest = bytes.Clone(text)
	if _, err := w.to.Write(out.Bytes()); err != nil {
		return 0, err
	}
	return len(p), nil
}

const (
	escape       = 0x1b
	colourLength = 64 // bytes; a longer sequence is none
)

// piece writes the first character or colour of text as it may be shown, and
// returns its length; 0: it goes on behind the end.
func piece(text []byte, out *bytes.Buffer) int {
	if text[0] == escape {
		n, whole := colour(text)
		if whole {
			out.Write(text[:n])
			return n
		}
		if n == 0 {
			return 0
		}
	}
	if !utf8.FullRune(text) {
		return 0
	}
	r, n := utf8.DecodeRune(text)
	if r != '\n' && r != '\r' && r != '\t' {
		r = shown(r)
	}
	out.WriteRune(r)
	return n
}

// colour measures the sequence (ECMA-48, SGR) that text, which begins with an
// escape, begins with. 0 and false: it may go on behind the end. 1 and false:
// it is another sequence.
func colour(text []byte) (n int, whole bool) {
	for i := 1; i < min(len(text), colourLength); i++ {
		switch b := text[i]; {
		case i == 1 && b == '[':
		case i > 1 && (b >= '0' && b <= '9' || b == ';' || b == ':'):
		case i > 1 && b == 'm':
			return i + 1, true
		default:
			return 1, false
		}
	}
	if len(text) >= colourLength {
		return 1, false
	}
	return 0, false
}
