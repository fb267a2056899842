package docker

import (
	"context"
	"fmt"
	"log/slog"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/api/types/network"

	"github.com/slipway-ci/slipway/runner"
)

// bridgePrefix begins the names of builds' bridges; the rules of the firewall
// hold for all of them.
const bridgePrefix = "slw"

// networkFor is a network for one build. On those kept ready the containers
// can't reach each other, so builds with services have one of their own.
func (e *Engine) networkFor(ctx context.Context, s runner.Spec) (string, error) {
	if len(s.Services) > 0 {
		return e.createNetwork(ctx, true)
	}
	return e.network(ctx)
}

// makeNetwork makes the network of a container alone.
func (e *Engine) makeNetwork(ctx context.Context) (string, error) { return e.createNetwork(ctx, false) }

// createNetwork makes the network of one build, of one or several containers,
// behind the firewall. It waits for the engine's answer as createContainer does.
func (e *Engine) createNetwork(ctx context.Context, several bool) (string, error) {
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	ctx, cancel := lasting(ctx)
	defer cancel()
	var raised sync.WaitGroup
	raised.Go(func() { e.firewall.raise(ctx) })
	defer raised.Wait()
	id := randomID()
	name := "slipway-" + id
	_, err := e.api.NetworkCreate(ctx, name, network.CreateOptions{
		Driver: "bridge",
		Labels: e.labels(),
		Options: map[string]string{
			"com.docker.network.bridge.name":       bridgePrefix + id,
			"com.docker.network.bridge.enable_icc": strconv.FormatBool(several),
		},
	})
	if err != nil {
		return "", fmt.Errorf("making network: %w", err)
	}
	return name, nil
}

func (e *Engine) dropNetwork(ctx context.Context, name string) {
	if name == "" {
		return
	}
	if err := e.api.NetworkRemove(ctx, name); err != nil && !isNotFound(err) {
		e.options.Log.Warn("network of a build left behind", "error", err)
	}
}

// firewall keeps builds off this host: whatever comes from their bridges to an
// address of the host is refused (Redis, the Docker engine, the server), and
// so is what they send to link-local addresses, where clouds keep credentials.
type firewall struct {
	log  *slog.Logger
	mu   sync.Mutex
	told bool
}

const ruleTime = 5 * time.Second

// rules are the arguments of iptables after -C or -I.
var rules = [][]string{
	{"iptables", "INPUT", "-i", bridgePrefix + "+"},
	{"iptables", "DOCKER-USER", "-i", bridgePrefix + "+", "-d", "169.254.0.0/16"},
	{"ip6tables", "INPUT", "-i", bridgePrefix + "+"},
}

// raise puts the rules into place where they are not, which needs the right to
// do so.
func (f *firewall) raise(ctx context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range rules {
		err := f.rule(ctx, r)
		if err == nil || r[0] == "ip6tables" || f.told {
			continue
		}
		f.told = true
		f.log.Warn("builds can reach this host's addresses: the firewall rules need iptables and the right to use it", "error", err)
	}
}

func (f *firewall) rule(ctx context.Context, r []string) error {
	if there(ctx, r) {
		return nil
	}
	var last error
	for _, target := range targets {
		if last = run(ctx, r[0], "-I", withTarget(r, target)); last == nil {
			return nil
		}
	}
	return last
}

// targets are what a rule may do, the best first: not every kernel has both.
var targets = []string{"REJECT", "DROP"}

func withTarget(r []string, target string) []string {
	return append(append([]string{}, r[1:]...), "-j", target)
}

func run(ctx context.Context, program, action string, spec []string) error {
	ctx, cancel := context.WithTimeout(ctx, ruleTime)
	defer cancel()
	args := append([]string{"-w", "5", action}, spec...)
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("running %s: %w: %s", program, err, strings.TrimSpace(string(out)))
	}
	return nil
}
