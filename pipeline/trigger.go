package pipeline

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/slipway-ci/slipway/forge"
)

// Verdict is what one event may start.
type Verdict struct {
	// Start: executions with this Trigger. Otherwise Reason says why not.
	Start   bool
	Trigger Trigger
	// NotImplied, if set, is why the event starts no implied pipeline; one of a
	// pipeline file it may start.
	NotImplied string
	// Gate, if set, is why the event may start nothing until somebody approves
	// it; the forge is told so.
	Gate string
	// Skip, if set, is why a check is reported as skipped.
	Skip   string
	Reason string
}

func ignored(format string, args ...any) Verdict {
	return Verdict{Reason: fmt.Sprintf(format, args...)}
}

// Decide says whether an event may start pipelines. The implied triggers
// (design, section 9) are a push to any branch; a pull request opened, reopened,
// synchronize or ready_for_review. Pipeline files may also name tags, and pull
// requests closed or aimed at another branch. Deletions and drafts start nothing.
// What a merge queue wants checked starts what checks pull requests.
func Decide(e forge.Event) Verdict {
	if e.Repo.Archived {
		return ignored("the repository is archived")
	}
	switch e.Kind {
	case forge.Push:
		return decidePush(e)
	case forge.Pull:
		return decidePull(e)
	case forge.MergeGroup:
		return decideMergeGroup(e)
	case forge.Release:
		return decideRelease(e)
	case forge.Ping:
		return ignored("ping: the webhook is set up")
	case forge.Installation:
		return ignored("installation %s: noted", e.Action)
	}
	return ignored("nothing is triggered by %s", eventName(e))
}

func eventName(e forge.Event) string {
	if e.Action == "" {
		return e.Name
	}
	return e.Name + "." + e.Action
}

func decidePush(e forge.Event) Verdict {
	p := e.Push
	branch, isBranch := strings.CutPrefix(p.Ref, "refs/heads/")
	switch {
	case p.Deleted || zeros(p.After):
		return ignored("%s was deleted", p.Ref)
	case !isBranch && !strings.HasPrefix(p.Ref, "refs/tags/"):
		return ignored("no trigger matched: only branches and tags start pipelines, got %s", p.Ref)
	}
	t := baseTrigger(e, "PUSH")
	t.SHA, t.Ref, t.FetchRef, t.Before, t.Message, t.Trusted = p.After, p.Ref, p.Ref, p.Before, p.Message, true
	t.PushedAt = p.At
	v := Verdict{Start: true, Trigger: t, Reason: "push to branch " + branch}
	if !isBranch {
		v.NotImplied = "no trigger matched: only branches start the implied pipeline, got " + p.Ref
		v.Reason = v.NotImplied
	}
	if isBranch && e.Forge == githubForge && strings.HasPrefix(branch, queueBranches) {
		v.NotImplied = "a branch of the merge queue runs by its merge_group event, for which the App needs the permission Merge queues: read"
		v.Reason = v.NotImplied
	}
	if skipCI.MatchString(p.Message) || skipChecks.MatchString(p.Message) {
		v.Skip = "the commit message asks to skip CI"
	}
	return v
}

// skipCI are the marks of forges reference 2.8.
var (
	skipCI     = regexp.MustCompile(`(?i)\[(skip ci|ci skip|no ci|skip slipway|slipway skip)\]`)
	skipChecks = regexp.MustCompile(`(?im)^skip-checks:\s*true\s*$`)
)

var pullEvents = map[string]string{
	"opened": "PULL_REQUEST_CREATED", "reopened": "PULL_REQUEST_REOPENED",
	"synchronize": "PULL_REQUEST_UPDATED", "ready_for_review": "PULL_REQUEST_CREATED",
}

func decidePull(e forge.Event) Verdict {
	pr := e.Pull
	event, implied := pullEvents[e.Action]
	missed := "no trigger matched: pull request actions [opened reopened synchronize ready_for_review], got " + e.Action
	if !implied {
		event = fileEvent(e)
	}
	switch {
	case event == "", !implied && !pr.Internal():
		return ignored("%s", missed)
	case e.Action == "closed":
	case pr.Closed:
		return ignored("pull request #%d is closed", pr.Number)
	case pr.Draft:
		return ignored("pull request #%d is a draft", pr.Number)
	}
	t := baseTrigger(e, event)
	t.SHA, t.Ref, t.FetchRef, t.Pull = pr.HeadSHA, "refs/heads/"+pr.HeadRef, pr.FetchRef, pr
	t.Message = pr.Title
	v := Verdict{Start: true, Trigger: t, Reason: fmt.Sprintf("pull request #%d %s", pr.Number, e.Action)}
	if !implied {
		v.NotImplied, v.Reason = missed, missed
	}
	if !pr.Internal() {
		v.Gate = ForkGate(*pr)
		v.Reason = v.Gate
		return v
	}
	v.Trigger.Trusted = true
	return v
}

// fileEvent is an event that only pipeline files can name; "" for none.
func fileEvent(e forge.Event) string {
	switch {
	case e.Action == "closed" && e.Pull.Merged:
		return "PULL_REQUEST_MERGED"
	case e.Action == "closed":
		return "PULL_REQUEST_CLOSED"
	case e.Action == "edited" && e.Pull.BaseChanged:
		return "PULL_REQUEST_UPDATED"
	}
	return ""
}

func baseTrigger(e forge.Event, event string) Trigger {
	return Trigger{
		Type: "Webhook", Event: event, Delivery: e.Delivery, Actor: e.Sender,
		UserAgent: e.UserAgent, Installation: e.Installation,
	}
}

// zeros reports whether sha is the "no commit" of either object format.
func zeros(sha string) bool { return sha == "" || strings.Trim(sha, "0") == "" }
