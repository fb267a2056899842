package notify

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/pipeline"
)

func compareNames(a, b string) int {
	// The implied pipeline comes first.
	return cmp.Or(cmp.Compare(btoi(a != pipeline.DefaultPipeline), btoi(b != pipeline.DefaultPipeline)), cmp.Compare(a, b))
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// rowOf is an execution's row. It says nothing that changes by the second.
func rowOf(x pipeline.Execution, list []work, base string) row {
	v := verdictOf(x, list, RenderOptions{})
	r := row{
		Execution: x.ID, Pipeline: x.Pipeline.Name, SHA: x.Trigger.SHA, Number: x.Number, Revision: x.Revision, CreatedAt: x.CreatedAt,
		Icon: icon(v), Title: plain(v.title), Ended: x.Status.Ended(),
		Closed: x.Gate != "",
		Calls:  v.human || v.conclusion == failure || v.conclusion == timedOut,
	}
	if v.status == queued {
		r.Title = "Queued"
	}
	if r.Ended && x.Gate == "" {
		r.Took = short(ran(x))
	}
	if v.asks != nil {
		r.Gate = strings.TrimPrefix(v.title, "Waiting for approval: ")
	}
	var b strings.Builder
	if r.Closed {
		fmt.Fprintf(&b, "\n%s\n", escape(cut(x.Gate, 1000)))
	} else if v.failed != nil {
		writeFailure(&b, *v.failed, RenderOptions{BaseURL: base})
	} else if why := reason(x, v); v.conclusion == failure && why != "" {
		fmt.Fprintf(&b, "\n%s\n", escape(cut(why, 1000)))
	}
	if v.asks != nil {
		writeQuestion(&b, *v.asks, pageURL(base, "executions", x.ID))
	}
	r.Details = cut(b.String(), detailRunes)
	r.Results, r.Reports = results(list), reportLines(list)
	return r
}

// reportLineLimit is how many reports a row names; the check names them all.
const reportLineLimit = 10

// reportLines has a line for each report of the execution's builds: tests,
// coverage, and what is new in it.
func reportLines(list []work) string {
	var b strings.Builder
	left := reportLineLimit
	for _, w := range list {
		if w.build == nil {
			continue
		}
		for _, r := range w.build.Reports[:min(left, len(w.build.Reports))] {
			fmt.Fprintf(&b, "- %s: %s, %s\n", escape(cut(r.Name, 100)), reportState(r.Status), escape(r.Counts()))
			left--
		}
	}
	return b.String()
}

// detailRunes bounds what one row says, so that all fit into a comment. A
// failing command's fence is shorter: see writeFailure's own bounds.
const detailRunes = 30_000

func icon(v verdict) string {
	switch {
	case v.human:
		return "✋"
	case v.status == queued:
		return "🕒"
	case v.status == inProgress:
		return "🔄"
	}
	switch v.conclusion {
	case success:
		return "✅"
	case skipped, cancelled:
		return "⏹️"
	case timedOut:
		return "⏱️"
	}
	if v.infrastructure {
		return "⚠️"
	}
	return "❌"
}

// results lists what the execution has made and where it is deployed.
func results(list []work) string {
	var parts []string
	for _, w := range list {
		for _, a := range w.exec.Artifacts {
			parts = append(parts, fmt.Sprintf("artifact %s (%d files)", escape(a.Name), a.Files))
		}
		if isDeployment(&w) && w.exec.Status == pipeline.Succeeded {
			parts = append(parts, "deployed by "+escape(w.stage+"/"+w.def.Name))
		}
	}
	return strings.Join(parts[:min(len(parts), 20)], ", ")
}

// renderComment is the whole comment, without its marker.
func renderComment(sh sheet, base string) string {
	var b strings.Builder
	b.WriteString("### Slipway\n\n| Pipeline | State | Commit | Duration | |\n| --- | --- | --- | ---: | --- |\n")
	for _, r := range sh.Rows {
		link := fmt.Sprintf("execution %d", r.Number)
		if u := pageURL(base, "executions", r.Execution); u != "" {
			link = fmt.Sprintf("[%s](%s)", link, u)
		}
		fmt.Fprintf(&b, "| %s | %s %s | %s | %s | %s |\n", escape(r.Pipeline), r.Icon, escape(cut(r.Title, 200)), pipeline.ShortSHA(r.SHA), r.Took, link)
	}
	for _, r := range sh.Rows {
		if r.Details != "" {
			fmt.Fprintf(&b, "\n<details><summary>%s: %s</summary>\n%s\n</details>\n", escapeHTML(r.Pipeline), escapeHTML(cut(r.Title, 200)), r.Details)
		}
		if r.Results != "" {
			fmt.Fprintf(&b, "\n%s: %s\n", escape(r.Pipeline), r.Results)
		}
		if r.Reports != "" {
			fmt.Fprintf(&b, "\n%s\n\n%s", escape(r.Pipeline), r.Reports)
		}
	}
	if hints := commands(sh.Rows); hints != "" {
		fmt.Fprintf(&b, "\n%s\n", hints)
	}
	if len(sh.Past) > 0 {
		b.WriteString("\n<details><summary>Previous runs</summary>\n\n")
		for _, p := range sh.Past {
			fmt.Fprintf(&b, "- %s %s: %s %s\n", pipeline.ShortSHA(p.SHA), escape(p.Pipeline), p.Icon, escape(cut(p.Title, 200)))
		}
		b.WriteString("\n</details>\n")
	}
	return b.String()
}

// commands are the chat commands that make sense now (forges reference 5.4).
func commands(rows []row) string {
	var list []string
	add := func(command, what string) {
		if s := "`" + command + "` " + what; !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	for _, r := range rows {
		switch {
		case r.Gate != "":
			gate := strings.ReplaceAll(plain(r.Gate), "`", "")
			add("/approve "+gate, "lets it go on")
			add("/reject "+gate, "ends it")
		case r.Closed:
			add("/ok-to-test "+pipeline.ShortSHA(r.SHA), "lets this commit be built, without secrets")
		case r.Calls && r.Ended:
			add("/retest", "runs what failed again")
		}
	}
	return strings.Join(list, " · ")
}

// escapeHTML is for text within a summary, where Markdown isn't read.
func escapeHTML(s string) string {
	s = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "@", "@"+zeroWidth, "#", "#"+zeroWidth).Replace(plain(s))
	return breakLinks(s)
}
