package codepipeline

import (
	"fmt"
	"strings"
)

// Fate is what became of a part of the declaration.
type Fate string

// The fates, from the best to the worst.
const (
	Mapped       Fate = "mapped"       // it means the same here
	Approximated Fate = "approximated" // it means nearly the same
	Dropped      Fate = "dropped"      // it has no meaning here
	NeedsAction  Fate = "needs action" // somebody has to do something first
)

// Note says what became of one part, by its path in the declaration.
type Note struct {
	Fate Fate
	Path string
	Text string
}

type report struct{ notes []Note }

func (r *report) note(f Fate, path, text string) {
	n := Note{f, path, text}
	for _, other := range r.notes {
		if other == n {
			return
		}
	}
	r.notes = append(r.notes, n)
}

// Markdown is the report for people, with what needs action first.
func (i Import) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Import of pipeline %s\n", i.Name)
	for _, f := range []Fate{NeedsAction, Dropped, Approximated, Mapped} {
		head := false
		for _, n := range i.Notes {
			if n.Fate != f {
				continue
			}
			if !head {
				fmt.Fprintf(&b, "\n## %s%s\n\n", strings.ToUpper(string(f[:1])), f[1:])
				head = true
			}
			fmt.Fprintf(&b, "- `%s`: %s\n", n.Path, n.Text)
		}
	}
	return b.String()
}
