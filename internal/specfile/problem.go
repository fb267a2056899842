// Package specfile is what the readers of YAML files written by users share:
// bytes to a node tree, walks over it that keep the source text and position
// of every value, and the list of mistakes found on the way.
package specfile

import (
	"errors"
	"fmt"
	"sort"
	"strings"
)

// Severity says whether a problem makes a file unusable.
type Severity string

// An Error makes the file invalid; a Warning is something that its author most
// likely did not mean.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// Codes of the problems that this package finds itself. A parser adds its own;
// Options.ErrorCode replaces them for errors.
const (
	CodeSyntax     = "syntax"
	CodeType       = "wrong-type"
	CodeValue      = "wrong-value"
	CodeDuplicate  = "duplicate-key"
	CodeUnknownKey = "unknown-key"
	CodeMissingKey = "missing-key"
	CodeLimit      = "limit"
	CodeEmpty      = "empty"
)

// Problem is one mistake in a file. Line and Column count from 1 in
// characters; both are 1 for what concerns the whole file.
type Problem struct {
	Line     int
	Column   int
	Severity Severity
	// Code names the kind of problem for programs, in kebab case, or is the
	// status code of the AWS service whose file this is.
	Code string
	// Message says what is wrong and what was wanted. It is one line.
	Message string
	// Hint says how to fix it. It may be empty.
	Hint string
}

// Text is the message with the hint, if any, in brackets.
func (p Problem) Text() string {
	if p.Hint == "" {
		return p.Message
	}
	return p.Message + " (" + p.Hint + ")"
}

// String is "line:column: text", with "warning: " before the text of a warning.
func (p Problem) String() string {
	if p.Severity == Warning {
		return fmt.Sprintf("%d:%d: warning: %s", p.Line, p.Column, p.Text())
	}
	return fmt.Sprintf("%d:%d: %s", p.Line, p.Column, p.Text())
}

// Problems are the mistakes of one file, in the order of their positions.
type Problems []Problem

// HasErrors reports whether any of them makes the file invalid.
func (ps Problems) HasErrors() bool {
	for _, p := range ps {
		if p.Severity == Error {
			return true
		}
	}
	return false
}

// Errors are those of severity Error.
func (ps Problems) Errors() Problems { return ps.only(Error) }

// Warnings are those of severity Warning.
func (ps Problems) Warnings() Problems { return ps.only(Warning) }

func (ps Problems) only(s Severity) Problems {
	var out Problems
	for _, p := range ps {
		if p.Severity == s {
			out = append(out, p)
		}
	}
	return out
}

// Err is nil unless there are errors; else one error that lists them all, each
// as "file:line:column: text" on a line of its own.
func (ps Problems) Err(file string) error {
	var lines []string
	for _, p := range ps.Errors() {
		lines = append(lines, file+":"+p.String())
	}
	if len(lines) == 0 {
		return nil
	}
	return errors.New(strings.Join(lines, "\n"))
}

// Sort puts them in the order of their positions; those of one position keep
// the order in which they were found.
func (ps Problems) Sort() {
	sort.SliceStable(ps, func(i, j int) bool {
		if ps[i].Line != ps[j].Line {
			return ps[i].Line < ps[j].Line
		}
		return ps[i].Column < ps[j].Column
	})
}
