package pipeline

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/forge"
)

// CodePipeline reference 4.3, every row.
func TestGlobs(t *testing.T) {
	tests := []struct{ pattern, match, miss string }{
		{"*", "main .github", "feature/a .github/x"},
		{"**", "feature/a/b main", ""},
		{"feature/**", "feature/a feature/a/b", "feature xfeature/a"},
		{"release-?", "release-1 release-ß", "release-10 release-/"},
		{"*.{js,ts}", "a.ts b.js", "src/a.ts a.go"},
		{"**/README.md", "docs/README.md a/b/README.md", "README.md"},
		{"v[0-9].*", "v1.2", "va.2"},
		{"[!a-c]x", "dx", "ax /x"},
		{`a\*b`, "a*b", "axb"},
		{"[*?\\]x", `*x ?x \x`, "ax"},
		{"[-a]", "- a", "b"},
		{"[a-]", "- a", "b"},
		{"[+-9]", "+ 0 .", "/ a"},
		{"a,b", "a,b", "a b"},
		{"a}", "a}", "a"},
		{"Main", "Main", "main"},
		{"a.b+c", "a.b+c", "axb+c a.bbc"},
		{"{main,dev}/x", "main/x dev/x", "x main"},
		{"[^a]", "^ a", "b"},
	}
	for _, tt := range tests {
		re, err := glob(tt.pattern)
		if err != nil {
			t.Errorf("%q: %v", tt.pattern, err)
			continue
		}
		for _, s := range strings.Fields(tt.match) {
			if !re.MatchString(s) {
				t.Errorf("%q doesn't match %q", tt.pattern, s)
			}
		}
		for _, s := range strings.Fields(tt.miss) {
			if re.MatchString(s) {
				t.Errorf("%q matches %q", tt.pattern, s)
			}
		}
	}
	for _, bad := range []string{"[a", "{a", "{a,{b}}", `a\`, "[z-a]", "[a/b]", "[", "[!"} {
		if _, err := glob(bad); err == nil {
			t.Errorf("%q: want an error", bad)
		}
	}
}

func FuzzGlob(f *testing.F) {
	for _, s := range []string{"**/[!a-c]?.{js,ts}", `\[a\]`, "[+-9]", "{a,"} {
		f.Add(s, "src/a.ts")
	}
	f.Fuzz(func(_ *testing.T, pattern, text string) {
		re, err := glob(pattern)
		if err == nil {
			re.MatchString(text)
		}
	})
}

func ref(name string) forge.Event {
	return forge.Event{Kind: forge.Push, Name: "push", Repo: web, Push: &forge.PushEvent{Ref: name, After: sha1}}
}

func intoBranch(action, base string) forge.Event {
	e := pulled(action, "1")
	e.Pull.BaseRef = base
	return e
}

// CodePipeline reference, trigger cases.
func TestTriggers(t *testing.T) {
	anything := Criterion{Includes: []string{"**"}}
	in := func(patterns ...string) Criterion {
		var c Criterion
		for _, p := range patterns {
			if x, ok := strings.CutPrefix(p, "!"); ok {
				c.Excludes = append(c.Excludes, x)
			} else {
				c.Includes = append(c.Includes, p)
			}
		}
		return c
	}
	push := func(f ...PushFilter) Triggers { return Triggers{Push: f} }
	pull := func(f PullFilter) Triggers { return Triggers{Pull: []PullFilter{f}} }
	t2 := push(PushFilter{Branches: in("feature/**", "!feature/wip-*")})
	t3 := push(PushFilter{Branches: in("main"), Paths: in("api/**", "!**/*.md")})
	t4 := push(PushFilter{Branches: anything, Paths: in("!docs/**")})
	t5 := push(PushFilter{Tags: in("v*", "!v*-rc*")})
	t6 := push(PushFilter{Branches: in("main")}, PushFilter{Tags: in("v*")})
	t8 := pull(PullFilter{Events: []PullEvent{PullOpen}, Branches: in("main")})
	t10 := Triggers{Push: []PushFilter{{Branches: in("main")}}, Pull: []PullFilter{{Events: []PullEvent{PullClosed}, Branches: in("main")}}}
	t12 := push(PushFilter{Branches: anything, Paths: in("**/README.md")})
	t13 := push(PushFilter{Branches: in("rel-[0-9]?")})
	head := func(name string) forge.Event { return ref("refs/heads/" + name) }
	tests := []struct {
		name     string
		triggers Triggers
		event    forge.Event
		changed  string
		start    bool
		reason   string
	}{
		{"T1 main", Triggers{}, head("main"), "", true, "push to branch main"},
		{"T1 dev", Triggers{}, head("dev"), "", false, "no trigger matched: branches [main], got dev"},
		{"T1 tag", Triggers{}, ref("refs/tags/v1"), "", false, "no trigger matched: branches [main], got push of tag v1"},
		{"T1 another source branch", Triggers{Branch: "dev"}, head("dev"), "", true, "push to branch dev"},
		{"T1 pull request", Triggers{}, intoBranch("opened", "main"), "", false, "no trigger matched: only pushes start it, got pull request #7"},
		{"T2 below", t2, head("feature/a/b"), "", true, "push to branch feature/a/b"},
		{"T2 excluded", t2, head("feature/wip-1"), "", false, "no trigger matched: branches [feature/**, !feature/wip-*], got feature/wip-1"},
		{"T2 deeper", t2, head("feature/x/wip-1"), "", true, "push to branch feature/x/wip-1"},
		{"T2 no default any more", t2, head("main"), "", false, "no trigger matched: branches [feature/**, !feature/wip-*], got main"},
		{"T3 code", t3, head("main"), "api/x.go", true, "push to branch main that changes [api/**, !**/*.md]"},
		{"T3 words", t3, head("main"), "api/r.md", false, "no trigger matched: paths [api/**, !**/*.md], got api/r.md"},
		{"T3 both", t3, head("main"), "api/x.go api/r.md", true, "push to branch main that changes [api/**, !**/*.md]"},
		{"T3 elsewhere", t3, head("main"), "web/x", false, "no trigger matched: paths [api/**, !**/*.md], got web/x"},
		{"T4 docs", t4, head("main"), "docs/a", false, "no trigger matched: paths [!docs/**], got docs/a"},
		{"T4 and code", t4, head("main"), "docs/a x.go", true, "push to branch main that changes [!docs/**]"},
		{"T4 tag", push(PushFilter{Paths: in("docs/**")}), ref("refs/tags/v1"), "docs/a", false, "no trigger matched: branches [**], got push of tag v1"},
		{"T5 release", t5, ref("refs/tags/v1.2"), "", true, "push of tag v1.2"},
		{"T5 candidate", t5, ref("refs/tags/v1.2-rc1"), "", false, "no trigger matched: tags [v*, !v*-rc*], got v1.2-rc1"},
		{"T5 branch", t5, head("v1"), "", false, "no trigger matched: tags [v*, !v*-rc*], got push to branch v1"},
		{"T6 main", t6, head("main"), "", true, "push to branch main"},
		{"T6 tag", t6, ref("refs/tags/v2"), "", true, "push of tag v2"},
		{"T8 opened", t8, intoBranch("opened", "main"), "", true, "pull request #7 opened"},
		{"T8 synchronize", t8, intoBranch("synchronize", "main"), "", false, "no trigger matched: pull request events [OPEN], got UPDATED (synchronize)"},
		{"T8 into dev", t8, intoBranch("opened", "dev"), "", false, "no trigger matched: target branches [main], got dev"},
		{"T9 the whole pull request counts", pull(PullFilter{Paths: in("api/**")}), intoBranch("synchronize", "main"), "api/x README.md", true, "pull request #7 synchronize that changes [api/**]"},
		{"T10 closed", t10, intoBranch("closed", "main"), "", true, "pull request #7 closed"},
		{"T10 and pushed", t10, head("main"), "", true, "push to branch main"},
		{"T12 at the root", t12, head("main"), "README.md", false, "no trigger matched: paths [**/README.md], got README.md"},
		{"T12 below", t12, head("main"), "docs/README.md", true, "push to branch main that changes [**/README.md]"},
		{"T13 rel-12", t13, head("rel-12"), "", true, "push to branch rel-12"},
		{"T13 rel-1", t13, head("rel-1"), "", false, "no trigger matched: branches [rel-[0-9]?], got rel-1"},
		{"T13 rel-a1", t13, head("rel-a1"), "", false, "no trigger matched: branches [rel-[0-9]?], got rel-a1"},
		{"labels are nothing", pull(PullFilter{}), intoBranch("labeled", "main"), "", false, "no trigger matched: pull request events [OPEN, UPDATED, CLOSED], got labeled"},
		{"many files are not all named", t4, head("main"), "docs/a docs/b docs/c docs/d docs/e", false, "no trigger matched: paths [!docs/**], got docs/a, docs/b, docs/c and 2 more"},
		{"no files", t4, head("main"), "", false, "no trigger matched: paths [!docs/**], got no changed files"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			start, reason, err := tt.triggers.Match(tt.event, func() (forge.Changes, error) {
				return forge.Changes{Paths: strings.Fields(tt.changed)}, nil
			})
			if start != tt.start || reason != tt.reason || err != nil {
				t.Errorf("got %v, %q, %v; want %v, %q", start, reason, err, tt.start, tt.reason)
			}
		})
	}
}

func TestChangedFilesThatNobodyKnows(t *testing.T) {
	f := Triggers{Push: []PushFilter{{Paths: Criterion{Includes: []string{"api/**"}}}}}
	start, reason, err := f.Match(ref("refs/heads/main"), func() (forge.Changes, error) {
		return forge.Changes{Unknown: "more than 3000 files changed"}, nil
	})
	if want := "push to branch main (taken for changing [api/**]: more than 3000 files changed)"; !start || reason != want || err != nil {
		t.Errorf("got %v, %q, %v; want it started: %q", start, reason, err, want)
	}
	later := &forge.RetryError{Err: errors.New("rate limit")}
	if _, _, err := f.Match(ref("refs/heads/main"), func() (forge.Changes, error) { return forge.Changes{}, later }); !errors.Is(err, later) {
		t.Errorf("got %v, want what the forge said", err)
	}
}

func TestFilesAreAskedForOnceAndOnlyIfWanted(t *testing.T) {
	asked := 0
	changed := func() (forge.Changes, error) { asked++; return forge.Changes{Paths: []string{"x"}}, nil }
	paths := Criterion{Includes: []string{"api/**"}}
	f := Triggers{Push: []PushFilter{{Branches: Criterion{Includes: []string{"dev"}}, Paths: paths}}}
	f.Match(ref("refs/heads/main"), changed)
	if asked != 0 {
		t.Error("the branch didn't match, and still the files were asked for")
	}
	f.Push = slices.Repeat([]PushFilter{{Paths: paths}}, 3)
	f.Match(ref("refs/heads/main"), changed)
	if asked != 1 {
		t.Errorf("asked %d times, want once", asked)
	}
}
