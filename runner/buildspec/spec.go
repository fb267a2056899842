// Package buildspec reads and checks buildspec.yml, the file that says what a
// build does, as CodeBuild reads it: a file that CodeBuild accepts is accepted
// and means the same, one that it refuses is refused with the same words, and
// with the position of every mistake at once.
package buildspec

import "regexp"

// StatusCode is the status code of a build whose buildspec is refused, and the
// code of every error that Parse finds.
const StatusCode = "YAML_FILE_ERROR"

// DefaultFile is the buildspec's name where none is set; buildspec.yaml is not
// looked for.
const DefaultFile = "buildspec.yml"

// Spec is one buildspec. It is plain data; lines count from 1.
type Spec struct {
	// Name is the file's name as given to Parse.
	Name string
	// Version is "0.1" (each command in a fresh shell and in the source folder)
	// or "0.2" (state goes on from command to command and phase to phase).
	Version string
	// RunAs is the user of all phases; empty means root.
	RunAs string
	Env   Env
	Proxy Proxy
	// Phases holds those in the file, in the order in which they run.
	Phases []Phase
	// Artifacts is nil if the file has none.
	Artifacts *Artifacts
	// Cache is nil if the file has none.
	Cache   *Cache
	Reports []Report
	// Batch is nil if the file has none. A build that is not a batch ignores it.
	Batch *Batch
}

// Phase is the phase called name, and the zero Phase if the file has none.
func (s *Spec) Phase(name string) Phase {
	for _, p := range s.Phases {
		if p.Name == name {
			return p
		}
	}
	return Phase{Name: name}
}

// The names of the phases.
const (
	Install   = "install"
	PreBuild  = "pre_build"
	Build     = "build"
	PostBuild = "post_build"
)

// PhaseNames are the phases in the order in which they run.
var PhaseNames = []string{Install, PreBuild, Build, PostBuild}

// Phase is one of the four phases of a build.
type Phase struct {
	Name string
	// Line is that of the phase's name, 0 if the file has no such phase.
	Line int
	// RunAs is the user of this phase; empty means that of the spec.
	RunAs     string
	OnFailure OnFailure
	// Runtimes are the runtime versions asked for, in the install phase only.
	Runtimes []Runtime
	Commands []Command
	// Finally runs after Commands, whether they passed or failed.
	Finally []Command
}

// Command is one item of commands or finally. It is a unit however many lines
// it has: it succeeds if its last line does.
type Command struct {
	Text string
	// Line is where the item begins: the line of its dash, its quote or its |.
	Line int
	// TextLine is the line of the first line of Text, which differs from Line
	// for a block (| or >).
	TextLine int
}

// Runtime asks for a version of a language. Version is the source text: 3.10
// stays "3.10". It can also be "latest", "3.x" or a variable.
type Runtime struct {
	Name    string
	Version string
	Line    int
}

// FailureAction is what happens when a phase fails.
type FailureAction string

// CodeBuild reference, phases.*.on-failure. Unset is the default order of
// phases: after a failed build phase post_build runs, after any other none.
const (
	Unset    FailureAction = ""
	Abort    FailureAction = "ABORT"
	Continue FailureAction = "CONTINUE"
	Retry    FailureAction = "RETRY"
)

// OnFailure is the on-failure key of a phase.
type OnFailure struct {
	Action FailureAction
	// Retries is how often to retry, 0 to 100; it is 0 unless Action is Retry.
	Retries int
	// Pattern is searched in the phase's error message; nil unless Action is
	// Retry.
	Pattern *regexp.Regexp
	// PhaseOnly retries the phase instead of the build (retry-scope: phase, an
	// extension that CodeBuild does not have).
	PhaseOnly bool
}

// Env is the env block (environment_variables in version 0.1).
type Env struct {
	// Shell is empty where the file names none.
	Shell     string
	Variables []Variable
	// Parameters are variables whose value is the name of a stored parameter.
	Parameters []Variable
	Secrets    []SecretVariable
	// Exported are the names of variables handed on when the build ends.
	Exported []string
	// GitCredentialHelper gives git in commands the credential of the source.
	GitCredentialHelper bool
}

// Variable is one environment variable. Value is literal: a $ in it is not
// expanded.
type Variable struct {
	Name  string
	Value string
	Line  int
	// Sensitive marks a plaintext value that looks like a secret and should be
	// masked in logs.
	Sensitive bool
}

// SecretVariable is one environment variable whose value is a secret.
type SecretVariable struct {
	Name   string
	Secret SecretRef
	Line   int
}

// Proxy is the proxy block, for builds behind an explicit proxy.
type Proxy struct {
	UploadArtifacts bool
	Logs            bool
}

// Artifacts says which files a build hands on.
type Artifacts struct {
	// ID is empty for the primary artifact.
	ID string
	// Files are globs below BaseDirectory.
	Files []string
	// Name may hold shell expressions.
	Name string
	// BaseDirectory may hold globs and variables; empty means the source root.
	BaseDirectory  string
	DiscardPaths   bool
	ExcludePaths   []string
	EnableSymlinks bool
	S3Prefix       string
	// Secondary is empty in a secondary artifact.
	Secondary []Artifacts
	Line      int
}

// CacheAction says which half of caching a build does.
type CacheAction string

// CodeBuild reference, cache.action. Both is the default.
const (
	Both    CacheAction = ""
	Restore CacheAction = "restore"
	Save    CacheAction = "save"
)

// Cache is the cache block.
type Cache struct {
	// Key may hold shell expressions; empty means one entry for the project.
	Key string
	// FallbackKeys are prefixes, tried in order when no entry has the key.
	FallbackKeys []string
	Action       CacheAction
	// Paths are globs, absolute or below the source root.
	Paths []string
	// SaveOnFailure saves although a phase failed (an extension).
	SaveOnFailure bool
	Line          int
}

// Report is one entry of reports.
type Report struct {
	// Group is a name, a variable, or the ARN of a report group.
	Group         string
	Files         []string
	Format        Format
	BaseDirectory string
	DiscardPaths  bool
	// FailOn makes the build fail on bad results (an extension); see FailOn.
	FailOn FailOn
	Line   int
}

// Format is the format of a report's files.
type Format string

// CodeBuild reference, reports.*.file-format.
const (
	JUnitXML        Format = "JUNITXML"
	CucumberJSON    Format = "CUCUMBERJSON"
	NUnitXML        Format = "NUNITXML"
	NUnit3XML       Format = "NUNIT3XML"
	TestNGXML       Format = "TESTNGXML"
	VisualStudioTRX Format = "VISUALSTUDIOTRX"
	CloverXML       Format = "CLOVERXML"
	CoberturaXML    Format = "COBERTURAXML"
	JaCoCoXML       Format = "JACOCOXML"
	SimpleCov       Format = "SIMPLECOV"
)

// Formats are all formats.
var Formats = []Format{JUnitXML, CucumberJSON, NUnitXML, NUnit3XML, TestNGXML, VisualStudioTRX, CloverXML, CoberturaXML, JaCoCoXML, SimpleCov}

// Coverage reports whether files of the format hold code coverage instead of
// test cases.
func (f Format) Coverage() bool {
	switch f {
	case CloverXML, CoberturaXML, JaCoCoXML, SimpleCov:
		return true
	}
	return false
}

// FailOn says which results of a report fail the build; its zero value none.
type FailOn struct {
	// Failed is set by "failed": a test case failed or broke.
	Failed bool
	// Errors is set by "error": a test case broke.
	Errors bool
	// CoverageBelow is set by "coverage<N", in percent of lines; 0 is unset.
	CoverageBelow float64
}
