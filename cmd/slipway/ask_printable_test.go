package main

import "testing"

// What somebody wrote into a commit or a test's name must not drive a terminal.
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
	}
}
