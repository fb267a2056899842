package pipeline

import (
	"time"

	"github.com/slipway-ci/slipway/forge"
)

// JobKind says which kind of worker a job is for.
type JobKind string

// The kinds of jobs.
const (
	BuildJob  JobKind = "build"
	DeployJob JobKind = "deploy"
	// HTTPJob is a request that the server itself makes.
	HTTPJob JobKind = "http"
	// BatchJob reads the tasks of a batch, or combines their artifacts, at the
	// server itself.
	BatchJob JobKind = "batch"
	// SourceJob fetches a source beside the repository, at the server itself.
	SourceJob JobKind = "source"
)

// JobLimitBytes is the most that a job may take in the queue as JSON. A job
// holds names and digests, never a secret and never payload text.
const JobLimitBytes = 8 << 10

// Job is one attempt of one action, waiting for a worker or in its hands. A
// lost worker's job is not given to another one: the attempt ends as
// RunnerLost and Advance starts the next attempt as a new job.
type Job struct {
	V         int     `json:"v"`
	ID        string  `json:"id"` // the build ID or deployment ID; names the attempt
	Kind      JobKind `json:"kind"`
	Repo      string  `json:"repo"`     // forge/ID: whom the queue is fair to
	Project   string  `json:"project"`  // whom concurrency limits count for
	Pipeline  string  `json:"pipeline"` // the Board's key
	Execution string  `json:"execution"`
	Stage     string  `json:"stage"`
	Action    string  `json:"action"`
	Attempt   int     `json:"attempt"`          // counts from 1
	Token     int64   `json:"token,omitempty"`  // fencing token; set when claimed
	Labels    string  `json:"labels,omitempty"` // sorted, comma-separated; with Compute it names the class
	Compute   string  `json:"compute,omitempty"`
	// Concurrency is the project's limit of running jobs; 0 means none.
	Concurrency int           `json:"concurrency,omitempty"`
	Timeout     time.Duration `json:"timeout"`
	NotBefore   time.Time     `json:"not_before,omitzero"`
	Trusted     bool          `json:"trusted"`
	Trace       string        `json:"trace,omitempty"`
	// Unbegun is set on a lost job whose worker was never heard of after it was
	// given the job: nothing says that it ever got the answer to its claim.
	Unbegun bool `json:"unbegun,omitempty"`
}

// Class names the queue that the job waits in: its labels and compute type.
func (j Job) Class() string { return ClassOf(j.Kind, j.Labels, j.Compute) }

// ClassOf names the queue for a kind, labels and compute type.
func ClassOf(kind JobKind, labels, compute string) string {
	return string(kind) + "|" + labels + "|" + compute
}

// Worker is who claims jobs.
type Worker struct {
	ID      string   `json:"id"`   // unique per process
	Name    string   `json:"name"` // for people
	Kind    JobKind  `json:"kind"`
	Classes []string `json:"classes"` // the classes that it serves, see ClassOf
	Slots   int      `json:"slots"`
	Version string   `json:"version,omitempty"`
}

// JobRef is how a worker names the job that it holds.
type JobRef struct {
	ID    string `json:"id"`
	Class string `json:"class"`
	Token int64  `json:"token"`
}

// Ref names the job as its present holder does.
func (j Job) Ref() JobRef { return JobRef{ID: j.ID, Class: j.Class(), Token: j.Token} }

// Assignment is the answer to a claim: the job, and what its worker needs to
// do it. It is the only thing that carries credentials and secrets, and it is
// never stored.
type Assignment struct {
	Job    Job           `json:"job"`
	Lease  time.Duration `json:"lease"`
	Build  *BuildOrder   `json:"build,omitempty"`
	Deploy *DeployOrder  `json:"deploy,omitempty"`
	HTTP   *HTTPOrder    `json:"http,omitempty"`
	Batch  *BatchOrder   `json:"batch,omitempty"`
	Fetch  *FetchOrder   `json:"fetch,omitempty"`
}

// FetchOrder says what a source action fetches: the newest commit of a branch,
// or an object. The artifact is called Name.
type FetchOrder struct {
	Name string `json:"name"`
	// Source is the repository, less its commit, and Branch is empty for its
	// default branch; nil: it is an object.
	Source *SourceOrder `json:"source,omitempty"`
	Branch string       `json:"branch,omitempty"`
	// Address is where the bucket is, as gocloud.dev writes it.
	Address string `json:"address,omitempty"`
	Bucket  string `json:"bucket,omitempty"`
	Key     string `json:"key,omitempty"`
}

// HTTPOrder is one request of an http action. It succeeds with a 2xx answer.
type HTTPOrder struct {
	ID     string `json:"id"`
	Method string `json:"method"`
	URL    string `json:"url"`
	Body   string `json:"body,omitempty"`
	// Timeout is for all tries together.
	Timeout time.Duration `json:"timeout"`
	// Expect is what else the answer must say, for a condition's rule; nil:
	// nothing.
	Expect *Expectation `json:"expect,omitempty"`
	// Internal says that the address is the server's own choice, which no file of
	// a repository has a say in: it may be on this host.
	Internal bool `json:"internal,omitempty"`
}

// Expectation is what an answer must say for a rule to succeed.
type Expectation struct {
	Provider string   `json:"provider"` // HTTPProvider, AlarmProvider or PrometheusProvider
	Alarm    string   `json:"alarm,omitempty"`
	States   []string `json:"states,omitempty"` // in one of which the alarm is
	// Operator and Threshold are what all samples of a query are compared with.
	Operator  string `json:"operator,omitempty"`
	Threshold string `json:"threshold,omitempty"`
}

