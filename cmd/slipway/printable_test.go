package main

import (
	"bytes"
	"strings"
	"testing"
)

// What somebody wrote into a commit or a test's name must not drive a terminal.
//
// Attacks: 22.
func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"Grüße, 世界 ✓":        "Grüße, 世界 ✓",
		"a\tb\nc":            "a b c",
		"\x1b[2Jgone":        "\uFFFD[2Jgone",
		"\u009b31mred":       "\uFFFD31mred",
		"\rsecond":           "\uFFFDsecond",
		"bidi \u202etxt.exe": "bidi \uFFFDtxt.exe",
		"not text \xff":      "not text \uFFFD",
	} {
		if got := printable(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
		var out bytes.Buffer
		(&app{stdout: &out}).sayf("commit: %s\n", in)
		if got := out.String(); got != "commit: "+want+"\n" {
			t.Errorf("%q: printed %q", in, got)
		}
	}
	if got := harmless("one:\n\ttwo\x1b[1A"); got != "one:\n\ttwo\uFFFD[1A" {
		t.Errorf("several lines: %q", got)
	}
}

// A log brings its colours to a terminal and nothing else that drives it,
// however its bytes are split.
//
// Attacks: 22.
func TestLogsCannotDriveATerminal(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"text", "Grüße, 世界 ✓\n\tdone\n", "Grüße, 世界 ✓\n\tdone\n"},
		{"colours", "\x1b[1;31mred\x1b[0m \x1b[38:5:9mnew\x1b[m", "\x1b[1;31mred\x1b[0m \x1b[38:5:9mnew\x1b[m"},
		{"a progress bar", "10 %\r20 %\n", "10 %\r20 %\n"},
		{"clear the screen", "\x1b[2Jgone", "\uFFFD[2Jgone"},
		{"lines that overwrite others", "\x1b[1Aok", "\uFFFD[1Aok"},
		{"write to the clipboard", "\x1b]52;c;cm0gLXJm\a", "\uFFFD]52;c;cm0gLXJm\uFFFD"},
		{"a title that is reported back", "\x1b]2;evil\x1b\\\x1b[21t", "\uFFFD]2;evil\uFFFD\\\uFFFD[21t"},
		{"a link that shows another", "\x1b]8;;http://evil\x1b\\", "\uFFFD]8;;http://evil\uFFFD\\"},
		{"in eight bits", "\u009b2J", "\uFFFD2J"},
		{"text from right to left", "\u202etxt.exe", "\uFFFDtxt.exe"},
		{"a colour without an end", "\x1b[" + strings.Repeat("1", 100), "\uFFFD[" + strings.Repeat("1", 100)},
		{"no text", "a\xffb", "a\uFFFDb"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for size := 1; size <= len(tt.in); size++ {
				var out bytes.Buffer
				w := &tamed{to: &out}
				for rest := tt.in; rest != ""; {
					n := min(size, len(rest))
					if wrote, err := w.Write([]byte(rest[:n])); wrote != n || err != nil {
						t.Fatalf("wrote %d of %d: %v", wrote, n, err)
					}
					rest = rest[n:]
				}
				if out.String() != tt.want {
					t.Fatalf("in pieces of %d: got %q, want %q", size, out.String(), tt.want)
				}
			}
		})
	}
}
