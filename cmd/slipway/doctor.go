package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/internal/config"
	"github.com/slipway-ci/slipway/internal/redact"
)

// verdict is how a check ended.
type verdict string

const (
	healthy  verdict = "ok"
	doubtful verdict = "warn"
	ailing   verdict = "fail"
)

// finding is what one check says.
type finding struct {
	Check   string  `json:"check"`
	Verdict verdict `json:"verdict"`
	Message string  `json:"message"`
	// Fix is what to do about it; empty if all is well.
	Fix string `json:"fix,omitempty"`
	// mistake: it is the configuration that is wrong, not what it names.
	mistake bool
}

func fine(format string, args ...any) finding {
	return finding{Verdict: healthy, Message: fmt.Sprintf(format, args...)}
}

func doubt(fix, format string, args ...any) finding {
	return finding{Verdict: doubtful, Message: fmt.Sprintf(format, args...), Fix: fix}
}

// failed is the finding of an error, which says by itself whether it is a
// mistake in the configuration.
func failed(fix string, err error) finding {
	coded, ok := errors.AsType[*exitError](err)
	return finding{Verdict: ailing, Message: oneLine(err), Fix: fix, mistake: ok && coded.code == exitUsage}
}

func oneLine(err error) string { return strings.Join(strings.Split(err.Error(), "\n"), "; ") }

// checkTime bounds each check.
const checkTime = 15 * time.Second

// check is one thing that doctor looks at. It changes nothing that a start of
// Slipway wouldn't.
type check struct {
	name  string
	roles []string // that need it
	run   func(ctx context.Context) []finding
}

// roles are those that a check may be for.
var roles = []string{"up", "server", "runner", "agent"}

func (a *app) doctorCommand() *cobra.Command {
	var asJSON bool
	var role string
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Check this machine and the configuration, and say how to mend what is wrong",
		Long: `Checks, as the user that Slipway will run as and with its configuration, all that
a role needs: the data folder, Redis, Docker, git, the blob store, the forges'
credentials, the address to listen on, the clock, the server. It prints no
secret. A warning is what works and shouldn't stay so.

Exit codes: 0 nothing has failed, 2 the configuration is wrong, 3 something
that it names is.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if !slices.Contains(roles, role) {
				return usage(fmt.Errorf("--role: want one of %s, have %q", strings.Join(roles, ", "), role))
			}
			found := a.diagnose(c.Context(), role)
			if err := a.printFindings(found, asJSON); err != nil {
				return err
			}
			return outcomeOf(found)
		},
	}
	f := c.Flags()
	f.StringVar(&role, "role", "up", "what will run here: up, server, runner or agent")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// diagnose makes the role's checks, all at the same time. Without a
// configuration there is nothing to check.
func (a *app) diagnose(ctx context.Context, role string) []finding {
	cfg, err := a.settings()
	if err != nil {
		f := failed("mend the file or the variable; docs/configuration.md has every key", err)
		f.Check = "configuration"
		return []finding{f}
	}
	if data, err := filepath.Abs(cfg.Data); err == nil {
		cfg.Data = data
	}
	secrets := findSecrets(&cfg)
	d := &doctor{app: a, cfg: cfg, role: role, secrets: secrets}
	var mine []check
	for _, c := range d.checks() {
		if slices.Contains(c.roles, role) {
			mine = append(mine, c)
		}
	}
	answers := make([][]finding, len(mine))
	var wg sync.WaitGroup
	for i, c := range mine {
		wg.Go(func() { answers[i] = c.within(ctx, checkTime) })
	}
	wg.Wait()
	mask := redact.New(config.Secrets(cfg)...)
	var out []finding
	for i, found := range answers {
		for _, f := range found {
			f.Check, f.Message = mine[i].name, mask.String(f.Message)
			out = append(out, f)
		}
	}
	return out
}

// within makes the check, and gives up on it when its time is over: a folder
// of a dead file server lets nobody go.
func (c check) within(ctx context.Context, limit time.Duration) []finding {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	done := make(chan []finding, 1)
	go func() { done <- c.run(ctx) }()
	select {
	case found := <-done:
		return found
	case <-ctx.Done():
	}
	// What respects ctx says more than that time is over.
	grace := time.NewTimer(time.Second)
	defer grace.Stop()
	select {
	case found := <-done:
		return found
	case <-grace.C:
		return []finding{failed("look at what it asks: it doesn't answer", fmt.Errorf("no answer within %s", limit))}
	}
}

func (a *app) printFindings(found []finding, asJSON bool) error {
	if asJSON {
		return a.printJSON(found)
	}
	for _, f := range found {
		if _, err := fmt.Fprintf(a.stdout, "%-4s  %-13s  %s\n", f.Verdict, f.Check, f.Message); err != nil {
			return err
		}
		if f.Fix != "" {
			fmt.Fprintf(a.stdout, "%21s-> %s\n", "", f.Fix)
		}
	}
	return nil
}

// outcomeOf is the exit code: a wrong configuration is mended first.
func outcomeOf(found []finding) error {
	code := exitOK
	for _, f := range found {
		switch {
		case f.Verdict == ailing && f.mistake:
			code = exitUsage
		case f.Verdict == ailing && code == exitOK:
			code = exitFault
		}
	}
	if code == exitOK {
		return nil
	}
	return &exitError{code: code}
}
