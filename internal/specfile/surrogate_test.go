package specfile

import (
	"strings"
	"testing"
)

func TestSurrogatePairsOfJSON(t *testing.T) {
	src := "{\n\t\"é\": \"\\ud83d\\ude00 \\\\ud83d\\\\ude00 \\uD83D\\uDE80\", \"b\": [{}],\n\"c\": {}}"
	f := Parse([]byte(src), Options{})
	entries := f.Map(f.Root, "")
	if len(entries) != 3 {
		t.Fatalf("got %v", f.Problems())
	}
	if got, _ := f.Text(entries[0].Value, ""); got != "😀 \\ud83d\\ude00 🚀" {
		t.Errorf("got %q", got)
	}
	f.Text(entries[1].Value, "b")
	f.Text(entries[2].Value, "c")
	for i, want := range []string{"[", "{}}"} {
		p := f.Problems()[i]
		line := []rune(strings.Split(src, "\n")[p.Line-1])
		if rest := string(line[p.Column-1:]); !strings.HasPrefix(rest, want) {
			t.Errorf("%v points at %q, want %q", p, rest, want)
		}
	}
	for _, src := range []string{`{"a": "\ud83d"}`, `a: "\ud83d\ude00"`} {
		if got := Parse([]byte(src), Options{}).Problems(); !got.HasErrors() {
			t.Errorf("%s is accepted", src)
		}
	}
}
