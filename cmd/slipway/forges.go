package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/forge/github"
	"github.com/slipway-ci/slipway/handlers"
	"github.com/slipway-ci/slipway/internal/config"
	"github.com/slipway-ci/slipway/pipeline"
)

// The names of the forge entries.
const (
	githubForge = "github"
	localForge  = "local"
)

// forges are the git hosts that this server knows.
type forges struct {
	cfg    config.Config
	github *github.Client
	local  localHost
	bodies bodyReader
}

// localHost is the built-in git host as the engine uses it.
type localHost interface {
	// CloneURL is where this process reads the repository, without a credential.
	CloneURL(owner, name string) string
}

// bodyReader opens bodies of deliveries that are kept as blobs.
type bodyReader interface {
	Body(ctx context.Context, key string) ([]byte, error)
}

func newForges(cfg config.Config, local localHost, bodies bodyReader) (*forges, error) {
	o := github.Options{BaseURL: cfg.GitHub.APIURL, Token: cfg.GitHub.Token, Spacing: cfg.Limits.ReportSpacing}
	if cfg.GitHub.AppID != 0 {
		key, err := github.LoadKey(cfg.GitHub.PrivateKeyFile, inCluster())
		if err != nil {
			return nil, usage(fmt.Errorf("github.private_key_file: %w", err))
		}
		o.AppID, o.Key = cfg.GitHub.AppID, key
	}
	client, err := github.New(o)
	if err != nil {
		return nil, usage(err)
	}
	return &forges{cfg: cfg, github: client, local: local, bodies: bodies}, nil
}

// Event reads a delivery in the words all forges share.
func (f *forges) Event(ctx context.Context, d pipeline.Delivery) (forge.Event, error) {
	body := d.Body
	if d.BodyBlob != "" {
		var err error
		if body, err = f.bodies.Body(ctx, d.BodyBlob); err != nil {
			return forge.Event{}, err
		}
	}
	switch d.Forge {
	case githubForge:
		base := cmp.Or(f.cfg.GitHub.CloneURL, github.CloneBase(f.cfg.GitHub.APIURL))
		return github.Decode(d.Forge, d.Headers, body, base)
	case localForge:
		var e forge.Event
		if err := json.Unmarshal(body, &e); err != nil {
			return e, fmt.Errorf("reading a push to the built-in git host: %w", err)
		}
		return e, nil
	}
	return forge.Event{}, fmt.Errorf("no forge is called %q", d.Forge)
}

// OpenPull asks the forge for a branch's open pull request.
func (f *forges) OpenPull(ctx context.Context, e forge.Event, branch string) (int, bool, error) {
	if e.Forge == localForge {
		return 0, false, nil
	}
	return f.github.OpenPull(ctx, e.Repo, branch)
}

// Clone is the credential with which git reads one repository and nothing
// else.
func (f *forges) Clone(ctx context.Context, repo forge.Repo, installation int64) (user, password string, err error) {
	if repo.Forge == localForge {
		return "slipway", gitToken(f.cfg, repo.FullName()), nil
	}
	token, _, err := f.github.Token(ctx, installation, repo, nil)
	if errors.Is(err, forge.ErrNoCredentials) {
		return "", "", err
	}
	return "x-access-token", token, err
}

// hooks are the forge entries that may send webhooks.
func (f *forges) hooks() map[string]handlers.Hook {
	out := map[string]handlers.Hook{}
	if secrets := f.cfg.GitHub.Secrets(); len(secrets) > 0 {
		out[githubForge] = handlers.Hook{
			EventHeader: "X-GitHub-Event", DeliveryHeader: "X-GitHub-Delivery",
			Verify:  func(h http.Header, body []byte) (int, error) { return github.Verify(secrets, h, body) },
			Payload: github.Payload,
			Scan:    f.scanGitHub,
		}
	}
	return out
}

func (f *forges) scanGitHub(h http.Header, payload []byte) (handlers.Scan, error) {
	d, err := github.Scan(h, payload)
	s := handlers.Scan{ID: d.ID, Event: d.Event, Action: d.Action, Repo: d.RepoName, Ping: d.Event == "ping"}
	if app := strconv.FormatInt(f.cfg.GitHub.AppID, 10); f.cfg.GitHub.AppID != 0 &&
		d.TargetType == "integration" && d.TargetID != "" && d.TargetID != app {
		s.Ignore = "it is meant for App " + d.TargetID + ", not for ours"
	}
	return s, err
}
