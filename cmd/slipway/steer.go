package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/internal/client"
	"github.com/slipway-ci/slipway/pipeline"
)

// steered is what commands that steer pipelines print with --json.
type steered struct {
	Execution string `json:"execution,omitempty"`
	Pipeline  string `json:"pipeline,omitempty"`
	Stage     string `json:"stage,omitempty"`
	Action    string `json:"action,omitempty"`
	Event     string `json:"event"` // the ID of the request
}

// done says that the server took a request: as JSON, or in words for people.
func (a *app) done(asJSON bool, s steered, words ...string) error {
	if asJSON {
		return a.printJSON(s)
	}
	fmt.Fprintln(a.stderr, strings.Join(words, " "))
	return nil
}

func (a *app) stopCommand() *cobra.Command {
	var reason string
	var wait, abandon, asJSON bool
	c := a.asker("stop EXECUTION", "End a running execution",
		"Tells the builds and deployments that run to end, and starts no more."+serverNote,
		cobra.ExactArgs(1), func(ctx context.Context, api *client.Client, args []string) error {
			mode := pipeline.StopCancel
			switch {
			case wait && abandon:
				return usage(fmt.Errorf("--wait and --abandon exclude each other"))
			case wait:
				mode = pipeline.StopWait
			case abandon:
				mode = pipeline.StopAbandon
			}
			out, err := api.Stop(ctx, args[0], reason, mode)
			if err != nil {
				return err
			}
			return a.done(asJSON, steered{Execution: args[0], Event: out.Event}, "stopping", args[0])
		})
	f := c.Flags()
	f.StringVar(&reason, "reason", "", "why, for the page and the check; at most 200 characters")
	f.BoolVar(&wait, "wait", false, "let what runs end by itself")
	f.BoolVar(&abandon, "abandon", false, "don't wait until what runs has ended")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *app) retryCommand() *cobra.Command {
	var stage string
	var all, asJSON bool
	c := a.asker("retry EXECUTION", "Run the failed actions of an execution again", serverNote, cobra.ExactArgs(1), func(ctx context.Context, api *client.Client, args []string) error {
		mode := pipeline.FailedActions
		if all {
			mode = pipeline.AllActions
		}
		out, err := api.Retry(ctx, args[0], stage, mode)
		if err != nil {
			return err
		}
		return a.done(asJSON, steered{Execution: args[0], Stage: stage, Event: out.Event}, "retrying", args[0])
	})
	f := c.Flags()
	f.StringVar(&stage, "stage", "", "the stage to retry (default: the one that failed)")
	f.BoolVar(&all, "all", false, "run all actions of the stage again, not only those that failed")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *app) overrideCommand() *cobra.Command {
	var stage, condition, message string
	var asJSON bool
	c := a.asker("override EXECUTION", "Let an execution go on although a condition of its stage isn't met",
		"An execution that failed by the condition goes on where it was; rules that are still at work are given up. A condition that skips its stage can't be overridden."+serverNote,
		cobra.ExactArgs(1), func(ctx context.Context, api *client.Client, args []string) error {
			hook := pipeline.Hook(strings.ToUpper(strings.ReplaceAll(condition, "-", "_")))
			out, err := api.Override(ctx, args[0], stage, hook, message)
			if err != nil {
				return err
			}
			return a.done(asJSON, steered{Execution: args[0], Stage: stage, Event: out.Event}, "overriding the condition of", args[0])
		})
	f := c.Flags()
	f.StringVar(&stage, "stage", "", "the stage whose condition it is (default: the one that keeps the execution)")
	f.StringVar(&condition, "condition", "", "before-entry or on-success (default: the one that keeps the execution)")
	f.StringVar(&message, "message", "", "why, at most 512 characters")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *app) approveCommand() *cobra.Command {
	return a.answerCommand("approve EXECUTION", "Approve what an execution waits for",
		"The execution goes on.", "approved", (*client.Client).Approve)
}

func (a *app) rejectCommand() *cobra.Command {
	return a.answerCommand("reject EXECUTION", "Reject what an execution waits for",
		"The execution fails.", "rejected", (*client.Client).Reject)
}

