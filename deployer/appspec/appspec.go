// Package appspec reads and checks appspec.yml, the file that tells CodeDeploy
// what to copy where and which scripts to run. Files for servers are read in
// full; those for ECS and Lambda are recognised and checked lightly.
package appspec

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/specfile"
)

// Names are the file names that are looked for, in this order, in the root of
// a revision.
var Names = []string{"appspec.yml", "appspec.yaml", "appspec.json"}

// Kind is the compute platform that a file is for.
type Kind string

// The kinds of files that share the name.
const (
	Server Kind = "server" // EC2 and on-premises
	ECS    Kind = "ecs"
	Lambda Kind = "lambda"
)

// Spec is a valid file.
type Spec struct {
	Kind Kind
	// OS is linux or windows, empty but for servers.
	OS string
	// FileExistsBehavior is DISALLOW, OVERWRITE or RETAIN, or empty if the file
	// does not say.
	FileExistsBehavior string
	Files              []File
	Permissions        []Permission
	// Hooks are the scripts of each lifecycle event that has any, in order.
	Hooks map[string][]Script
}

// File says that a file or folder of the revision goes to a folder of the host.
type File struct {
	// Source is relative to the root of the revision; "." is all of it. What no
	// file is called may be a pattern, an addition of ours.
	Source string
	// Destination is the folder to put it in, as written but for blanks.
	Destination string
	// Name is what a single file is called there, and Exclude are patterns of
	// what to leave out, relative to Source: additions of ours.
	Name         string
	Exclude      []string
	Line, Column int
}

// IsPattern reports whether a source may be a pattern: with * and ? within a
// name, [a-z], {a,b}, or ** for any folders.
func IsPattern(source string) bool { return strings.ContainsAny(source, "*?[{") }

// Script is one script of a lifecycle event.
type Script struct {
	Location string        // relative to the root of the revision
	Timeout  time.Duration // DefaultTimeout if the file does not say
	RunAs    string        // user; empty means the agent's
	Sudo     bool
	// Args and Env are additions of ours.
	Args         []string
	Env          []string // NAME=value
	Line, Column int
}

// DefaultTimeout is the time limit of a script that sets none, and that of a
// whole lifecycle event at AWS.
const DefaultTimeout = time.Hour

// The lifecycle events of a deployment to a server whose scripts an author can
// write (AWS reference 1.7).
const (
	BeforeBlockTraffic = "BeforeBlockTraffic"
	AfterBlockTraffic  = "AfterBlockTraffic"
	ApplicationStop    = "ApplicationStop"
	BeforeInstall      = "BeforeInstall"
	AfterInstall       = "AfterInstall"
	ApplicationStart   = "ApplicationStart"
	ValidateService    = "ValidateService"
	BeforeAllowTraffic = "BeforeAllowTraffic"
	AfterAllowTraffic  = "AfterAllowTraffic"
)

// Events are the scriptable lifecycle events in the order of a deployment in
// place.
var Events = []string{
	BeforeBlockTraffic, AfterBlockTraffic, ApplicationStop, BeforeInstall, AfterInstall,
	ApplicationStart, ValidateService, BeforeAllowTraffic, AfterAllowTraffic,
}

// reserved events belong to CodeDeploy: a script for one is never run.
var reserved = []string{"Start", "DownloadBundle", "Install", "BlockTraffic", "AllowTraffic", "End"}

// The values of file_exists_behavior.
const (
	Disallow  = "DISALLOW"
	Overwrite = "OVERWRITE"
	Retain    = "RETAIN"
)

// Behaviors are the values of file_exists_behavior.
var Behaviors = []string{Disallow, Overwrite, Retain}

// Options of Parse.
type Options struct {
	// Strict turns every warning into an error.
	Strict bool
	// AWS reproduces what CodeDeploy's agent does where we do better: lifecycle
	// events at the top level are ignored instead of taken for hooks.
	AWS bool
	// Events are lifecycle events of the caller's own that count besides Events.
	Events []string
	// Platform is the os that the file must be for; empty accepts both.
	Platform string
}

// Parse reads one file, YAML or JSON. The result is nil if there are errors;
// warnings may come with a result. The codes of problems are those of the
// CodeDeploy reference 1.9.
func Parse(data []byte, o Options) (*Spec, specfile.Problems) {
	if string(bytes.TrimSpace(data)) == "false" {
		data = nil // to the agent a false document is an empty one
	}
	f := specfile.Parse(data, specfile.Options{})
	p := &parser{File: f, options: o, spec: &Spec{Kind: Server, Hooks: map[string][]Script{}}}
	if f.Root != nil {
		p.refuseTags(f.Root)
		p.file()
	}
	problems := p.finish()
	if problems.HasErrors() {
		return nil, problems
	}
	return p.spec, problems
}

// codes are ours for what the shared reader finds itself.
var codes = map[string]string{
	specfile.CodeSyntax:     "APPSPEC_YAML",
	specfile.CodeType:       "APPSPEC_TYPE",
	specfile.CodeValue:      "APPSPEC_VALUE",
	specfile.CodeDuplicate:  "DUP_KEY",
	specfile.CodeUnknownKey: "KEY_UNKNOWN",
	specfile.CodeLimit:      "APPSPEC_LIMIT",
	specfile.CodeEmpty:      "APPSPEC_EMPTY",
}

// finish gives the problems our codes, and Strict its effect.
func (p *parser) finish() specfile.Problems {
	problems := slices.Clone(p.Problems())
	for i, problem := range problems {
		if code, shared := codes[problem.Code]; shared {
			problems[i].Code = code
		}
		if problems[i].Code == "APPSPEC_EMPTY" {
			problems[i].Hint = "at least version and os are needed"
		}
		if p.options.Strict {
			problems[i].Severity = specfile.Error
		}
	}
	return problems
}
