// Package deployer applies one revision to this host as CodeDeploy's agent
// does: it copies the files that appspec.yml names and runs its scripts, event
// by event. Files are installed in one transaction: a deployment that fails
// before its Install has finished, or a crash, leaves what was there before.
package deployer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/deployer/appspec"
	"github.com/slipway-ci/slipway/pipeline"
)

// Options of New.
type Options struct {
	// Root is the folder for revisions, journals and manifests. Scripts run
	// below it; where users named by runas can't enter it, their revision is in
	// /var/lib/slipway-revisions.
	Root string
	// TargetRoot is a prefix under which destinations land; empty means the
	// real /. Scripts see it as SLIPWAY_TARGET_ROOT but are not confined to it.
	TargetRoot string
	// Path is the PATH of scripts and the place of setfacl, semanage and
	// restorecon; empty means the usual folders.
	Path string
	// Env is added to the environment of every script, as NAME=value; scripts
	// inherit nothing of this process.
	Env []string
	// MaxRevisions is how many deployments of a group stay on disk, the current
	// one included [5]. Those that may be needed again are never removed.
	MaxRevisions int
	Log          *slog.Logger     // nil discards
	Now          func() time.Time // nil means time.Now
}

// Deployer applies revisions to this host, one at a time, whatever the number
// of processes. It is safe for concurrent use.
type Deployer struct {
	root, target, path string
	shared             string
	env                []string
	maxRevisions       int
	log                *slog.Logger
	now                func() time.Time
	eventTimeout       time.Duration
	killGrace          time.Duration
	outputGrace        time.Duration
	selinux            func() bool
	syncDisk           func(dir string) error
	// step is called before every change of the host, for tests of failures.
	step func(what string) error
}

// usualPath is the PATH of scripts unless Options say otherwise.
const usualPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

const defaultRevisions = 5

// New makes the state folder if it is missing. Call Recover once before work.
func New(o Options) (*Deployer, error) {
	if o.Root == "" {
		return nil, errors.New("deployer: want a state folder")
	}
	root, err := filepath.Abs(o.Root)
	if err != nil {
		return nil, err
	}
	if o.MaxRevisions < 0 {
		return nil, fmt.Errorf("deployer: %d revisions to keep: want at least 1", o.MaxRevisions)
	}
	d := &Deployer{
		root: root, target: "/", path: usualPath, shared: sharedFolder, env: o.Env, maxRevisions: defaultRevisions,
		log: slog.New(slog.DiscardHandler), now: time.Now, eventTimeout: appspec.DefaultTimeout,
		killGrace: killGrace, outputGrace: outputGrace,
		selinux: selinuxOn, syncDisk: syncDisk, step: func(string) error { return nil },
	}
	if o.TargetRoot != "" {
		if d.target, err = filepath.Abs(o.TargetRoot); err != nil {
			return nil, err
		}
	}
	if o.Path != "" {
		d.path = o.Path
	}
	if o.MaxRevisions > 0 {
		d.maxRevisions = o.MaxRevisions
	}
	if o.Log != nil {
		d.log = o.Log
	}
	if o.Now != nil {
		d.now = o.Now
	}
	for _, dir := range []string{d.groups(), d.target} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("making state folder: %w", err)
		}
	}
	return d, nil
}

func selinuxOn() bool {
	_, err := os.Stat("/sys/fs/selinux/enforce")
	return err == nil
}

// Deployment is one revision to be applied.
type Deployment struct {
	// ID names the deployment on this host for ever: applying the same ID again
	// goes on where the first attempt ended and repeats nothing.
	ID          string
	Application string
	Group       string
	GroupID     string // empty means Application and Group
	// Revision is a folder, or a zip, tar, tar.gz or tar.zst file.
	Revision string
	// SHA256 of the file; empty is not checked.
	SHA256 string
	// AppSpec is looked for before the usual names; a path in the revision.
	AppSpec string
	// FileExistsBehavior is for files that exist and are not the group's own,
	// unless the appspec says; empty means DISALLOW. Any case.
	FileExistsBehavior string
	// OnDrift is what becomes of files that somebody changed since the group put
	// them there: one of OnDrifts; empty means DriftBackup.
	OnDrift string
	// Events to run; empty means InPlace. DownloadBundle and Install are added.
	Events []string
	// Variables join the environment of scripts. Secret ones are masked.
	Variables                     []pipeline.Variable
	Commit                        string
	IgnoreApplicationStopFailures bool
	// BlueGreenRollback swaps whose scripts run round the traffic (CodeDeploy
	// reference 2.2).
	BlueGreenRollback bool
	// Strict refuses an appspec with warnings, AWS takes one as the agent does.
	Strict, AWS bool
}

// Event is a lifecycle event of a deployment on this host.
type Event struct {
	Name   string                    `json:"name"`
	Status pipeline.DeploymentStatus `json:"status"`
	Start  time.Time                 `json:"start,omitzero"`
	End    time.Time                 `json:"end,omitzero"`
	// From is the deployment whose scripts run, if not this one.
	From    string `json:"from,omitempty"`
	Scripts int    `json:"scripts,omitempty"` // how many there are
	// Code and what follows describe a failure.
	Code    Code   `json:"code,omitempty"`
	Reason  string `json:"reason,omitempty"` // such as ScriptFailed or FILE_EXISTS
	Script  string `json:"script,omitempty"`
	Message string `json:"message,omitempty"`
	Tail    string `json:"tail,omitempty"` // of the output, at most 4 KiB
	Line    int    `json:"line,omitempty"` // in the appspec
	Column  int    `json:"column,omitempty"`
	File    string `json:"file,omitempty"`
}

