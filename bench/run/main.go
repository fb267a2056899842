// Command run is the benchmark of whole processes: it measures Slipway beside
// the floor of each aim, taking turns in the same run, and prints both with
// their ratio. Absolute figures differ from machine to machine, ratios hardly.
//
//	go run ./bench/run [-only webhook,build,push,queue,log,source,files,idle,page,deploy] [-slipway bin/slipway] [-json FILE]
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// settings are the command's flags.
type settings struct {
	only     []string
	slipway  string
	jsonFile string
	clients  int
	rounds   int
	round    time.Duration
	builds   int
	logs     int
	idle     time.Duration
	dir      string // temporary, for everything
	say      func(format string, args ...any)
}

// run is main without the process. 0: measured, 2: bad flags, 3: could not
// measure.
func run(args []string, stdout, stderr io.Writer) int {
	s := settings{say: func(format string, args ...any) { fmt.Fprintf(stderr, format+"\n", args...) }}
	flags := flag.NewFlagSet("run", flag.ContinueOnError)
	flags.SetOutput(stderr)
	only := flags.String("only", "webhook,build,push,queue,log,source,files,idle,page,deploy", "what to measure, comma-separated")
	flags.StringVar(&s.slipway, "slipway", "", "the slipway `binary`; empty: build it first")
	flags.StringVar(&s.jsonFile, "json", "", "write the results to this `file`, too")
	flags.IntVar(&s.clients, "clients", 32, "webhook: keep-alive connections")
	flags.IntVar(&s.rounds, "rounds", 5, "webhook: rounds of each side")
	flags.DurationVar(&s.round, "round", 2*time.Second, "webhook: length of a round")
	flags.IntVar(&s.builds, "builds", 15, "build, push: builds of each side")
	flags.IntVar(&s.logs, "logs", 3, "log: builds with 200 MB of output")
	flags.DurationVar(&s.idle, "idle", time.Minute, "idle: how long to watch")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	s.only = strings.Split(*only, ",")
	if s.clients < 1 || s.rounds < 1 || s.builds < 1 || s.logs < 1 {
		fmt.Fprintln(stderr, "run: -clients, -rounds, -builds and -logs must be at least 1")
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := measure(ctx, s, stdout); err != nil {
		fmt.Fprintln(stderr, "run:", err)
		return 3
	}
	return 0
}

// benchmarks by name, in the order in which they run.
var benchmarks = []struct {
	name string
	run  func(ctx context.Context, s settings) ([]result, error)
}{
	{"webhook", benchWebhook},
	{"build", benchBuild},
	{"push", benchPush},
	{"queue", benchQueue},
	{"log", benchLog},
	{"source", benchSource},
	{"files", benchFiles},
	{"idle", benchIdle},
	{"page", benchPage},
	{"deploy", benchDeploy},
}

func measure(ctx context.Context, s settings, stdout io.Writer) error {
	dir, err := os.MkdirTemp("", "slipway-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s.dir = dir
	if s.slipway == "" {
		s.slipway = filepath.Join(dir, "slipway")
		if err := goBuild(ctx, s.slipway, "./cmd/slipway"); err != nil {
			return err
		}
	}
	if s.slipway, err = filepath.Abs(s.slipway); err != nil {
		return err
	}
	var all []result
	var failures []error
	for _, b := range benchmarks {
		if !slices.Contains(s.only, b.name) {
			continue
		}
		s.say("measuring %s ...", b.name)
		results, err := b.run(ctx, s)
		if err != nil {
			failures = append(failures, fmt.Errorf("measuring %s: %w", b.name, err))
		}
		all = append(all, results...)
	}
	printTable(stdout, all)
	if s.jsonFile != "" {
		failures = append(failures, writeJSON(s.jsonFile, all))
	}
	return errors.Join(failures...)
}

// goBuild builds a program as it is released: static and stripped.
func goBuild(ctx context.Context, to, pkg string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-tags", "nomsgpack", "-ldflags", "-s -w", "-o", to, pkg)
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", pkg, err, out)
	}
	return nil
}

// result is one figure: Slipway's, the floor's beside it, and the aim.
type result struct {
	Aim   string  `json:"aim"` // P1, P3, ... of the performance aims
	What  string  `json:"what"`
	Unit  string  `json:"unit"`
	Value float64 `json:"slipway"`
	Floor float64 `json:"floor,omitempty"` // 0: nothing to compare with
	Ratio float64 `json:"ratio,omitempty"`
	Want  string  `json:"want,omitempty"`
	Met   *bool   `json:"met,omitempty"` // nil: there is no aim for it
}

// against makes a result with a ratio; most says that the aim is an upper
// bound of it.
func against(aim, what, unit string, value, floor, bound float64, most bool) result {
	r := result{Aim: aim, What: what, Unit: unit, Value: value, Floor: floor}
	if floor > 0 {
		r.Ratio = value / floor
	}
	met, word := r.Ratio >= bound, "at least"
	if most {
		met, word = floor > 0 && r.Ratio <= bound, "at most"
	}
	r.Want, r.Met = fmt.Sprintf("%s %g times", word, bound), &met
	return r
}

// aimless makes a result with a ratio that is there to be seen.
func aimless(aim, what, unit string, value, floor float64) result {
	return result{Aim: aim, What: what, Unit: unit, Value: value, Floor: floor, Ratio: value / floor}
}

// atMost makes a result with a bound of its own.
func atMost(aim, what, unit string, value, bound float64) result {
	met := value <= bound
	return result{Aim: aim, What: what, Unit: unit, Value: value, Want: fmt.Sprintf("at most %g", bound), Met: &met}
}

func printTable(w io.Writer, all []result) {
	const row = "%-4s %-44s %10s %12s %12s %8s  %-18s %s\n"
	fmt.Fprintf(w, row, "aim", "what", "unit", "slipway", "floor", "ratio", "want", "")
	for _, r := range all {
		floor, ratio, met := "-", "-", ""
		if r.Floor > 0 {
			floor, ratio = fmt.Sprintf("%.2f", r.Floor), fmt.Sprintf("%.2f", r.Ratio)
		}
		if r.Met != nil {
			met = map[bool]string{true: "met", false: "MISSED"}[*r.Met]
		}
		fmt.Fprintf(w, row, r.Aim, r.What, r.Unit, fmt.Sprintf("%.2f", r.Value), floor, ratio, r.Want, met)
	}
}

func writeJSON(file string, all []result) error {
	data, err := json.MarshalIndent(map[string]any{"results": all}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o644)
}
