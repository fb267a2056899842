package pipeline

import (
	"slices"
	"time"
)

// Artifact is a bundle of files that an action made: bytes named by their
// digest, and a name that later actions use.
type Artifact struct {
	Name string `json:"name"` // BuildArtifact, SourceArtifact or a secondary artifact's ID
	// Label is the name that the buildspec gives it (artifacts.name), its
	// expressions evaluated; for people. It may have slashes, and no "..".
	Label  string `json:"label,omitempty"`
	Digest string `json:"digest"` // hex SHA-256 of the bytes
	Format string `json:"format"` // zip, tar.gz, tar.zst
	Bytes  int64  `json:"bytes"`
	Files  int    `json:"files"`
}

// Build is one run of a buildspec, as CodeBuild describes it (CodeBuild
// reference 2.1).
type Build struct {
	V         int         `json:"v"`
	ID        string      `json:"id"`
	Execution string      `json:"execution"`
	Pipeline  string      `json:"pipeline"` // the Board's key
	Stage     string      `json:"stage"`
	Action    string      `json:"action"`
	Attempt   int         `json:"attempt"`
	Number    int         `json:"number"`
	Project   string      `json:"project"`
	Repo      string      `json:"repo"` // owner/name
	SHA       string      `json:"sha"`
	Ref       string      `json:"ref"`
	Image     string      `json:"image,omitempty"`
	Runner    string      `json:"runner,omitempty"`
	Status    BuildStatus `json:"status"`
	Phases    []Phase     `json:"phases"`
	// CurrentPhase is the last element's type, COMPLETED at the end.
	CurrentPhase string     `json:"current_phase,omitempty"`
	CreatedAt    time.Time  `json:"created_at"`
	StartedAt    time.Time  `json:"started_at,omitzero"`
	EndedAt      time.Time  `json:"ended_at,omitzero"`
	Artifacts    []Artifact `json:"artifacts,omitempty"`
	// Manifest says what the build did; it is none of the artifacts that the
	// buildspec asked for.
	Manifest *Artifact `json:"manifest,omitempty"`
	// Reports are those of the buildspec's reports block, in its order.
	Reports []Report `json:"reports,omitempty"`
	// Inputs are the artifacts that the job may open.
	Inputs   []Artifact        `json:"inputs,omitempty"`
	Exported map[string]string `json:"exported,omitempty"`
	Failure  *Failure          `json:"failure,omitempty"`
	LogBytes int64             `json:"log_bytes"`
	LogLines int64             `json:"log_lines"`
	// Lifecycle events of a deployment are phases too: Deployment is its ID
	// then, and Phases hold ApplicationStop, BeforeInstall and so on.
	Deployment string `json:"deployment,omitempty"`
	Group      string `json:"group,omitempty"`
}

// Phase is one entered phase. A skipped one is not in the list.
type Phase struct {
	Type      string      `json:"type"` // PROVISIONING, DOWNLOAD_SOURCE, INSTALL, ...
	Status    BuildStatus `json:"status,omitempty"`
	StartTime time.Time   `json:"start_time"`
	EndTime   time.Time   `json:"end_time,omitzero"` // zero: running, or COMPLETED
	Contexts  []Context   `json:"contexts,omitempty"`
	// LogLine is the line of the log (from 1) at which the phase starts; 0: none.
	LogLine int64 `json:"log_line,omitempty"`
}

// Context is one remark on a phase; a successful phase has one with both empty.
type Context struct {
	StatusCode string `json:"status_code"`
	Message    string `json:"message"`
}

// Failure is what a reader wants first: which command failed, and what it said.
type Failure struct {
	Phase   string `json:"phase"`
	Code    string `json:"code"`
	Message string `json:"message"`
	Command string `json:"command,omitempty"`
	Exit    int    `json:"exit,omitempty"`
	// Tail is the last lines of the failing command's output, masked.
	Tail    []string `json:"tail,omitempty"`
	LogLine int64    `json:"log_line,omitempty"`
}

// Duration is how long the build ran; until now while it does.
func (b Build) Duration(now time.Time) time.Duration {
	if b.StartedAt.IsZero() {
		return 0
	}
	if !b.EndedAt.IsZero() {
		now = b.EndedAt
	}
	return now.Sub(b.StartedAt)
}

// Names reports whether the artifact is an input of the build. What the build
// made doesn't count: that is its worker's word.
func (b Build) Names(digest string) bool {
	return slices.ContainsFunc(b.Inputs, func(a Artifact) bool { return a.Digest == digest })
}

// Close ends the build, and the phase that it was in, from outside: its worker
// can't say any more how it ended.
func (b *Build) Close(status BuildStatus, code, message string, at time.Time) {
	if b.Failure == nil && status != BuildSucceeded {
		b.Failure = &Failure{Phase: b.CurrentPhase, Code: code, Message: message}
	}
	b.Status, b.EndedAt = status, at
	b.Phases = slices.Clone(b.Phases) // what was reported of it before is others' to read
	if n := len(b.Phases); n > 0 && b.Phases[n-1].EndTime.IsZero() {
		p := &b.Phases[n-1]
		p.Status, p.EndTime = status, at
		p.Contexts = []Context{{StatusCode: code, Message: message}}
	}
	b.Phases = append(b.Phases, Phase{Type: "COMPLETED", StartTime: at})
	b.CurrentPhase = "COMPLETED"
}