// Warning is something that its author should know of a deployment that goes
// on.
type Warning struct {
	Code    string `json:"code"` // such as OUTPUT_HELD
	Message string `json:"message"`
}

// Result is how a deployment ended on this host.
type Result struct {
	Status   pipeline.DeploymentStatus `json:"status"`
	Events   []Event                   `json:"events"`
	Warnings []Warning                 `json:"warnings,omitempty"`
}

// Reporter hears what happens. Calls don't overlap but for Output, which may
// come from another goroutine. A slow Reporter slows the deployment down.
type Reporter interface {
	// Event is called when an event starts, with the status InProgress, and
	// when it ends. Events that were never started come as Skipped.
	Event(e Event)
	// Output is what a script of the event wrote, as it comes and with secrets
	// masked. p is only valid during the call.
	Output(event string, p []byte)
}

// silent is the Reporter of a caller that has none.
type silent struct{}

func (silent) Event(Event)           {}
func (silent) Output(string, []byte) {}

// Apply brings the revision onto this host. A deployment that fails by a
// mistake of its author has the status Failed and a *pipeline.UserError; one
// whose ctx is over ends its running script and has the status Stopped and
// the cause of ctx. Any other error is a fault of ours or of the host.
func (d *Deployer) Apply(ctx context.Context, dep Deployment, rep Reporter) (Result, error) {
	if rep == nil {
		rep = silent{}
	}
	dep, events, err := normalise(dep)
	if err != nil {
		return Result{Status: pipeline.DeploymentFailed}, err
	}
	unlock, err := d.lock(ctx)
	if err != nil {
		return Result{Status: pipeline.DeploymentFailed}, err
	}
	defer unlock()
	if err := d.recoverAll(); err != nil {
		return Result{Status: pipeline.DeploymentFailed}, err
	}
	return d.attempt(ctx, dep, events, rep)
}

// Recover ends what a crash of an earlier process cut off: an installation
// that was under way is undone. Apply does so too.
func (d *Deployer) Recover(ctx context.Context) error {
	unlock, err := d.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	return d.recoverAll()
}

func (d *Deployer) recoverAll() error {
	journals, err := filepath.Glob(filepath.Join(globLiteral(d.groups()), "*", "deployments", "*", "install.json"))
	if err != nil {
		return err
	}
	for _, j := range journals {
		dir := filepath.Dir(j)
		g := group{filepath.Dir(filepath.Dir(dir))}
		if err := g.recover(g.work(filepath.Base(dir))); err != nil {
			return err
		}
	}
	return nil
}

// What becomes of files that were changed on the host (CodeDeploy reference 3.6).
const (
	DriftBackup  = "backup"  // they are replaced, and a copy is kept
	DriftFail    = "fail"    // nothing is installed
	DriftReplace = "replace" // they are replaced
)

// OnDrifts are the values of Deployment.OnDrift.
var OnDrifts = []string{DriftBackup, DriftFail, DriftReplace}

// globLiteral quotes a path for Glob.
func globLiteral(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}

// normalise fills in what a deployment leaves out and refuses what is wrong.
func normalise(dep Deployment) (Deployment, []string, error) {
	dep.ID = lastPart(dep.ID)
	if dep.GroupID = lastPart(dep.GroupID); dep.GroupID == "" {
		dep.GroupID = dep.Application + "." + dep.Group
	}
	dep.FileExistsBehavior = strings.ToUpper(dep.FileExistsBehavior)
	if dep.FileExistsBehavior == "" {
		dep.FileExistsBehavior = appspec.Disallow
	}
	for _, f := range []struct{ name, value string }{
		{"deployment ID", dep.ID}, {"application", dep.Application}, {"deployment group", dep.Group}, {"revision", dep.Revision},
	} {
		if f.value == "" {
			return dep, nil, invalid("the %s is missing", f.name)
		}
	}
	switch {
	case !validID.MatchString(dep.ID):
		return dep, nil, invalid("the deployment ID %q is none: want letters, digits, dots and dashes", dep.ID)
	case len(dep.GroupID) > 200 || strings.Trim(dep.GroupID, ".") == "":
		return dep, nil, invalid("the deployment group %q has no usable name", dep.GroupID)
	case !slices.Contains(appspec.Behaviors, dep.FileExistsBehavior):
		return dep, nil, &pipeline.UserError{Code: "APPSPEC_FEB", Msg: fmt.Sprintf("invalid file exists behavior %q: want DISALLOW, OVERWRITE or RETAIN", dep.FileExistsBehavior)}
	case dep.OnDrift != "" && !slices.Contains(OnDrifts, dep.OnDrift):
		return dep, nil, invalid("on_drift %q: want backup, fail or replace", dep.OnDrift)
	case dep.AppSpec != "" && !filepath.IsLocal(dep.AppSpec):
		return dep, nil, invalid("the appspec %s is not in the revision", dep.AppSpec)
	}
	events, err := order(dep.Events)
	return dep, events, err
}

func invalid(format string, args ...any) error {
	return &pipeline.UserError{Code: "DEPLOYMENT_INVALID", Msg: fmt.Sprintf(format, args...)}
}
