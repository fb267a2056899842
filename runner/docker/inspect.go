package docker

import (
	"context"
	"errors"
	"fmt"
	"os/exec"

	"github.com/docker/docker/client"
)

// Facts are what Inspect finds out about an engine.
type Facts struct {
	Version, API, Storage string
	CPUs                  int
	MemoryBytes           int64
	// Image reports whether the image that was asked for is here already.
	Image bool
	// Rules is nil if this host's firewall keeps builds off its addresses, and
	// else says what is missing; see Open, which raises the rules.
	Rules error
}

// Inspect looks at the engine at host, "" for the usual one, and at the
// firewall, and changes neither. An error means that no engine answers.
func Inspect(ctx context.Context, host, image string) (Facts, error) {
	opts := []client.Opt{client.WithAPIVersionNegotiation()}
	if host != "" {
		opts = append(opts, client.WithHost(host))
	}
	api, err := client.NewClientWithOpts(opts...)
	if err != nil {
		return Facts{}, fmt.Errorf("making Docker client: %w", err)
	}
	defer api.Close()
	info, err := api.Info(ctx)
	if err != nil {
		return Facts{}, fmt.Errorf("asking the Docker engine: %w", err)
	}
	f := Facts{
		Version: info.ServerVersion, API: api.ClientVersion(), Storage: info.Driver,
		CPUs: info.NCPU, MemoryBytes: info.MemTotal,
	}
	if image != "" {
		_, err := api.ImageInspect(ctx, image)
		f.Image = err == nil
	}
	f.Rules = missingRules(ctx)
	return f, nil
}

// missingRules names the rules of the firewall that aren't there. Those of
// IPv6 may be, as builds' networks have none.
func missingRules(ctx context.Context) error {
	if _, err := exec.LookPath("iptables"); err != nil {
		return errors.New("there is no iptables on PATH")
	}
	var errs []error
	for _, r := range rules {
		if r[0] != "ip6tables" && !there(ctx, r) {
			errs = append(errs, fmt.Errorf("no rule for %s in the chain %s", bridgePrefix+"+", r[1]))
		}
	}
	return errors.Join(errs...)
}

// there reports whether a rule is in place, with either target.
func there(ctx context.Context, r []string) bool {
	for _, target := range targets {
		if run(ctx, r[0], "-C", withTarget(r, target)) == nil {
			return true
		}
	}
	return false
}
