package dispatch

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
)

// Registry knows agents and their tokens, of which it holds the sums only.
type Registry interface {
	Agents
	AddRegistration(ctx context.Context, sum string, tags map[string]string, ttl time.Duration) error
	// Registration are the tags that a one-time token gives; ErrNotFound: it is
	// not good.
	Registration(ctx context.Context, sum string) (map[string]string, error)
	// AddAgent uses a registration up. ErrConflict: the name is taken.
	AddAgent(ctx context.Context, a pipeline.Agent, tokenSum, registrationSum string) error
	SaveAgent(ctx context.Context, a pipeline.Agent) error
	RemoveAgent(ctx context.Context, name string) error
	AgentOf(ctx context.Context, tokenSum string) (string, error)
}

// Admission lets agents in.
type Admission struct {
	registry Registry
	now      func() time.Time
}

// NewAdmission makes an Admission over what knows the agents.
func NewAdmission(r Registry, now func() time.Time) *Admission { return &Admission{r, now} }

// The beginnings of the tokens, so that one can tell what was found lying about.
const (
	registrationPrefix = "slo_"
	agentPrefix        = "sla_"
)

// NewAgentToken makes the token that an agent keeps.
func NewAgentToken() string { return agentPrefix + randomText() }

func randomText() string {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails, see crypto/rand
	return base64.RawURLEncoding.EncodeToString(raw)
}

func sumOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// Agents lists the agents by name.
func (a *Admission) Agents(ctx context.Context) ([]pipeline.Agent, error) {
	all, err := a.registry.Agents(ctx)
	for i := range all {
		all[i].Online = a.now().Sub(all[i].SeenAt) < pipeline.AgentOnline
	}
	return all, err
}

// InviteAgent makes a one-time token with which an agent may register within
// ttl. It will have the tags, whatever it says.
func (a *Admission) InviteAgent(ctx context.Context, tags map[string]string, ttl time.Duration) (pipeline.AgentInvitation, error) {
	if err := checkTags(tags); err != nil {
		return pipeline.AgentInvitation{}, err
	}
	in := pipeline.AgentInvitation{Token: registrationPrefix + randomText(), Tags: tags, ExpiresAt: a.now().Add(ttl).UTC()}
	return in, a.registry.AddRegistration(ctx, sumOf(in.Token), tags, ttl)
}

// agentName is what an agent may be called: it becomes part of IDs.
var agentName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`)

// RegisterAgent takes up an agent. ErrNotFound: its one-time token is not
// good; ErrConflict: its name is another one's. It may be repeated with the
// same agent's token.
func (a *Admission) RegisterAgent(ctx context.Context, r pipeline.AgentRegistration) (pipeline.Agent, error) {
	switch {
	case !agentName.MatchString(r.Name):
		return pipeline.Agent{}, &pipeline.UserError{Msg: fmt.Sprintf("name: want up to 63 letters, digits, - and _, have %.100q", r.Name)}
	case r.Name == LocalAgent:
		return pipeline.Agent{}, &pipeline.UserError{Msg: "name: " + LocalAgent + " is the agent of the server's own process"}
	case !strings.HasPrefix(r.Token, agentPrefix) || len(r.Token) < len(agentPrefix)+40 || len(r.Token) > 200:
		return pipeline.Agent{}, &pipeline.UserError{Msg: "token: want one that slipway agent has made"}
	}
	if err := checkTags(r.Tags); err != nil {
		return pipeline.Agent{}, err
	}
	agent := pipeline.Agent{Name: r.Name, Tags: map[string]string{}, Version: r.Version, RegisteredAt: a.now().UTC()}
	if len(agent.Version) > 100 {
		agent.Version = ""
	}
	maps.Copy(agent.Tags, r.Tags)
	given, err := a.registry.Registration(ctx, sumOf(r.Registration))
	switch {
	case errors.Is(err, pipeline.ErrNotFound): // good only if this agent used it up
		if name, err := a.registry.AgentOf(ctx, sumOf(r.Token)); err != nil || name != r.Name {
			return pipeline.Agent{}, fmt.Errorf("registering agent %s: %w", r.Name, pipeline.ErrNotFound)
		}
		return agent, nil
	case err != nil:
		return pipeline.Agent{}, err
	}
	maps.Copy(agent.Tags, given)
	if err := a.registry.AddAgent(ctx, agent, sumOf(r.Token), sumOf(r.Registration)); err != nil {
		return pipeline.Agent{}, err
	}
	return agent, a.registry.SawAgent(ctx, agent.Name, a.now())
}

// AddLocal makes the agent of the server's own process known.
func (a *Admission) AddLocal(ctx context.Context, version string) error {
	err := a.registry.SaveAgent(ctx, pipeline.Agent{Name: LocalAgent, Version: version, RegisteredAt: a.now().UTC()})
	if err != nil {
		return err
	}
	return a.registry.SawAgent(ctx, LocalAgent, a.now())
}

// RemoveAgent revokes an agent. ErrNotFound: there is none of that name.
func (a *Admission) RemoveAgent(ctx context.Context, name string) error {
	return a.registry.RemoveAgent(ctx, name)
}

// AgentOf is whose token this is. ErrNotFound: nobody's.
func (a *Admission) AgentOf(ctx context.Context, token string) (string, error) {
	if !strings.HasPrefix(token, agentPrefix) {
		return "", pipeline.ErrNotFound
	}
	return a.registry.AgentOf(ctx, sumOf(token))
}

// The limits of tags are CodeDeploy's (CodeDeploy reference 5.3).
const (
	tagsLimit     = 50
	tagKeyLimit   = 128
	tagValueLimit = 256
)

func checkTags(tags map[string]string) error {
	if len(tags) > tagsLimit {
		return &pipeline.UserError{Msg: fmt.Sprintf("tags: want at most %d, have %d", tagsLimit, len(tags))}
	}
	for key, value := range tags {
		if key == "" || len(key) > tagKeyLimit || len(value) > tagValueLimit {
			return &pipeline.UserError{Msg: fmt.Sprintf("tags: want keys of 1 to %d bytes and values of at most %d, have %.40q=%.40q", tagKeyLimit, tagValueLimit, key, value)}
		}
	}
	return nil
}
