package chat

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
)

// act does one command whose author was found to be allowed to try.
type act func(ctx context.Context, t *talk, c Command) (outcome, error)

// acts has one entry for each of Commands.
var acts = map[string]act{
	"help": help, "status": status, "logs": tail, "test": test, "retest": retest, "ok-to-test": trust,
	"cancel": cancel, "approve": approve, "reject": approve, "deploy": deploy, "rollback": rollback,
	"run": runOne, "stop": stopDeployments, "retry": retry, "hold": hold, "unhold": hold, "override": override,
}

func help(_ context.Context, t *talk, c Command) (outcome, error) {
	if len(c.Args) == 1 {
		s := Lookup(strings.ToLower(strings.TrimPrefix(c.Args[0], "/")))
		if s == nil {
			return outcome{}, refuse("there is no such command")
		}
		return outcome{reaction: "+1", text: fmt.Sprintf("`%s`: %s\n\nWho may: %s.", s.Usage(), s.Help, s.Who)}, nil
	}
	var b strings.Builder
	b.WriteString("| command | what it does |\n| --- | --- |\n")
	for _, s := range Commands {
		if t.may(s) == nil {
			fmt.Fprintf(&b, "| `%s` | %s |\n", strings.ReplaceAll(s.Usage(), "|", `\|`), s.Help)
		}
	}
	return outcome{reaction: "+1", help: b.String()}, nil
}

// executions are those of the pull request, newest first; of a merged one those
// of its merge commit, too.
func (t *talk) executions(ctx context.Context) ([]pipeline.Summary, error) {
	var found []pipeline.Summary
	q := pipeline.Query{Forge: t.e.Repo.Forge, Repo: t.e.Repo.FullName(), Limit: 200}
	for range 5 {
		page, err := t.Records.Executions(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, x := range page.Items {
			if x.Trigger == fmt.Sprintf("pr/%d", t.pr.Number) || t.pr.MergeSHA != "" && x.SHA == t.pr.MergeSHA {
				found = append(found, x)
			}
		}
		if q.After = page.Next; q.After == "" {
			break
		}
	}
	return found, nil
}

// latest are the newest execution of each pipeline at the head.
func (t *talk) latest(ctx context.Context) ([]pipeline.Summary, error) {
	all, err := t.executions(ctx)
	var found []pipeline.Summary
	for _, x := range all {
		known := slices.ContainsFunc(found, func(y pipeline.Summary) bool { return y.Pipeline == x.Pipeline })
		if !known && (x.SHA == t.pr.HeadSHA || x.SHA == t.pr.MergeSHA) {
			found = append(found, x)
		}
	}
	return found, err
}

func (t *talk) link(x pipeline.Summary) string {
	return fmt.Sprintf("[%s #%d](%s)", x.Pipeline, x.Number, t.Link(x.ID))
}

func status(ctx context.Context, t *talk, c Command) (outcome, error) {
	list, err := t.latest(ctx)
	if err != nil {
		return outcome{}, err
	}
	if len(c.Args) == 1 {
		list = slices.DeleteFunc(list, func(x pipeline.Summary) bool { return !strings.EqualFold(x.Pipeline, c.Args[0]) })
	}
	if len(list) == 0 {
		return outcome{reaction: "+1", text: "Nothing has run for " + pipeline.ShortSHA(t.pr.HeadSHA) + "."}, nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "| pipeline | status of %s | |\n| --- | --- | --- |\n", pipeline.ShortSHA(t.pr.HeadSHA))
	for _, x := range list {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", t.link(x), x.Status, strings.NewReplacer("|", `\|`, "\n", " ").Replace(x.Reason))
	}
	return outcome{reaction: "+1", text: b.String()}, nil
}

func tail(ctx context.Context, t *talk, c Command) (outcome, error) {
	lines := 30
	if n, ok := c.Flags["n"]; ok {
		var err error
		if lines, err = strconv.Atoi(n); err != nil || lines < 1 || lines > 200 {
			return outcome{}, refuse("-n wants a number from 1 to 200")
		}
	}
	list, err := t.latest(ctx)
	if err != nil {
		return outcome{}, err
	}
	for _, sum := range list {
		x, err := t.Records.Execution(ctx, sum.ID)
		if err != nil {
			return outcome{}, err
		}
		for _, st := range x.Stages {
			for _, a := range st.Actions {
				if a.Job == "" || !strings.EqualFold(a.Name, c.Args[0]) {
					continue
				}
				text, err := t.lastLines(ctx, a.Job, lines)
				if err != nil {
					return outcome{}, err
				}
				return outcome{reaction: "+1", text: folded(fmt.Sprintf("%s of %s: %s", a.Name, t.link(sum), cmp.Or(string(a.Status), "waiting")), text)}, nil
			}
		}
	}
	return outcome{}, refuse("no execution of %s has an action of that name with a log", pipeline.ShortSHA(t.pr.HeadSHA))
}

var escapes = regexp.MustCompile("\x1b\\[[0-9;?]*[ -/]*[@-~]")

// folded is a log under a line that opens it. A fence that is longer than any
// in the log holds it.
func folded(title, log string) string {
	log = strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, escapes.ReplaceAllString(log, ""))
	fence := "```"
	for strings.Contains(log, fence) {
		fence += "`"
	}
	return title + "\n\n<details><summary>Log</summary>\n\n" + fence + "\n" + cmp.Or(log, "Nothing was written yet.") + "\n" + fence + "\n</details>"
}

