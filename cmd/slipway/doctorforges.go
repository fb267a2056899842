package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/internal/client"
)

// leastSecret is the least length of a webhook's secret, in characters.
const leastSecret = 16

// webhookSecrets judges secrets by their length, and shows none.
func webhookSecrets(key string, secrets []string) []finding {
	var out []finding
	for i, s := range secrets {
		if len(s) < leastSecret {
			out = append(out, failed("use openssl rand -hex 32, here and at the forge",
				usage(fmt.Errorf("%s: number %d has %d characters; whoever guesses it sends webhooks in the forge's name", key, i+1, len(s)))))
		}
	}
	return out
}

// forges are those of the configuration, of which only GitHub and Bitbucket
// are asked.
func (d *doctor) forges() (*forges, error) { return newForges(d.cfg, nil, nil) }

func (d *doctor) github(ctx context.Context) []finding {
	out := webhookSecrets("github.webhook_secret", d.cfg.GitHub.Secrets())
	configured := d.cfg.GitHub.AppID != 0 || d.cfg.GitHub.Token != ""
	if !configured && len(d.cfg.GitHub.Secrets()) == 0 {
		return append(out, fine("not configured"))
	}
	if len(d.cfg.GitHub.Secrets()) == 0 {
		out = append(out, doubt("set github.webhook_secret", "github: no webhook secret, so every webhook is refused"))
	}
	f, err := d.forges()
	if err != nil {
		return append(out, failed("make a new private key on the App's page, keep it with mode 0600, and name it in github.private_key_file", err))
	}
	if at, err := dateOf(ctx, http.DefaultClient, d.cfg.GitHub.APIURL); err == nil {
		out = append(out, clock("GitHub", at)...)
	}
	switch err := f.github.Check(ctx); {
	case errors.Is(err, forge.ErrNoCredentials):
		return append(out, doubt("set github.app_id and private_key_file; see docs/how-to/github-app.md", "webhooks are heard and nothing can be reported: there are no credentials"))
	case errors.Is(err, forge.ErrForbidden):
		return append(out, failed("compare github.app_id and the key with the App's page, and the clock with GitHub's", usage(fmt.Errorf("asking %s: %w", d.cfg.GitHub.APIURL, err))))
	case err != nil:
		return append(out, failed("see why GitHub can't be reached from here: github.api_url, proxy, firewall", fmt.Errorf("asking %s: %w", d.cfg.GitHub.APIURL, err)))
	}
	return append(out, fine("%s accepts the credentials", d.cfg.GitHub.APIURL))
}

func (d *doctor) bitbucket(ctx context.Context) []finding {
	out := webhookSecrets("bitbucket.webhook_secret", d.cfg.Bitbucket.Secrets())
	out = append(out, webhookSecrets("bitbucket_server.webhook_secret", d.cfg.BitbucketServer.Secrets())...)
	if d.cfg.Bitbucket.Token == "" && len(d.cfg.Bitbucket.Secrets()) == 0 && d.cfg.BitbucketServer.URL == "" {
		return append(out, fine("not configured"))
	}
	both, err := newBitbuckets(d.cfg)
	if err != nil {
		return append(out, failed("see docs/how-to/bitbucket.md", err))
	}
	f := &forges{cfg: d.cfg, bitbuckets: both}
	switch err := f.checkBitbucket(ctx); {
	case errors.Is(err, forge.ErrForbidden):
		return append(out, failed("make a new token; see docs/how-to/bitbucket.md", usage(fmt.Errorf("asking Bitbucket: %w", err))))
	case err != nil:
		return append(out, failed("see why Bitbucket can't be reached from here: address, proxy, firewall", fmt.Errorf("asking Bitbucket: %w", err)))
	}
	return append(out, fine("its credentials, if any, are accepted"))
}

// credentials are what this machine signs in to its server with; agent is not
// nil if it is a registered agent.
func (d *doctor) credentials() (base, token string, agent func(*client.Client) *client.Client, err error) {
	base, token = d.cfg.Server, d.cfg.Token
	if d.role == "agent" {
		var me identity
		path := filepath.Join(d.cfg.Data, identityFile)
		data, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(data, &me)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", "", nil, fmt.Errorf("reading %s: %w", path, err)
		}
		if me.Registered {
			return orDefault(base, me.Server), me.Token, (*client.Client).Agent, nil
		}
	}
	if base == "" || token == "" {
		return "", "", nil, errors.New("no server and token")
	}
	return base, token, nil, nil
}

// dateOf is the time that a server says it is; an error if none answers.
func dateOf(ctx context.Context, by *http.Client, url string) (time.Time, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return time.Time{}, err
	}
	answer, err := by.Do(req)
	if err != nil {
		return time.Time{}, err
	}
	defer answer.Body.Close()
	at, err := http.ParseTime(answer.Header.Get("Date"))
	if err != nil {
		return time.Now(), nil // it answers, and says nothing of the time
	}
	return at, nil
}
