package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/slipway-ci/slipway/chat"
	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/forge/bitbucket"
	"github.com/slipway-ci/slipway/handlers"
	"github.com/slipway-ci/slipway/internal/config"
	"github.com/slipway-ci/slipway/notify"
	"github.com/slipway-ci/slipway/pipeline"
)

// The names of Bitbucket's forge entries.
const (
	cloudForge  = "bitbucket"
	serverForge = "bitbucket-server"
)

// bitbuckets are the two products of that name.
type bitbuckets struct {
	cloud  *bitbucket.Cloud
	server *bitbucket.Server // nil without an address
}

func newBitbuckets(cfg config.Config) (bitbuckets, error) {
	var b bitbuckets
	var err error
	if b.cloud, err = bitbucket.NewCloud(bitbucket.Options{BaseURL: cfg.Bitbucket.APIURL, Token: cfg.Bitbucket.Token}); err != nil {
		return b, usage(err)
	}
	if cfg.BitbucketServer.URL == "" {
		return b, nil
	}
	if b.server, err = bitbucket.NewServer(bitbucket.Options{BaseURL: cfg.BitbucketServer.URL, Token: cfg.BitbucketServer.Token}); err != nil {
		return b, usage(err)
	}
	return b, nil
}

// asker is what pipelines ask of a forge.
type asker interface {
	OpenPull(ctx context.Context, repo forge.Repo, branch string) (number int, found bool, err error)
	PullFiles(ctx context.Context, repo forge.Repo, number int) (forge.Changes, error)
	Compare(ctx context.Context, repo forge.Repo, base, head string) (forge.Changes, error)
}

// asked is the forge that is asked about a repository; nil: it can't be asked.
func (f *forges) asked(forgeName string) asker {
	switch {
	case forgeName == githubForge:
		return f.github
	case forgeName == cloudForge:
		return f.bitbuckets.cloud
	case forgeName == serverForge && f.bitbuckets.server != nil:
		return f.bitbuckets.server
	}
	return nil
}

// settleTime is how long a commit that a forge has just told of may be unknown
// to its own API.
const settleTime = 30 * time.Second

// cloudEvent reads a delivery of Bitbucket Cloud, and asks it for what
// deliveries leave out.
func (f *forges) cloudEvent(ctx context.Context, d pipeline.Delivery, body []byte) (forge.Event, error) {
	base := cmp.Or(f.cfg.Bitbucket.CloneURL, bitbucket.CloneBase(f.cfg.Bitbucket.APIURL))
	e, err := bitbucket.DecodeCloud(cloudForge, d.Headers, body, base)
	if err != nil {
		return e, err
	}
	e, err = f.bitbuckets.cloud.Resolve(ctx, e)
	switch {
	case errors.Is(err, forge.ErrNoCredentials):
		return e, fmt.Errorf("the commits of pull requests are shortened, and without bitbucket.token nobody can be asked for them: %w", err)
	case errors.Is(err, forge.ErrNotFound) && time.Since(d.ReceivedAt) < settleTime:
		return e, &forge.RetryError{After: settleTime / 10, Err: err}
	}
	return e, err
}

func (f *forges) serverEvent(ctx context.Context, h http.Header, body []byte) (forge.Event, error) {
	e, err := bitbucket.DecodeServer(serverForge, h, body, f.cfg.BitbucketServer.URL)
	if err != nil || f.bitbuckets.server == nil {
		return e, err
	}
	return f.bitbuckets.server.Resolve(ctx, e)
}

// bitbucketClone is the credential with which git reads repositories of a
// Bitbucket. It is the configured token itself: Bitbucket makes none for less.
func (f *forges) bitbucketClone(forgeName string) (user, password string, err error) {
	if forgeName == cloudForge {
		return f.bitbuckets.cloud.Login()
	}
	if f.bitbuckets.server == nil {
		return "", "", forge.ErrNoCredentials
	}
	return f.bitbuckets.server.Login()
}

// bitbucketHooks adds the entries that may send webhooks.
func (f *forges) bitbucketHooks(out map[string]handlers.Hook) {
	for _, entry := range []struct {
		name, idHeader string
		secrets        []string
		ping           func(http.Header) bool
	}{
		{cloudForge, bitbucket.CloudDeliveryHeader, f.cfg.Bitbucket.Secrets(), nil},
		{serverForge, bitbucket.ServerDeliveryHeader, f.cfg.BitbucketServer.Secrets(), bitbucket.Unsigned},
	} {
		if len(entry.secrets) == 0 {
			continue
		}
		out[entry.name] = handlers.Hook{
			EventHeader: bitbucket.EventHeader, DeliveryHeader: entry.idHeader, Unsigned: entry.ping,
			Verify:  func(h http.Header, body []byte) (int, error) { return bitbucket.Verify(entry.secrets, h, body) },
			Payload: bitbucket.Payload,
			Scan: func(h http.Header, payload []byte) (handlers.Scan, error) {
				d, err := bitbucket.Scan(entry.idHeader, h, payload)
				return handlers.Scan{ID: d.ID, Event: d.Event, Repo: d.Repo, Ping: d.Ping}, err
			},
		}
	}
}

// checkBitbucket asks those that have credentials whether they are good.
func (f *forges) checkBitbucket(ctx context.Context) error {
	err := f.bitbuckets.cloud.Check(ctx)
	if errors.Is(err, forge.ErrNoCredentials) {
		err = nil // it can receive, and report nothing: a valid configuration
	}
	if err != nil || f.bitbuckets.server == nil {
		return err
	}
	if err := f.bitbuckets.server.Check(ctx); !errors.Is(err, forge.ErrNoCredentials) {
		return err
	}
	return nil
}

// bitbucketReports adds where reports to the Bitbuckets go; spacing 0 is the
// default.
func (f *forges) bitbucketReports(out map[string]notify.Forge, spacing time.Duration) {
	cloud := f.bitbuckets.cloud
	out[cloudForge] = notify.Forge{Statuses: cloud, Reports: cloud, Spacing: cmp.Or(spacing, notify.Spacing(f.cfg.Bitbucket.APIURL))}
	if server := f.bitbuckets.server; server != nil {
		out[serverForge] = notify.Forge{Statuses: server, Reports: server, Spacing: cmp.Or(spacing, notify.Spacing(f.cfg.BitbucketServer.URL))}
	}
}

// bitbucketTalkers adds who answers comments on the Bitbuckets.
func (f *forges) bitbucketTalkers(out map[string]chat.Forge) {
	out[cloudForge] = f.bitbuckets.cloud
	if f.bitbuckets.server != nil {
		out[serverForge] = f.bitbuckets.server
	}
}