func (a *app) answerCommand(use, short, long, word string, say func(*client.Client, context.Context, string, client.Answer) (client.Submitted, error)) *cobra.Command {
	var answer client.Answer
	var asJSON bool
	c := a.asker(use, short, long+serverNote, cobra.ExactArgs(1), func(ctx context.Context, api *client.Client, args []string) error {
		question, err := waitingFor(ctx, api, args[0], answer)
		if err != nil {
			return err
		}
		question.Message, question.Fields = answer.Message, answer.Fields
		out, err := say(api, ctx, args[0], question)
		if err != nil {
			return err
		}
		return a.done(asJSON, steered{Execution: args[0], Stage: question.Stage, Action: question.Action, Event: out.Event},
			word, question.Stage+"/"+question.Action, "of", args[0])
	})
	f := c.Flags()
	f.StringVar(&answer.Stage, "stage", "", "the approval's stage, where several wait")
	f.StringVar(&answer.Action, "action", "", "the approval's `name`, where several wait")
	f.StringVar(&answer.Message, "message", "", "a comment, at most 512 characters")
	f.StringToStringVar(&answer.Fields, "field", nil, "`NAME=VALUE` of what else the approval asks for; may be repeated")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// waitingFor is the one approval that the command means: an answer is to the
// question that waits now, and to no later one.
func waitingFor(ctx context.Context, api *client.Client, id string, want client.Answer) (client.Answer, error) {
	x, err := api.Execution(ctx, id)
	if err != nil {
		return want, err
	}
	var found []client.Answer
	var names []string
	for _, w := range x.Approvals {
		if (want.Stage == "" || want.Stage == w.Stage) && (want.Action == "" || want.Action == w.Action) {
			found = append(found, client.Answer{Stage: w.Stage, Action: w.Action, Token: w.Token})
			names = append(names, w.Stage+"/"+w.Action)
		}
	}
	switch len(found) {
	case 0:
		return want, usage(fmt.Errorf("execution %s waits for no such approval (it is %s)", id, x.Status))
	case 1:
		return found[0], nil
	}
	return want, usage(fmt.Errorf("execution %s waits for several approvals, name one with --stage and --action: %s", id, strings.Join(names, ", ")))
}

func (a *app) pipelinesCommand() *cobra.Command {
	var asJSON bool
	var limit int
	var after string
	c := a.asker("pipelines [PIPELINE]", "Show pipelines: who is in which stage, who waits, and what is disabled",
		"PIPELINE is an ID from the list."+serverNote, cobra.MaximumNArgs(1), func(ctx context.Context, api *client.Client, args []string) error {
			if len(args) == 1 {
				v, err := api.Pipeline(ctx, args[0])
				if err != nil || asJSON {
					return orPrint(a, v, err)
				}
				return a.printPipelines([]pipeline.View{v})
			}
			page, err := api.Pipelines(ctx, limit, after)
			if err != nil || asJSON {
				return orPrint(a, page, err)
			}
			return a.printPipelines(page.Items)
		})
	f := c.Flags()
	f.BoolVar(&asJSON, "json", false, "print JSON")
	f.IntVar(&limit, "limit", 20, "how many pipelines, at most 200")
	f.StringVar(&after, "after", "", "the page before's `next`")
	return c
}

// orPrint prints v as JSON unless there is an error.
func orPrint[T any](a *app, v T, err error) error {
	if err != nil {
		return err
	}
	return a.printJSON(v)
}

func (a *app) printPipelines(list []pipeline.View) error {
	return a.table("PIPELINE\tREPOSITORY\tSTAGE\tINSIDE\tWAITING\tLATEST\tTRANSITION", func(row func(...any)) {
		for _, v := range list {
			for _, st := range v.Stages {
				row(v.ID, v.Repo, st.Name, numbers(st.Inside), numbers(st.Waiting), latest(st.Latest), transitionWords(st.Transition))
			}
		}
	})
}

func numbers(list []pipeline.LiveView) string {
	var out []string
	for _, x := range list {
		out = append(out, fmt.Sprintf("#%d", x.Number))
	}
	return orDefault(strings.Join(out, " "), "-")
}

func latest(x *pipeline.LatestView) string {
	if x == nil {
		return "-"
	}
	return fmt.Sprintf("#%d %s", x.Number, x.Status)
}

func transitionWords(t pipeline.TransitionView) string {
	if t.Enabled {
		return "enabled"
	}
	return "disabled: " + t.Reason
}

func (a *app) startCommand() *cobra.Command {
	var m pipeline.ManualRequest
	rev := pipeline.SourceRevision{Type: pipeline.CommitID}
	var asJSON bool
	c := a.asker("start PIPELINE", "Start an execution of a branch, a tag or a commit",
		"Without --ref and --commit it is the newest commit of the source's branch. The definition is the commit's own. PIPELINE is an ID that slipway pipelines lists."+serverNote,
		cobra.ExactArgs(1), func(ctx context.Context, api *client.Client, args []string) error {
			what := orDefault(m.Ref, "the newest commit")
			if rev.Value != "" {
				m.Revisions, what = []pipeline.SourceRevision{rev}, pipeline.ShortSHA(rev.Value)
			}
			out, err := api.Start(ctx, args[0], m)
			if err != nil {
				return err
			}
			return a.done(asJSON, steered{Pipeline: args[0], Event: out.Event}, "starting", args[0], "at", what)
		})
	f := c.Flags()
	f.StringVar(&rev.Value, "commit", "", "a commit `ID`, or its first 7 digits or more where a branch or a tag points at it or it was built before")
	f.StringVar(&rev.Action, "source", pipeline.DefaultSource, "the source action that brings it")
	f.StringVar(&m.Ref, "ref", "", "the branch or tag; with --commit the one that it is taken for (default: that of the newest execution)")
	f.StringToStringVar(&m.Variables, "var", nil, "a pipeline variable's value, as `NAME=VALUE`; may be repeated")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *app) transitionCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "transition", Aliases: []string{"transitions"}, Short: "Disable or enable the way into a stage of a pipeline",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error { return usage(fmt.Errorf("say disable or enable")) },
	}
	c.AddCommand(
		a.flipCommand("disable", "Let no execution into a stage", "Executions wait in front of it, for 30 days at most; those inside go on.", false),
		a.flipCommand("enable", "Let executions into a stage again", "Whoever waits goes in.", true),
	)
	return c
}

