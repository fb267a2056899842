package specfile

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"
)

func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "a: 1\n", "a:\n\tb\n", "- [x", "a: &x {<<: *x}", "\ufeff---\na: {{b}}\n", "a: |\n  x\n b", "a: *b", `{"a": "\ud83d\ude00\\", "b": ["\uDBFF\uDFFF"]}`, "x: &x [1]\ny: [*x, *x]\n<<: [{a: 1}, {b: 2}]\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file := Parse(data, Options{})
		for _, e := range file.Map(file.Root, "") {
			file.Texts(e.Value, e.Path)
			file.Map(e.Value, e.Path)
			file.Flag(e.Value, e.Path)
		}
		problems := file.Problems()
		if file.Root == nil && !problems.HasErrors() {
			t.Error("no tree and no error")
		}
		for _, p := range problems {
			if p.Line < 1 || p.Line > max(file.Lines(), 1) || p.Column < 1 || p.Message == "" || p.Code == "" || strings.Contains(p.Message, "\n") {
				t.Errorf("%q: bad problem %+v", data, p)
			}
		}
	})
}

// FuzzJSON escapes every character as a JSON writer may and reads it back.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{"", "a\\\n", "😀é\u2028", "\U0010FFFF"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) {
			return
		}
		var b strings.Builder
		for _, unit := range utf16.Encode([]rune(text)) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
		file := Parse([]byte(`{"a": "`+b.String()+`", "b": 1}`), Options{MaxBytes: 1 << 30})
		entries := file.Map(file.Root, "")
		if len(entries) != 2 {
			t.Fatalf("%q: %v", text, file.Problems())
		}
		if got, _ := file.Text(entries[0].Value, "a"); got != text {
			t.Errorf("got %q, want %q", got, text)
		}
		file.Errorf(entries[1].At, CodeValue, "here")
		if got, want := file.Problems()[0].Column, len(`{"a": "", `)+b.Len()+1; got != want {
			t.Errorf("%q: got column %d, want %d", text, got, want)
		}
	})
}
