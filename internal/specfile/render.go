package specfile

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Result is what was found in one file.
type Result struct {
	// Path is shown as it is.
	Path string
	// Kind is buildspec, appspec or pipeline.
	Kind     string
	Problems Problems
}

// Valid reports whether there is no error.
func (r Result) Valid() bool { return !r.Problems.HasErrors() }

// Format is a way to show results.
type Format string

// The formats of WriteResults.
const (
	// Text is one line a problem, as "path:line:column: text".
	Text Format = "text"
	// JSON is one object with a list of files.
	JSON Format = "json"
	// GitHub is one workflow command a problem, which GitHub shows beside the
	// line in a pull request.
	GitHub Format = "github"
)

// WriteResults writes the results to w. An unknown format is an error.
func WriteResults(w io.Writer, format Format, results []Result) error {
	switch format {
	case Text:
		return writeLines(w, results, func(path string, p Problem) string {
			return path + ":" + p.String()
		})
	case GitHub:
		return writeLines(w, results, workflowCommand)
	case JSON:
		return writeJSON(w, results)
	}
	return fmt.Errorf("want the format text, json or github, have %q", format)
}

func writeLines(w io.Writer, results []Result, line func(string, Problem) string) error {
	var b strings.Builder
	for _, r := range results {
		for _, p := range r.Problems {
			b.WriteString(line(r.Path, p) + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

var (
	commandData     = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	commandProperty = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)

// workflowCommand is p as GitHub Actions reads it from a job's output.
func workflowCommand(path string, p Problem) string {
	return fmt.Sprintf("::%s file=%s,line=%d,col=%d,title=%s::%s", p.Severity, commandProperty.Replace(path), p.Line, p.Column, commandProperty.Replace(p.Code), commandData.Replace(p.Text()))
}

func writeJSON(w io.Writer, results []Result) error {
	type problem struct {
		Line     int      `json:"line"`
		Column   int      `json:"column"`
		Severity Severity `json:"severity"`
		Code     string   `json:"code"`
		Message  string   `json:"message"`
	}
	type file struct {
		Path     string    `json:"path"`
		Kind     string    `json:"kind"`
		Valid    bool      `json:"valid"`
		Problems []problem `json:"problems"`
	}
	files := make([]file, len(results))
	for i, r := range results {
		files[i] = file{Path: r.Path, Kind: r.Kind, Valid: r.Valid(), Problems: make([]problem, len(r.Problems))}
		for j, p := range r.Problems {
			files[i].Problems[j] = problem{p.Line, p.Column, p.Severity, p.Code, p.Text()}
		}
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(map[string]any{"files": files})
}
