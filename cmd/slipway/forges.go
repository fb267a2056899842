package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

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

// cloneTokenLife is how long a job's credential for the built-in git host
// serves: a job fetches its source at its beginning.
const cloneTokenLife = time.Hour

// tokenReuse is how long a credential of a forge is given out again. GitHub's
// live for an hour.
const tokenReuse = 30 * time.Minute

// forges are the git hosts that this server knows.
type forges struct {
	cfg        config.Config
	github     *github.Client
	bitbuckets bitbuckets
	local      localHost
	bodies     bodyReader

	mu     sync.Mutex
	tokens map[string]cloneToken
}

type cloneToken struct {
	value string
	until time.Time
}

// localHost is the built-in git host as the engine uses it.
type localHost interface {
	// ReadToken makes a password that reads one repository.
	ReadToken(owner, name string, life time.Duration) string
	// Compare lists what changed since the merge base of base and head.
	Compare(ctx context.Context, repo forge.Repo, base, head string) (forge.Changes, error)
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
	both, err := newBitbuckets(cfg)
	if err != nil {
		return nil, err
	}
	return &forges{cfg: cfg, github: client, bitbuckets: both, local: local, bodies: bodies, tokens: map[string]cloneToken{}}, nil
}

// Event reads a delivery in the words all forges share.
func (f *forges) Event(ctx context.Context, d pipeline.Delivery) (forge.Event, error) {
	body := d.Body
	if d.BodyBlob != "" {
		var err error
		if body, err = f.bodies.Body(ctx, d.BodyBlob); errors.Is(err, pipeline.ErrNotFound) {
			return forge.Event{}, fmt.Errorf("its body is gone: %w", err)
		} else if err != nil {
			return forge.Event{}, &forge.RetryError{Err: err}
		}
	}
	switch d.Forge {
	case githubForge:
		base := cmp.Or(f.cfg.GitHub.CloneURL, github.CloneBase(f.cfg.GitHub.APIURL))
		e, err := github.Decode(d.Forge, d.Headers, body, base)
		if e.Install != nil {
			f.forget(e.Install.ID)
		}
		return e, err
	case cloudForge:
		return f.cloudEvent(ctx, d, body)
	case serverForge:
		return f.serverEvent(ctx, d.Headers, body)
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
	if a := f.asked(e.Forge); a != nil {
		return a.OpenPull(ctx, e.Repo, branch)
	}
	return 0, false, nil
}

// Clone is the credential with which git reads one repository and nothing
// else.
func (f *forges) Clone(ctx context.Context, repo forge.Repo, installation int64) (user, password string, err error) {
	if repo.Forge == localForge {
		return "slipway", f.local.ReadToken(repo.Owner, repo.Name, cloneTokenLife), nil
	}
	if repo.Forge == cloudForge || repo.Forge == serverForge {
		return f.bitbucketClone(repo.Forge)
	}
	token, err := f.cloneToken(ctx, repo, installation)
	if err != nil {
		return "", "", err
	}
	return "x-access-token", token, nil
}

// Lends reports whether the result of Clone reads that one repository and
// nothing else: a token of one's own, and those of Bitbucket, may do more.
func (f *forges) Lends(repo forge.Repo) bool {
	return repo.Forge == localForge || repo.Forge == githubForge && f.cfg.GitHub.AppID != 0 && f.cfg.GitHub.Token == ""
}

// cloneToken reuses a repository's token: minting one takes a request to the
// forge, which would be in every build's way.
func (f *forges) cloneToken(ctx context.Context, repo forge.Repo, installation int64) (string, error) {
	key := fmt.Sprintf("%d %s %s", installation, repo.ID, repo.FullName())
	f.mu.Lock()
	known, ok := f.tokens[key]
	f.mu.Unlock()
	if ok && time.Now().Before(known.until) {
		return known.value, nil
	}
	value, _, err := f.github.Token(ctx, installation, repo, nil)
	if err != nil {
		return "", err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.tokens) > 10_000 {
		clear(f.tokens)
	}
	f.tokens[key] = cloneToken{value, time.Now().Add(tokenReuse)}
	return value, nil
}

// forget drops what is remembered of an installation whose rights have changed.
func (f *forges) forget(installation int64) {
	f.github.Forget(installation)
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.tokens)
}

// permissions are the forges that know what people may do.
func (f *forges) permissions() handlers.Permissions {
	return handlers.Permissions{githubForge: f.github}
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
	f.bitbucketHooks(out)
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

// inCluster reports whether this is a Kubernetes pod, where a mounted secret is
// readable to its group.
func inCluster() bool {
	_, err := os.Stat("/var/run/secrets/kubernetes.io/serviceaccount")
	return err == nil
}
