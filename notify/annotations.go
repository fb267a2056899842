package notify

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
)

// annotationLimit is the most that one execution reports; more are counted in
// the summary (forges reference 3.3).
const annotationLimit = 500

// annotationsOf are the remarks of an ended execution, the worst first, and
// how many more there were.
func annotationsOf(x pipeline.Execution) (kept []forge.Annotation, more int) {
	all := slices.Clone(x.Annotations)
	if p := x.Problem; p != nil && p.File != "" && !pointsAt(all, p) {
		all = append(all, forge.Annotation{
			Path: p.File, StartLine: p.Line, EndLine: p.Line, Column: p.Column, Level: "failure", Title: p.Code, Message: p.Msg,
		})
	}
	for _, a := range all {
		if a, ok := tidy(a); ok {
			kept = append(kept, a)
		}
	}
	slices.SortStableFunc(kept, worstFirst)
	kept = slices.Compact(kept)
	if len(kept) > annotationLimit {
		more = len(kept) - annotationLimit
		kept = kept[:annotationLimit:annotationLimit]
	}
	return kept, more
}

// pointsAt says whether a remark on the problem's line is there already: the
// annotations of a file hold all its mistakes, the problem is the first.
func pointsAt(all []forge.Annotation, p *pipeline.UserError) bool {
	return slices.ContainsFunc(all, func(a forge.Annotation) bool {
		return a.Path == p.File && a.StartLine == p.Line && a.Level == "failure"
	})
}

// tidy makes an annotation that a forge takes; false if its place is not in
// the repository.
func tidy(a forge.Annotation) (forge.Annotation, bool) {
	p := printable(a.Path)
	if p == "" || path.IsAbs(p) || strings.Contains(p, "\\") {
		return a, false
	}
	a.Path = path.Clean(p)
	if a.Path == "." || a.Path == ".." || strings.HasPrefix(a.Path, "../") {
		return a, false
	}
	a.StartLine = max(1, a.StartLine)
	a.EndLine = max(a.StartLine, a.EndLine)
	if a.StartLine != a.EndLine || a.Column < 0 {
		a.Column = 0
	}
	if rank(a.Level) == 0 {
		a.Level = "warning"
	}
	a.Title = plain(a.Title)
	a.Message = orText(strings.TrimSpace(printable(a.Message)), orText(a.Title, "see the log"))
	return a, true
}

func worstFirst(a, b forge.Annotation) int {
	return cmp.Or(
		cmp.Compare(rank(b.Level), rank(a.Level)),
		cmp.Compare(a.Path, b.Path),
		cmp.Compare(a.StartLine, b.StartLine),
		cmp.Compare(a.EndLine, b.EndLine),
		cmp.Compare(a.Column, b.Column),
		cmp.Compare(a.Title, b.Title),
		cmp.Compare(a.Message, b.Message),
	)
}

func rank(level string) int {
	switch level {
	case "failure":
		return 3
	case "warning":
		return 2
	case "notice":
		return 1
	}
	return 0
}
