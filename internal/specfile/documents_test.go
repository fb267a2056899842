package specfile

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseAll(t *testing.T) {
	tests := []struct {
		name, in string
		want     []string // line of each document's root, and its problems
	}{
		{"one", "a: 1\n", []string{"1"}},
		{"two, and empty ones", "---\n# nothing\n---\na: 1\n---\n---\nb: 2\n", []string{"4", "7"}},
		{"nothing", "# only this\n", []string{"none 1:1: the file is empty: want a map"}},
		{"no map", "a: 1\n---\n- b\n", []string{"1", "none 3:1: want a map at the top level, have a list"}},
		{"a mistake ends it", "a: 1\n---\nb: [\n", []string{"1", "none"}},
		{"control character", "a: \x01\n", []string{"none 1:4: control characters are not allowed (U+0001) at line 1"}},
		{"too many", strings.Repeat("--- {a: 1}\n", MaxDocuments+2), append(lines(MaxDocuments), "none 51:1: the file has more than 50 documents")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, f := range ParseAll([]byte(tt.in), Options{}) {
				line := "none"
				if f.Root != nil {
					line = itoa(f.Root.Line)
				}
				for _, p := range f.Problems() {
					if p.Code != CodeSyntax || strings.Contains(p.Message, "control") {
						line += " " + p.String()
					}
				}
				got = append(got, line)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func lines(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprint(i+1))
	}
	return out
}
