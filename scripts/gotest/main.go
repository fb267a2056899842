// Command gotest runs go test and says what a person wants to know: failures
// with their output as they come, one line per package, every skip with its
// reason, and in the last line the counts.
//
//	gotest [-race auto|on|off] [-results FILE] [-again N] [-- arguments of go test]
//
// With -again, up to N failed tests are run once more, each alone; one that
// passes then is listed as flaky and no longer fails the run. More failures
// than that, a data race, a crash or a package that doesn't build stand.
//
// It exits 0 if everything passed, 1 if something failed or didn't build, 2
// for bad flags.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run is main without the process, for tests. Its result is the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("gotest", flag.ContinueOnError)
	flags.SetOutput(stderr)
	race := flags.String("race", "auto", "race detector: on, off, or auto (where cgo works)")
	results := flags.String("results", "", "append the counts and skips to this `file`, tab separated")
	again := flags.Int("again", 0, "run up to `N` failed tests once more")
	chdir := flags.String("C", ".", "run go test in this `folder`")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	withRace, err := decideRace(*race, stdout)
	if err != nil {
		fmt.Fprintln(stderr, "gotest:", err)
		return 2
	}
	goArgs := []string{"test", "-json"}
	if withRace {
		goArgs = append(goArgs, "-race")
	}
	testFlags, packages := split(flags.Args())
	s, err := test(*chdir, slices.Concat(goArgs, testFlags, packages), stdout, stderr)
	if err == nil {
		err = s.runAgain(*chdir, goArgs, testFlags, s.repeatable(*again), stdout, stderr)
	}
	if err != nil {
		fmt.Fprintln(stderr, "gotest:", err)
		return 1
	}
	if *results != "" {
		if err := appendResults(*results, s); err != nil {
			fmt.Fprintln(stderr, "gotest:", err)
			return 1
		}
	}
	s.print(stdout)
	if s.failed > 0 {
		return 1
	}
	return 0
}

// decideRace says whether to use the race detector. With "auto" it tries a
// program that is built with it, since cgo can be there on paper only (a C
// compiler without headers, a kernel the detector doesn't start on).
func decideRace(mode string, stdout io.Writer) (bool, error) {
	switch mode {
	case "on":
		return true, nil
	case "off":
		return false, nil
	case "auto":
		if exec.Command("go", "run", "-race", "./scripts/gotest/probe").Run() == nil {
			return true, nil
		}
		fmt.Fprintln(stdout, "race detector: off, it needs cgo, which doesn't work here")
		return false, nil
	}
	return false, fmt.Errorf("-race %s: want auto, on or off", mode)
}

// test runs the go command and returns what its tests came to. A go command
// that fails without a failed test counts as one failure.
func test(dir string, args []string, stdout, stderr io.Writer) (*summary, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	cmd.Stderr = stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting go test: %w", err)
	}
	s := newSummary(stdout)
	if err := s.read(pipe); err != nil {
		// The pipe must be drained, or go test would wait for us for ever.
		_, _ = io.Copy(io.Discard, pipe)
		_ = cmd.Wait()
		return nil, fmt.Errorf("reading the output of go test: %w", err)
	}
	err = cmd.Wait()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		return nil, fmt.Errorf("waiting for go test: %w", err)
	}
	if err != nil && s.failed == 0 {
		s.failed = 1
	}
	return s, nil
}

// appendResults adds a line "counts PASSED FAILED SKIPPED", a line "skip
// PACKAGE TEST REASON" for each skip and a line "flaky PACKAGE TEST" for each
// test that passed only when it ran again, for scripts that add up several runs.
func appendResults(path string, s *summary) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	s.writeResults(f)
	return f.Close()
}
