package specfile

import (
	"strings"
	"testing"
)

func TestParseProblems(t *testing.T) {
	tests := []struct {
		name, src, want string
	}{
		{"empty file", "", "1:1: the file is empty: want a map"},
		{"comments only", "# nothing\n", "1:1: the file is empty: want a map"},
		{"byte order mark only", "\ufeff", "1:1: the file is empty: want a map"},
		{"colon in value", "a: b: c\n", "1:5: mapping values are not allowed in this context at line 1 (a value with \": \" in it needs quotes, and each key a line of its own)"},
		{"no blank after a key", "version:0.2\n\na:\n", "3:2: mapping values are not allowed in this context at line 3 (line 1: a key needs a blank after its colon)"},
		{"alias that was to be a glob", "a: **/*\n", "1:4: unknown anchor '*/*' referenced at line 1 (line 1: a value can't start with this character; put it in quotes)"},
		{"tab", "a:\n\tb: 1\n", "2:1: found character that cannot start any token at line 2 (line 2: a tab can't indent YAML, use blanks)"},
		{"command starting with a bracket", "a:\n - [ -f x ] && y\n", "2:13: did not find expected '-' indicator at line 2 (line 2: a value that starts with [ is a list to YAML; put the whole command in quotes)"},
		{"merge conflict", "a: 1\n<<<<<<< HEAD\nb: 1\n=======\n", "3:1: could not find expected ':' at line 3 (line 2 is a merge conflict marker)"},
		{"top level list", "- a\n", "1:1: want a map at the top level, have a list"},
		{"script", "#!/bin/sh\necho hello\n", "2:1: want a map at the top level, have text (this is a script, not YAML)"},
		{"control character", "a: b\nc: \x01\n", "2:4: control characters are not allowed (U+0001) at line 2"},
		{"invalid UTF-8", "a: b\nc: \xff\n", "2:4: invalid UTF-8 at line 2"},
		{"comment in prose", "some words\n# more\nother words\n", "3:1: did not find expected <document start> at line 3 (line 1 is neither a key with a colon nor a comment, which starts with #)"},
		{"first key further in", "  a: 1\nb: 1\n", "2:1: did not find expected <document start> at line 2 (check the indentation of this line and of those above it; a command of several lines needs a | block)"},
		{"fence of Markdown", "```yaml\na: 1\n```\n", "1:1: found character that cannot start any token at line 1 (line 1: delete the ```, which fences code in Markdown)"},
		{"fence at the end", "a: 1\n```\n", "2:1: found character that cannot start any token at line 2 (line 2: delete the ```, which fences code in Markdown)"},
		{"comment with slashes", "a: 1\n\n// b\nc:\n  d: 1\n", "4:1: could not find expected ':' at line 4 (line 3: a comment starts with #, not with //)"},
		{"comment with slashes above the first key", "// a\n\nb: 1\n", "3:2: mapping values are not allowed in this context at line 3 (line 1: a comment starts with #, not with //)"},
		{"dash of a word processor", "a:\n  - b\n  – c\nd: 1\n", "4:1: could not find expected ':' at line 4 (line 3: a list's dash is -, this one is longer)"},
		{"value that ends with a colon", "a: arn:aws:x::\nb: 1\n", "1:14: mapping values are not allowed in this context at line 1 (a value that ends with a colon needs quotes)"},
		{"a quote that is not closed", "a:\n - \"b c\n - d\n", "4:1: found unexpected end of stream at line 4 (the quote that opens in line 2 is not closed)"},
		{"JSON without a comma", "{\n  \"a\": true\n\n  \"b\": 1\n}\n", "4:6: did not find expected ',' or '}' at line 4 (line 2 may lack a comma at its end)"},
		{"JSON that isn't closed", "{\n  \"a\": [1,\n", "3:1: did not find expected node content at line 3 (a comma or a closing bracket is missing)"},
		{"directive of a template in JSON", "{\"a\": 1\n  %{ if x }\n}\n", "2:4: did not find expected ',' or '}' at line 2 (line 2: this looks like a template placeholder that was not filled in; quote the value or render the file first)"},
		{"two documents", "a: 1\n---\nb: 2\n", "3:1: want one document, a second one starts at line 3 (a line --- starts a new document)"},
		{"cycle", "a: &x [*x]\n", `1:8: anchor "x" contains itself at line 1`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := Parse([]byte(tt.src), Options{}).Problems()
			if len(got) != 1 || got[0].String() != tt.want {
				t.Errorf("got  %v\nwant %s", got, tt.want)
			}
		})
	}
}

func TestParseAccepts(t *testing.T) {
	tests := []struct{ name, src string }{
		{"CRLF", "a: 1\r\nb:\r\n  - c\r\n"},
		{"byte order mark", "\ufeffa: 1\n"},
		{"leading dashes", "---\na: 1\n"},
		{"trailing dashes", "a: 1\n---\n"},
		{"end mark", "a: 1\n...\n"},
		{"no newline at the end", "a: 1"},
		{"JSON with tabs", "{\n\t\"a\": {\n\t\t\"b\": 1\n\t}\n}\n"},
		{"emoji", "a: 🚀 完了\n"},
		{"replacement character", "a: \ufffd\n"},
		{"alias", "a: &x {b: 1}\nc: *x\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := Parse([]byte(tt.src), Options{})
			if len(f.Problems()) != 0 || f.Root == nil {
				t.Errorf("problems %v, root %v", f.Problems(), f.Root)
			}
		})
	}
}

// Attacks: 33.
func TestParseCaps(t *testing.T) {
	if got := Parse([]byte(strings.Repeat("#", 300<<10)), Options{}).Problems(); got.Err("f") == nil {
		t.Error("a file over the size limit is accepted")
	}
	var b strings.Builder
	b.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 9; i++ {
		n := itoa(i)
		p := itoa(i - 1)
		b.WriteString("a" + n + ": &a" + n + " [" + strings.Repeat("*a"+p+", ", 9) + "*a" + p + "]\n")
	}
	got := Parse([]byte(b.String()), Options{}).Problems()
	if len(got) != 1 || !strings.Contains(got[0].Message, "aliases expand") {
		t.Errorf("alias bomb: got %v", got)
	}
	many := strings.Repeat("a: 1\n", 500)
	f := Parse([]byte(many), Options{})
	f.Map(f.Root, "")
	if n := len(f.Problems()); n != maxProblems+1 {
		t.Errorf("got %d problems, want %d", n, maxProblems+1)
	}
}
