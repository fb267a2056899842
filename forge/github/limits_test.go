package github

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/forge/forgetest"
)

func TestMarkdownCut(t *testing.T) {
	const url = "https://ci.example/e/1"
	fill := strings.Repeat("line\n", textLimit/4)
	tests := []struct {
		name, in string
		want     string // the end
	}{
		{"short is left alone", "a\n```\nopen", "a\n```\nopen"},
		{"cut at a line's end", fill, "line\n\n… truncated, full log: " + url + "\n"},
		{"fence", "```go\n" + fill, "line\n```\n\n… truncated, full log: " + url + "\n"},
		{"longer fence", "~~~~\n~~~\n" + fill, "line\n~~~~\n\n… truncated, full log: " + url + "\n"},
		{"closed fence", "```\nx\n```\n" + fill, "line\n\n… truncated, full log: " + url + "\n"},
		{"details", "<details><summary>x</summary>\n" + fill, "line\n</details>\n\n… truncated, full log: " + url + "\n"},
		{"details inside a fence", "```\n<details>\n```\n" + fill, "line\n\n… truncated, full log: " + url + "\n"},
		{"details around a fence", "<details>\n```\n" + fill, "line\n```\n</details>\n\n… truncated, full log: " + url + "\n"},
		{"one endless line", strings.Repeat("😀", textLimit), "😀\n\n… truncated, full log: " + url + "\n"},
	}
	for _, tt := range tests {
		got := markdown(tt.in, url)
		if !strings.HasSuffix(got, tt.want) || units(got) > textLimit {
			t.Errorf("%s: %d units, ends in %q", tt.name, units(got), got[max(0, len(got)-80):])
		}
	}
	if got := clean("a\x00\x1b[31mb\r\nc\td\xff"); got != "a[31mb\nc\td\uFFFD" {
		t.Errorf("clean: %q", got)
	}
}

func FuzzMarkdown(f *testing.F) {
	f.Add("```\n<details>", 70000)
	f.Add("😀\xff\x00", 40000)
	f.Fuzz(func(t *testing.T, piece string, repeat int) {
		if len(piece) > 1000 || repeat < 0 || repeat > 100000 || len(piece)*repeat > 1<<20 {
			return
		}
		got := markdown(strings.Repeat(piece, repeat), "https://ci.example/"+piece)
		if !utf8.ValidString(got) || units(got) > textLimit || strings.ContainsAny(got, "\x00\x1b") {
			t.Errorf("%d units, valid %v", units(got), utf8.ValidString(got))
		}
	})
}

func TestLine(t *testing.T) {
	for in, want := range map[string]string{
		"short":       "short",
		"two\nlines":  "two lines",
		"12345678901": "123456789…",
		"😀😀😀😀😀😀":      "😀😀😀😀…",
	} {
		if got := line(in, 10); got != want {
			t.Errorf("line(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestAnnotations(t *testing.T) {
	in := []forge.Annotation{
		{Path: "./b.go", StartLine: 3, Level: "notice", Message: "later"},
		{Path: "b.go", StartLine: 9, EndLine: 4, Level: "failure", Message: "x", Column: 2},
		{Path: "b.go", StartLine: 9, EndLine: 4, Level: "failure", Message: "x", Column: 2},
		{Path: "a.go", StartLine: -1, EndLine: 7, Level: "failure", Message: "y", Column: 3},
		{Path: "/etc/passwd", Message: "outside"},
		{Path: "../x", Message: "outside"},
		{Path: "a/../../x", Message: "outside"},
		{Path: "", Message: "nowhere"},
		{Path: "c.go", Level: "odd", Title: "only a title"},
		{Path: "c.go", Level: "odd"},
	}
	want := []forge.Annotation{
		{Path: "a.go", StartLine: 1, EndLine: 7, Level: "failure", Message: "y"},
		{Path: "b.go", StartLine: 9, EndLine: 9, Level: "failure", Message: "x", Column: 2},
		{Path: "b.go", StartLine: 3, EndLine: 3, Level: "notice", Message: "later"},
		{Path: "c.go", StartLine: 1, EndLine: 1, Level: "notice", Message: "only a title", Title: "only a title"},
	}
	got, more := annotations(in)
	if diff := cmp.Diff(want, got); diff != "" || more != 0 {
		t.Errorf("%d more (-want +got):\n%s", more, diff)
	}
	if list, more := annotations(remarks(annotationLimit + 7)); len(list) != annotationLimit || more != 7 {
		t.Errorf("got %d and %d more", len(list), more)
	}
	if list, _ := annotations([]forge.Annotation{{Path: "a", Message: strings.Repeat("é", messageLimit)}}); len(list[0].Message) > messageLimit || !utf8.ValidString(list[0].Message) {
		t.Errorf("message of %d bytes", len(list[0].Message))
	}
}

// The fake's payloads are read as what they stand for.
func TestDecodeMadePayloads(t *testing.T) {
	w := newWorld(t, forgetest.Options{}, Options{})
	run := queued()
	w.put(t, run)
	repo := forgetest.Repo{ID: 42, Owner: "octo", Name: "hello", Installation: 3}
	tests := []struct {
		event   string
		payload any
		want    func(forge.Event) bool
	}{
		{"push", forgetest.Push{Ref: "refs/heads/main", After: testSHA, Message: "m"}.Payload(repo),
			func(e forge.Event) bool { return e.Push.Created && e.Push.Message == "m" && e.Installation == 3 }},
		{"push", forgetest.Push{Ref: "refs/heads/main", Before: testSHA}.Payload(repo),
			func(e forge.Event) bool { return e.Push.Deleted }},
		{"pull_request", forgetest.PullPayload(repo, forgetest.Pull{Number: 4, Head: "b", HeadSHA: testSHA, BaseSHA: testSHA, Base: "main"}, "opened"),
			func(e forge.Event) bool { return e.Pull.Internal() && e.Pull.Number == 4 }},
		{"pull_request", forgetest.PullPayload(repo, forgetest.Pull{Number: 4, Head: "b", HeadSHA: testSHA, BaseSHA: testSHA, Base: "main", HeadRepo: 9}, "opened"),
			func(e forge.Event) bool { return !e.Pull.Internal() }},
		{"check_run", forgetest.CheckPayload(repo, w.CheckRuns("octo/hello", "")[0], "rerequested", ""),
			func(e forge.Event) bool { return e.Kind == forge.CheckRerun && e.Check.ExternalID == "e1:1" }},
		{"check_suite", forgetest.SuitePayload(repo, testSHA, 1),
			func(e forge.Event) bool { return e.Kind == forge.SuiteRerun && e.Check.SHA == testSHA }},
		{"ping", forgetest.PingPayload(1), func(e forge.Event) bool { return e.Kind == forge.Ping }},
	}
	for _, tt := range tests {
		e, err := Decode("github", headers(tt.event), mustJSON(t, tt.payload), "")
		if err != nil || !tt.want(e) {
			t.Errorf("%s: %v, %+v", tt.event, err, e)
		}
	}
}