func test(ctx context.Context, t *talk, c Command) (outcome, error) {
	if !t.pr.Internal() {
		return outcome{}, refuse("the pull request is a stranger's; write `/ok-to-test %s`", pipeline.ShortSHA(t.pr.HeadSHA))
	}
	want := pipeline.PullRun{Pipelines: c.Args}
	if len(c.Args) == 1 && strings.EqualFold(c.Args[0], "all") {
		want = pipeline.PullRun{All: true}
	}
	return t.start(ctx, want, "eyes")
}

// start runs pipelines for the head of the pull request.
func (t *talk) start(ctx context.Context, want pipeline.PullRun, reaction string) (outcome, error) {
	if t.c.Review && t.c.SHA != t.pr.HeadSHA {
		return outcome{}, t.moved(t.c.SHA)
	}
	d, err := t.on.StartPull(ctx, t.d, t.e, t.pr, want)
	if err != nil {
		return outcome{}, err
	}
	if d.Decision != pipeline.DecisionStarted {
		return outcome{}, refuse("%s", d.Reason)
	}
	return t.running(d, reaction), nil
}

// running says what was started for the head.
func (t *talk) running(d pipeline.Decision, reaction string) outcome {
	var links []string
	for _, id := range d.Executions {
		links = append(links, fmt.Sprintf("[%s](%s)", id[:min(8, len(id))], t.Link(id)))
	}
	return outcome{reaction: reaction, executions: d.Executions, text: fmt.Sprintf("Running for %s: %s.", pipeline.ShortSHA(t.pr.HeadSHA), strings.Join(links, ", "))}
}

func retest(ctx context.Context, t *talk, c Command) (outcome, error) {
	list, err := t.latest(ctx)
	if err != nil {
		return outcome{}, err
	}
	if !t.pr.Internal() && len(list) == 0 {
		return test(ctx, t, c)
	}
	out := outcome{reaction: "eyes"}
	var links []string
	for _, x := range list {
		named := len(c.Args) == 0 || slices.ContainsFunc(c.Args, func(n string) bool { return strings.EqualFold(n, x.Pipeline) })
		if !named || x.Status == pipeline.Succeeded || !x.Status.Ended() {
			continue
		}
		id, err := t.on.Rerun(ctx, x.ID, t.d.Forge, t.d.ID, t.d.Attempt, t.c.Author)
		if err != nil {
			return outcome{}, err
		}
		out.executions = append(out.executions, id)
		links = append(links, fmt.Sprintf("[%s](%s)", x.Pipeline, t.Link(id)))
	}
	switch {
	case len(links) > 0:
		out.text = fmt.Sprintf("Running again for %s: %s.", pipeline.ShortSHA(t.pr.HeadSHA), strings.Join(links, ", "))
	case len(list) > 0:
		out.text = "There is nothing to run again for " + pipeline.ShortSHA(t.pr.HeadSHA) + ": it succeeded or is running."
	default:
		return t.start(ctx, pipeline.PullRun{Pipelines: c.Args}, "eyes")
	}
	return out, nil
}

