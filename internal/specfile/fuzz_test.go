package specfile

import (
	"strings"
	"testing"
)

func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "a: 1\n", "a:\n\tb\n", "- [x", "a: &x {<<: *x}", "\ufeff---\na: {{b}}\n", "a: |\n  x\n b", "a: *b", "x: &x [1]\ny: [*x, *x]\n<<: [{a: 1}, {b: 2}]\n"} {
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
