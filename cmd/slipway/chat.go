package main

import (
	"time"

	"github.com/slipway-ci/slipway/chat"
	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
)

// listen has comments on pull requests read, of the forges that can be asked
// who wrote them.
func (p *platform) listen() {
	p.orchestrator.Listen(chat.New(chat.Options{
		Forges:  p.talkers(),
		Records: p.store, Logs: p.logs, Audit: p.store, Fleet: p.fleet, Environment: p.environment, PrefixOnly: p.cfg.ChatPrefixOnly,
		Link: func(id string) string { return p.cfg.ExternalURL + "/executions/" + id },
		Now:  time.Now, Log: p.log,
	}))
}

// talkers are the forges that have comments.
func (p *platform) talkers() map[string]chat.Forge {
	talkers := map[string]chat.Forge{githubForge: p.forges.github}
	p.forges.bitbucketTalkers(talkers)
	return talkers
}

// environment is what the server's configuration says of an environment.
func (p *platform) environment(repo forge.Repo, name string) pipeline.Environment {
	e := p.cfg.Environment(repo.Forge+"/"+repo.FullName(), name)
	if e == nil {
		return pipeline.Environment{}
	}
	return pipeline.Environment{Approvers: e.Approvers, PreventSelfReview: e.PreventSelfReview}
}