var shaForm = regexp.MustCompile(`^[0-9a-f]{7,64}$`)

// atHead checks that a commit that somebody names is the head. What was
// approved is what was looked at (forges reference 4.2).
func (t *talk) atHead(sha string) error {
	sha = strings.ToLower(sha)
	switch {
	case !shaForm.MatchString(sha):
		return refuse("a commit is wanted, at least its first seven digits")
	case !strings.HasPrefix(t.pr.HeadSHA, sha):
		return t.moved(sha)
	}
	return nil
}

func (t *talk) moved(sha string) error {
	return refuse("%s is not the head any more, which is %s", pipeline.ShortSHA(sha), pipeline.ShortSHA(t.pr.HeadSHA))
}

// trust lets one commit of a stranger be built. It must be named: a comment
// doesn't say what its author had looked at.
func trust(ctx context.Context, t *talk, c Command) (outcome, error) {
	sha := ""
	if len(c.Args) == 1 {
		sha = c.Args[0]
	}
	if strings.EqualFold(sha, "cancel") {
		return t.stopAll(ctx, func(pipeline.Summary) bool { return true }, pipeline.StopCancel)
	}
	if t.c.Review && sha == "" {
		sha = t.c.SHA
	}
	if sha == "" {
		return outcome{}, refuse("say which commit you have looked at: `/ok-to-test %s`", pipeline.ShortSHA(t.pr.HeadSHA))
	}
	if err := t.atHead(sha); err != nil {
		return outcome{}, err
	}
	if t.pr.Internal() {
		return outcome{}, refuse("the pull request is not a stranger's; `/test` runs it")
	}
	return t.start(ctx, pipeline.PullRun{}, "eyes")
}

func cancel(ctx context.Context, t *talk, c Command) (outcome, error) {
	mode := pipeline.StopCancel
	if c.Flags["abandon"] != "" {
		mode = pipeline.StopAbandon
	}
	want := func(pipeline.Summary) bool { return true }
	if len(c.Args) == 1 && !strings.EqualFold(c.Args[0], "all") {
		name := strings.ToLower(c.Args[0])
		want = func(x pipeline.Summary) bool {
			return strings.EqualFold(x.Pipeline, name) || len(name) >= 8 && strings.HasPrefix(x.ID, name)
		}
	}
	return t.stopAll(ctx, want, mode)
}

// stopAll stops the running executions of the pull request that are wanted.
func (t *talk) stopAll(ctx context.Context, want func(pipeline.Summary) bool, mode pipeline.StopMode) (outcome, error) {
	list, err := t.executions(ctx)
	if err != nil {
		return outcome{}, err
	}
	var stops []pipeline.Event
	for _, sum := range list {
		if sum.Status.Ended() || !want(sum) {
			continue
		}
		x, err := t.Records.Execution(ctx, sum.ID)
		if err != nil {
			return outcome{}, err
		}
		if x.Trigger.Actor.ID != t.c.Author.ID || t.c.Author.ID == "" {
			if err := t.atLeast(forge.Write); err != nil {
				return outcome{}, err
			}
		}
		stops = append(stops, t.event(pipeline.StopRequested, x, func(e *pipeline.Event) { e.Stop = mode }))
	}
	if len(stops) == 0 {
		return outcome{}, refuse("nothing of that is running for this pull request")
	}
	return outcome{reaction: "+1", events: stops}, nil
}

// event is a person's event about an execution. The ID makes it happen once for
// each delivery.
func (t *talk) event(what pipeline.EventType, x pipeline.Execution, set func(*pipeline.Event)) pipeline.Event {
	e := pipeline.Event{
		V: 1, ID: fmt.Sprintf("chat:%s:%s:%s:%d:%s", what, t.d.Forge, t.d.ID, t.d.Attempt, x.ID), Type: what, Board: x.Board,
		At: t.Now().UTC(), Execution: x.ID, By: t.c.Author.Login,
	}
	set(&e)
	return e
}

