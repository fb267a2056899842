package report

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
)

type feature struct {
	Name     string     `json:"name"`
	URI      string     `json:"uri"`
	Elements []scenario `json:"elements"`
}

type scenario struct {
	Name   string `json:"name"`
	Type   string `json:"type"`
	Line   int    `json:"line"`
	Steps  []step `json:"steps"`
	Before []step `json:"before"`
	After  []step `json:"after"`
}

type step struct {
	Line   int `json:"line"`
	Result struct {
		Status   string  `json:"status"`
		Duration float64 `json:"duration"` // nanoseconds
		Message  string  `json:"error_message"`
	} `json:"result"`
	Before []step `json:"before"`
	After  []step `json:"after"`
}

// cucumber reads Cucumber's JSON, one feature at a time.
func (r *Reader) cucumber(in io.Reader) error {
	d := json.NewDecoder(in)
	t, err := d.Token()
	if err != nil {
		return atByte(d, err)
	}
	if t != json.Delim('[') {
		return fmt.Errorf("%w: want a list of features, have %v", errForeign, t)
	}
	for d.More() {
		var f feature
		if err := d.Decode(&f); err != nil {
			return atByte(d, err)
		}
		r.feature(f)
	}
	if _, err := d.Token(); err != nil {
		return atByte(d, err)
	}
	return nil
}

func atByte(d *json.Decoder, err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("byte %d: %w", d.InputOffset(), err)
}

// feature adds the scenarios; the steps of a background are those of the
// scenario behind it.
func (r *Reader) feature(f feature) {
	var before []step
	for _, s := range f.Elements {
		steps := append(before, s.Before...)
		for _, one := range s.Steps {
			steps = append(append(append(steps, one.Before...), one), one.After...)
		}
		steps = append(steps, s.After...)
		if before = nil; s.Type == "background" {
			before = steps
			continue
		}
		r.add(scenarioCase(f, s, steps))
	}
}

func scenarioCase(f feature, s scenario, steps []step) Case {
	c := Case{ReportCase: pipeline.ReportCase{Name: s.Name, Suite: f.Name, Status: pipeline.CaseUnknown, File: f.URI, Line: max(0, s.Line)}}
	worst := 0
	for i, one := range steps {
		if ns := one.Result.Duration; ns > 0 && ns < float64(24*365*time.Hour) {
			c.Duration = addDurations(c.Duration, time.Duration(ns))
		}
		if rank, status := stepStatus(one.Result.Status); i == 0 || rank > worst {
			worst, c.Status = rank, status
			if status == pipeline.CaseFailed {
				c.Message, c.Line = one.Result.Message, max(c.Line, one.Line)
			}
		}
	}
	return c
}

// stepStatus is what a step makes of its scenario; the highest rank wins
// (CodeBuild reference 6.1).
func stepStatus(s string) (rank int, _ pipeline.CaseStatus) {
	switch s {
	case "failed":
		return 3, pipeline.CaseFailed
	case "skipped", "pending":
		return 1, pipeline.CaseSkipped
	case "passed":
		return 0, pipeline.CaseSucceeded
	}
	return 2, pipeline.CaseUnknown
}
