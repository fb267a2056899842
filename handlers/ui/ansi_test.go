package ui

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// Attacks: 20, 22.
func TestRenderer(t *testing.T) {
	tests := []struct {
		name, in string
		want     []Span
	}{
		{"plain", "hello", []Span{{"", "hello"}}},
		{"empty", "", []Span{}},
		{"colour", "\x1b[31mred\x1b[0m plain", []Span{{"a1", "red"}, {"", " plain"}}},
		{"bright on dark, bold", "\x1b[1;93;40mx", []Span{{"a11 b0 bold", "x"}}},
		{"reset without a parameter", "\x1b[31ma\x1b[mb", []Span{{"a1", "a"}, {"", "b"}}},
		{"256 colours", "\x1b[38;5;196mx\x1b[48;5;21my", []Span{{"a1", "x"}, {"a1 b4", "y"}}},
		{"true colour, with colons", "\x1b[38:2:255:255:255mx", []Span{{"a15", "x"}}},
		{"cursor and screen", "\x1b[2J\x1b[10;5Ha\x1b[Kb\x1b[?25l", []Span{{"", "ab"}}},
		{"a hyperlink is only its text", "\x1b]8;;https://evil.example\x07link\x1b]8;;\x1b\\!", []Span{{"", "link!"}}},
		{"a title", "\x1b]0;owned\x07x", []Span{{"", "x"}}},
		{"a device control string", "a\x1bPq#0;2;0;0;0\x1b\\b", []Span{{"", "ab"}}},
		{"a sequence that does not end", "a\x1b]8;;x", []Span{{"", "a"}}},
		{"a lone escape", "a\x1b", []Span{{"", "a"}}},
		{"a charset", "\x1b(Bx", []Span{{"", "x"}}},
		{"C1 controls", "a\u009b31mb\u009dx\u009cc", []Span{{"", "a"}, {"a1", "bc"}}},
		{"progress", "10 %\r50 %\r100 %\r", []Span{{"", "100 %"}}},
		{"bell, backspace, delete", "a\a\b\x7fb", []Span{{"", "ab"}}},
		{"a tab stays", "a\tb", []Span{{"", "a\tb"}}},
		{"bytes that aren't UTF-8", "a\xffb", []Span{{"", "a\uFFFDb"}}},
		{"markup is text", "<b>&amp;", []Span{{"", "<b>&amp;"}}},
		{"an empty parameter is a reset", "\x1b[31ma\x1b[;1mb", []Span{{"a1", "a"}, {"bold", "b"}}},
		{"a colour space left out", "\x1b[38:2::255:255:255mx", []Span{{"a15", "x"}}},
		{"nonsense parameters", "\x1b[31;;xm\x1b[99999999999999999999mx", []Span{{"", "mx"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			lines := NewRenderer(1).Write([]byte(tt.in + "\n"))
			if len(lines) != 1 {
				t.Fatalf("got %d lines", len(lines))
			}
			if d := cmp.Diff(tt.want, lines[0].Spans); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
}

func TestRendererCarriesColoursOverLines(t *testing.T) {
	r := NewRenderer(7)
	r.Prime([]byte("x\x1b[32m"))
	got := append(r.Write([]byte("a\nb\x1b[0m\nc")), r.Rest()...)
	want := []Line{{7, []Span{{"a2", "a"}}}, {8, []Span{{"a2", "b"}}}, {9, []Span{{"", "c"}}}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if r.Next() != 10 || r.Rest() != nil {
		t.Errorf("next %d", r.Next())
	}
}

func TestLongLinesAreCut(t *testing.T) {
	r := NewRenderer(1)
	for range 100 {
		r.Write([]byte(strings.Repeat("x", 1000)))
	}
	l := r.Rest()[0]
	if len(l.Spans) != 2 || len(l.Spans[0].Text) != lineLimitBytes || !strings.Contains(l.Spans[1].Text, "67232 more bytes") {
		t.Errorf("got %d spans, %q", len(l.Spans), l.Spans[len(l.Spans)-1].Text)
	}
}

var classes = regexp.MustCompile(`^$|^(a([0-9]|1[0-5])|b([0-9]|1[0-5])|bold|dim|italic|underline|inverse|strike)( (b([0-9]|1[0-5])|bold|dim|italic|underline|inverse|strike))*$`)

// FuzzRenderer: no control character and no unknown class comes out, every
// line end is counted, and it does not matter where the bytes are cut.
func FuzzRenderer(f *testing.F) {
	for _, s := range []string{"a\nb", "\x1b[31mred\x1b[0m\n", "\x1b]8;;x\x07y\n", "\u009b1m\n", "x\r\ny\rz\n", "\xff\xc2", "\x1b[38;2;1;2;3m\x1b[48;5;300mq", "\x1bP\x1b\\"} {
		f.Add([]byte(s), 3)
	}
	f.Fuzz(func(t *testing.T, in []byte, at int) {
		r := NewRenderer(1)
		whole := append(r.Write(in), r.Rest()...)
		for i, l := range whole {
			if l.N != int64(i+1) {
				t.Errorf("line %d has number %d", i+1, l.N)
			}
			for _, s := range l.Spans {
				if !classes.MatchString(s.Class) || !utf8.ValidString(s.Text) || s.Text == "" {
					t.Errorf("span %+q", s)
				}
				if i := strings.IndexFunc(s.Text, func(r rune) bool { return r < ' ' && r != '\t' || r >= 0x7f && r < 0xa0 }); i >= 0 {
					t.Errorf("a control character in %q", s.Text)
				}
			}
		}
		at = max(0, min(at, len(in)))
		r = NewRenderer(1)
		cut := append(r.Write(in[:at]), r.Write(in[at:])...)
		cut = append(cut, r.Rest()...)
		if d := cmp.Diff(whole, cut); d != "" {
			t.Errorf("cut at %d (-whole +cut)\n%s", at, d)
		}
	})
}