// mayDeploy checks a command that names an environment.
func (t *talk) mayDeploy(ctx context.Context, name string) error {
	ok, err := t.approves(ctx, t.environment(name).Approvers)
	if err == nil && !ok {
		err = refuse("you are not one of those who may deploy to %s", name)
	}
	return err
}

func deploy(ctx context.Context, t *talk, c Command) (outcome, error) {
	if err := t.mayDeploy(ctx, c.Args[0]); err != nil {
		return outcome{}, err
	}
	if !t.pr.Internal() {
		return outcome{}, refuse("what comes from a stranger is not deployed")
	}
	if t.pr.Closed {
		return outcome{}, refuse("the pull request is closed; `/rollback` and a push to its branch work on")
	}
	if err := t.looked(ctx, c); err != nil {
		return outcome{}, err
	}
	want := pipeline.PullRun{Environment: c.Args[0], Variables: c.Variables}
	if p := c.Flags["pipeline"]; p != "" {
		want.Pipelines = []string{p}
	}
	return t.start(ctx, want, "eyes")
}

// looked checks that what is deployed is what the author has looked at: the
// commit that is named, or, in an environment with approvers, a head that we
// knew before the comment was written (forges reference 4.2).
func (t *talk) looked(ctx context.Context, c Command) error {
	if sha := c.Flags["sha"]; sha != "" {
		return t.atHead(sha)
	}
	if len(t.environment(c.Args[0]).Approvers) == 0 || t.c.Review {
		return nil // a review is of its commit
	}
	list, err := t.latest(ctx)
	if err != nil {
		return err
	}
	known := func(x pipeline.Summary) bool {
		return t.c.CreatedAt.IsZero() || !x.CreatedAt.Truncate(time.Second).After(t.c.CreatedAt)
	}
	if !slices.ContainsFunc(list, known) {
		return refuse("say which commit you have looked at: `/deploy %s --sha %s`", c.Args[0], pipeline.ShortSHA(t.pr.HeadSHA))
	}
	return nil
}

// rollback goes back to what succeeded in the environment's stage before what
// is there now.
func rollback(ctx context.Context, t *talk, c Command) (outcome, error) {
	if err := t.mayDeploy(ctx, c.Args[0]); err != nil {
		return outcome{}, err
	}
	page, err := t.Records.Executions(ctx, pipeline.Query{Forge: t.e.Repo.Forge, Repo: t.e.Repo.FullName(), Limit: 200})
	if err != nil {
		return outcome{}, err
	}
	newest := true // the first that entered the stage is what is there, if it succeeded
	for _, sum := range page.Items {
		x, err := t.Records.Execution(ctx, sum.ID)
		if errors.Is(err, pipeline.ErrNotFound) {
			continue
		}
		if err != nil {
			return outcome{}, err
		}
		stage := stageOf(x, c.Args[0])
		if stage == nil || stage.Status == "" {
			continue
		}
		current := newest && stage.Status == pipeline.Succeeded
		newest = false
		to := strings.ToLower(c.Flags["to"])
		named := to != "" && (strings.HasPrefix(x.ID, to) || len(to) >= 7 && strings.HasPrefix(x.Trigger.SHA, to))
		if stage.Status != pipeline.Succeeded || x.Target != "" || to == "" && current || to != "" && !named {
			continue
		}
		e := t.event(pipeline.RollbackWanted, x, func(e *pipeline.Event) { e.Stage, e.Target, e.Execution = stage.Name, x.ID, "" })
		return outcome{reaction: "rocket", events: []pipeline.Event{e}, text: fmt.Sprintf("Going back to %s in %s, as [%s #%d](%s) left it.", pipeline.ShortSHA(x.Trigger.SHA), c.Args[0], x.Pipeline.Name, x.Number, t.Link(x.ID))}, nil
	}
	return outcome{}, refuse("nothing that was deployed to %s before can be found", c.Args[0])
}

// stageOf is an execution's stage for an environment, or nil.
func stageOf(x pipeline.Execution, environment string) *pipeline.StageExecution {
	for _, st := range x.Pipeline.Stages {
		if st.Environment == environment {
			return x.Stage(st.Name)
		}
	}
	return nil
}
