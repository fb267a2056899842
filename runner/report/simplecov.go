package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/slipway-ci/slipway/pipeline"
)

// simplecov reads SimpleCov's coverage.json, and the .resultset.json of older
// versions, which has a result for each command that ran.
func (r *Reader) simplecov(in io.Reader) error {
	var all map[string]json.RawMessage
	d := json.NewDecoder(in)
	if err := d.Decode(&all); err != nil {
		return atByte(d, err)
	}
	if raw, ok := all["coverage"]; ok {
		return r.files(raw)
	}
	found := false
	for _, raw := range all {
		var result struct {
			Coverage json.RawMessage `json:"coverage"`
		}
		if json.Unmarshal(raw, &result) != nil || result.Coverage == nil {
			continue
		}
		found = true
		if err := r.files(result.Coverage); err != nil {
			return err
		}
	}
	if !found {
		return fmt.Errorf(`%w: want SimpleCov's coverage.json or .resultset.json: there is no "coverage"`, errForeign)
	}
	return nil
}

func (r *Reader) files(raw json.RawMessage) error {
	var files map[string]covered
	if err := json.Unmarshal(raw, &files); err != nil {
		return errors.New("coverage: want a map of files")
	}
	for name, c := range files {
		name = r.text(name, maxName)
		for i, hit := range c.lines {
			if hit != irrelevant {
				r.line(name, i+1, line{hit: hit == reached})
			}
		}
		r.line(name, 0, line{branches: c.branches})
	}
	return nil
}

// covered is a file: a list of hits, or a map with lines and branches.
type covered struct {
	lines    hits
	branches pipeline.Coverage
}

// UnmarshalJSON reads either form.
func (c *covered) UnmarshalJSON(data []byte) error {
	if strings.HasPrefix(string(data[:1]), "[") {
		return c.lines.UnmarshalJSON(data)
	}
	var f struct {
		Lines    hits            `json:"lines"`
		Branches json.RawMessage `json:"branches"`
	}
	if err := json.Unmarshal(data, &f); err != nil {
		return err
	}
	c.lines, c.branches = f.Lines, branches(f.Branches)
	return nil
}

// branches reads a list of branches, or the older map of conditions to maps of
// their branches' hits.
func branches(raw json.RawMessage) (sum pipeline.Coverage) {
	tell := func(hits float64) {
		if hits > 0 {
			sum.Covered++
		} else {
			sum.Missed++
		}
	}
	var list []struct {
		Coverage any `json:"coverage"` // or the word "ignored"
	}
	if json.Unmarshal(raw, &list) == nil {
		for _, b := range list {
			if n, ok := b.Coverage.(float64); ok {
				tell(n)
			}
		}
		return sum
	}
	var older map[string]map[string]float64
	if json.Unmarshal(raw, &older) == nil {
		for _, condition := range older {
			for _, n := range condition {
				tell(n)
			}
		}
	}
	return sum
}

// hits has a byte for each line.
type hits []byte

const (
	irrelevant byte = iota
	missed
	reached
)

// UnmarshalJSON reads a list of numbers, of nulls where there is nothing to
// reach, and of words where the author wants nothing counted.
func (h *hits) UnmarshalJSON(data []byte) error {
	text := strings.TrimSpace(string(data))
	if text == "null" {
		return nil
	}
	if !strings.HasPrefix(text, "[") || strings.ContainsAny(text[1:], "[{") {
		return errors.New("want a list of numbers")
	}
	for item := range strings.SplitSeq(strings.Trim(text, "[]"), ",") {
		item = strings.TrimSpace(item)
		switch {
		case item == "":
		case item[0] >= '1' && item[0] <= '9':
			*h = append(*h, reached)
		case item[0] == '0' || item[0] == '-':
			*h = append(*h, missed)
		default:
			*h = append(*h, irrelevant)
		}
	}
	return nil
}
