package main

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/notify"
	"github.com/slipway-ci/slipway/pipeline"
)

// The lists of those who tell a forge more than its reporter does.
const (
	statusList     = "statuses:" // and the forge's name
	commentList    = "comments:"
	deploymentList = "deployments:"
)

// wireForgeTellers adds to the reporters what the configuration wants beside
// them. forges are those that can be told something.
func (p *platform) wireForgeTellers(forges map[string]notify.Forge) []teller {
	var out []teller
	n := p.cfg.Notifications
	if n.Statuses == "also" {
		out = append(out, p.statuses(forges[githubForge]))
	}
	for _, name := range []string{githubForge, cloudForge, serverForge} {
		to, known := forges[name]
		talker := p.talkers()[name]
		if n.Comments == "off" || !known || talker == nil {
			continue
		}
		out = append(out, notify.NewComments(p.store.Reports(commentList+name), p.store, p.store, talker, notify.CommentsOptions{
			Always: n.Comments == "on", Pace: to.Pace, BaseURL: p.cfg.ExternalURL, Log: p.log, SendTimeout: 2 * p.cfg.Limits.Lease,
		}))
	}
	if n.Deployments == "on" {
		out = append(out, notify.NewDeployments(p.store.Reports(deploymentList+githubForge), p.store, p.forges.github, notify.DeploymentsOptions{
			Environment: p.shownEnvironment, Pace: forges[githubForge].Pace, BaseURL: p.cfg.ExternalURL, Log: p.log, SendTimeout: 2 * p.cfg.Limits.Lease,
		}))
	}
	return out
}

// statuses reports commit statuses beside check runs.
func (p *platform) statuses(to notify.Forge) *notify.Reporter {
	name := statusList + githubForge
	to.Checks = nil
	return notify.New(p.store.Reports(name), p.store, notify.Options{
		Forges: map[string]notify.Forge{name: to}, Kind: "status", BaseURL: p.cfg.ExternalURL, Log: p.log,
		SendTimeout: 2 * p.cfg.Limits.Lease, Lease: 5 * p.cfg.Limits.Lease,
	})
}

// lists are those that an execution is marked in, beside its forge's own: by
// forge, and under "" for all.
func (p *platform) lists() map[string][]string {
	lists := map[string][]string{}
	n := p.cfg.Notifications
	for _, t := range n.Targets {
		lists[""] = append(lists[""], targetList(t))
	}
	for name := range p.talkers() {
		if n.Comments != "off" {
			lists[name] = append(lists[name], commentList+name)
		}
	}
	if n.Statuses == "also" {
		lists[githubForge] = append(lists[githubForge], statusList+githubForge)
	}
	if n.Deployments == "on" {
		lists[githubForge] = append(lists[githubForge], deploymentList+githubForge)
	}
	return lists
}

// shownEnvironment is what a deploy action deploys to: its stage's environment,
// else its deployment group's, else the group itself.
func (p *platform) shownEnvironment(x pipeline.Execution, stage pipeline.Stage, _ pipeline.Action, settings map[string]string) notify.Environment {
	env := notify.Environment{Name: cmp.Or(stage.Environment, settings[pipeline.ConfigGroup])}
	for _, g := range p.cfg.DeploymentGroups {
		if stage.Environment == "" && g.Environment != "" && g.Name == env.Name {
			env.Name = g.Environment
			break
		}
	}
	// GitHub, too, takes this one name for production.
	env.Production = env.Name == "production"
	if e := p.cfg.Environment(x.Repo.Forge+"/"+x.Repo.FullName(), env.Name); e != nil {
		env.URL, env.Production = e.URL, env.Production || e.Production
	}
	return env
}

// lineTimeout bounds the question for a place in the queue.
const lineTimeout = 2 * time.Second

// line is an execution's place among the jobs that wait for a runner, from 1;
// 0: it waits for none, or the queue doesn't answer.
func (p *platform) line(ctx context.Context, x pipeline.Execution) int {
	ctx, cancel := context.WithTimeout(ctx, lineTimeout)
	defer cancel()
	best := 0
	for _, st := range x.Stages {
		for _, a := range st.Tasks() {
			parts := strings.SplitN(a.Class, "|", 3)
			if a.Status != pipeline.InProgress || a.Worker != "" || len(parts) != 3 {
				continue
			}
			n, err := p.jobs.Position(ctx, pipeline.Job{ID: a.Job, Kind: pipeline.JobKind(parts[0]), Labels: parts[1], Compute: parts[2]})
			switch {
			case errors.Is(err, pipeline.ErrNotFound):
			case err != nil:
				p.log.WarnContext(ctx, "asking for a place in the queue", "execution", x.ID, "error", err)
				return 0
			case best == 0 || n+1 < best:
				best = n + 1
			}
		}
	}
	return best
}