func (a *app) flipCommand(word, short, long string, enable bool) *cobra.Command {
	var reason string
	var asJSON bool
	c := a.asker(word+" PIPELINE STAGE", short, long+" PIPELINE is an ID that slipway pipelines lists."+serverNote,
		cobra.ExactArgs(2), func(ctx context.Context, api *client.Client, args []string) error {
			if !enable && reason == "" {
				return usage(errors.New("say why nobody may enter: --reason TEXT"))
			}
			out, err := api.Transition(ctx, args[0], args[1], enable, reason)
			if err != nil {
				return err
			}
			return a.done(asJSON, steered{Pipeline: args[0], Stage: args[1], Event: out.Event}, word+"d the transition into", args[1], "of", args[0])
		})
	if !enable {
		c.Flags().StringVar(&reason, "reason", "", "why, for everyone who wonders; required")
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *app) rollbackStageCommand() *cobra.Command {
	var asJSON bool
	c := a.asker("rollback-stage PIPELINE STAGE EXECUTION", "Run a stage again with what an earlier execution brought to it",
		"Starts a new execution of the one stage, with the revision, artifacts and variables of EXECUTION, which must have succeeded there."+serverNote,
		cobra.ExactArgs(3), func(ctx context.Context, api *client.Client, args []string) error {
			out, err := api.Rollback(ctx, args[0], args[1], args[2])
			if err != nil {
				return err
			}
			return a.done(asJSON, steered{Pipeline: args[0], Stage: args[1], Execution: args[2], Event: out.Event}, "rolling", args[1], "back to", args[2])
		})
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
