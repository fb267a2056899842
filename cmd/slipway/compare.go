package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/slipway-ci/slipway/runner"
)

// readManifest reads the manifest of an earlier build: a file of --report, or
// the manifest itself.
func readManifest(path string) (runner.Manifest, error) {
	var report struct {
		Manifest *runner.Manifest `json:"manifest"`
	}
	var m runner.Manifest
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, &report)
	}
	if err == nil && report.Manifest != nil {
		return *report.Manifest, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &m)
	}
	if err == nil && (m.V == 0 || len(m.Phases) == 0) {
		err = fmt.Errorf("%s: want a build's manifest, or the file of slipway build --report", path)
	}
	return m, err
}

// compare says what the build did otherwise than an earlier one, which is a
// failure.
func (a *app) compare(path string, before runner.Manifest, now json.RawMessage) error {
	var m runner.Manifest
	if err := json.Unmarshal(now, &m); err != nil {
		return fmt.Errorf("comparing with %s: the build has left no manifest: %w", path, err)
	}
	lines := m.Compare(before)
	for _, line := range lines {
		fmt.Fprintf(a.stderr, "not as in %s: %s\n", path, line)
	}
	if len(lines) > 0 {
		return &exitError{code: exitFailed}
	}
	fmt.Fprintf(a.stderr, "as in %s: the same image, commands and artifacts\n", path)
	return nil
}