// Inputs are the artifacts that the order's worker may open.
func (a Assignment) Inputs() []Artifact {
	var all []Artifact
	if a.Deploy != nil {
		all = append(all, a.Deploy.Revision)
	}
	if a.Batch != nil {
		all = append(all, a.Batch.Combine...)
	}
	if a.Build == nil {
		return all
	}
	for _, in := range a.Build.Inputs {
		if !in.Source {
			all = append(all, in.Artifact)
		}
	}
	return all
}

// SourceOrder says which commit to fetch and from where.
type SourceOrder struct {
	Repo forge.Repo `json:"repo"`
	URL  string     `json:"url"` // without credentials
	// User and Password are for git over HTTPS; empty for a public repository.
	// The build never sees them, but for Lend.
	User     string `json:"user,omitempty"`
	Password string `json:"password,omitempty"`
	// Lend allows the build's own git to have them, too: they read this one
	// repository and nothing else, and the build's code is trusted.
	Lend bool   `json:"lend,omitempty"`
	SHA  string `json:"sha"`
	// FetchRef is a ref that contains SHA, for servers that don't serve a bare
	// commit ID: refs/heads/main or refs/pull/7/head.
	FetchRef string `json:"fetch_ref,omitempty"`
	Depth    int    `json:"depth,omitempty"` // 0: the one commit; -1: full history
}

// Variable is one environment variable of a build.
type Variable struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Secret bool   `json:"secret,omitempty"` // its value is masked in the log
}

// Limits bound one build's container. Zero means the engine's default.
type Limits struct {
	CPUs        float64 `json:"cpus,omitempty"`
	MemoryBytes int64   `json:"memory_bytes,omitempty"`
	Processes   int64   `json:"processes,omitempty"`
}

// BuildOrder is everything that a runner needs for one build.
type BuildOrder struct {
	ID      string      `json:"id"`
	Number  int         `json:"number"` // CODEBUILD_BUILD_NUMBER
	Project string      `json:"project"`
	Source  SourceOrder `json:"source"`
	// Buildspec is a path below the source root, or the text itself if it spans
	// lines; empty means buildspec.yml.
	Buildspec string `json:"buildspec,omitempty"`
	Image     string `json:"image"`
	// BuiltIn are the CODEBUILD_* variables that the server knows; Variables
	// are the project's, which win over the buildspec's (CodeBuild reference 3.1).
	BuiltIn   []Variable `json:"built_in,omitempty"`
	Variables []Variable `json:"variables,omitempty"`
	Limits    Limits     `json:"limits,omitzero"`
	// Timeout runs from PROVISIONING on.
	Timeout    time.Duration `json:"timeout"`
	Privileged bool          `json:"privileged,omitempty"`
	Trusted    bool          `json:"trusted"`
	// StrictShell: a command fails at its first line that does, and a pipe if any
	// part of it fails, in shells that know how.
	StrictShell bool `json:"strict_shell,omitempty"`
	// Inputs are the build's sources, the primary one first; none means the
	// Source alone.
	Inputs []Input `json:"inputs,omitempty"`
	// SecondaryOnly: the build's action has several outputs, which secondary
	// artifacts make, so that a primary one may be missing (CodeBuild reference 4.5).
	SecondaryOnly bool `json:"secondary_only,omitempty"`
	// Retried is how often the build has been repeated already.
	Retried int `json:"retried,omitempty"`
	// Services run beside the build.
	Services []Service `json:"services,omitempty"`
	// Notes are lines for the log: what the server withholds, and why.
	Notes []string `json:"notes,omitempty"`
	// AutoRetry is how often a failed build is repeated although its buildspec
	// doesn't ask for it (CodeBuild reference 9.4).
	AutoRetry int `json:"auto_retry,omitempty"`
	// Stored are the values of parameters and secrets that the buildspec names,
	// as far as this build may have them.
	Stored []StoredValue `json:"stored,omitempty"`
	// Debug has the build wait where its first command fails.
	Debug *DebugOrder `json:"debug,omitempty"`
}

// StoredValue is what a server says of one reference of env.parameter-store or
// env.secrets-manager: its value, or why there is none.
type StoredValue struct {
	// Parameter says that Ref names a parameter, else it is a secret's reference
	// as the buildspec writes it.
	Parameter bool   `json:"parameter,omitempty"`
	Ref       string `json:"ref"`
	Value     string `json:"value,omitempty"`
	Refused   string `json:"refused,omitempty"`
}

// DeployOrder is everything that an agent needs for one deployment.
type DeployOrder struct {
	ID          string `json:"id"`
	Application string `json:"application"`
	Group       string `json:"group"`
	// Revision is the bundle's artifact: a zip or tar that holds the appspec.
	Revision           Artifact   `json:"revision"`
	FileExistsBehavior string     `json:"file_exists_behavior,omitempty"`
	OnDrift            string     `json:"on_drift,omitempty"`
	IgnoreStopFailures bool       `json:"ignore_stop_failures,omitempty"`
	Variables          []Variable `json:"variables,omitempty"`
	Commit             string     `json:"commit,omitempty"`
}

// Outcome is how an attempt ended, as its worker says it.
type Outcome struct {
	Status BuildStatus `json:"status"`
	// Code and Message say why it did not succeed, in words for its author.
	Code    string `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
	// Retry asks that a failed build is repeated from its beginning (CodeBuild
	// reference, phases.*.on-failure: RETRY).
	Retry bool `json:"retry,omitempty"`
	// Where a mistake is, if it is in a file of the repository.
	Annotations []forge.Annotation `json:"annotations,omitempty"`
	// Exported are the variables for later actions.
	Exported  map[string]string `json:"exported,omitempty"`
	Artifacts []Artifact        `json:"artifacts,omitempty"`
	// Batch is what a BatchJob has read.
	Batch *Batch `json:"batch,omitempty"`
}
