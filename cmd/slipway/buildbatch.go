package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/slipway-ci/slipway/internal/archive"
	"github.com/slipway-ci/slipway/internal/config"
	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner"
	"github.com/slipway-ci/slipway/runner/buildspec"
)

// localBatch is a batch whose builds run here, one after the other: what each
// prints can be read so. What a server would start at once starts in the order
// of the file.
type localBatch struct {
	*app
	localBuild
	cfg       config.Config
	dir, temp string
	options   runner.Options // of each build
	batch     pipeline.Batch
	ended     []endedTask
	halted    string // why no other task begins
	stopped   bool   // by the user
}

// endedTask is how one task ended.
type endedTask struct {
	pipeline.Task
	status pipeline.BuildStatus // empty: it did not begin
	took   time.Duration
	why    string // it did not begin
}

// readLocalBatch reads the batch of a folder's buildspec as a server does, and
// says what is wrong with it.
func (a *app) readLocalBatch(cfg config.Config, o localBuild, dir string) (pipeline.Batch, error) {
	name := cmp.Or(o.buildspec, defaultBuildspec)
	data, err := os.ReadFile(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return pipeline.Batch{}, usage(fmt.Errorf("there is no %s in %s", name, o.dir))
	}
	if err != nil {
		return pipeline.Batch{}, err
	}
	spec, problems := buildspec.Parse(name, data, buildspec.Options{})
	made := expansion{order: pipeline.BatchOrder{Limit: pipeline.MaxTasks, Privileged: o.privileged}}
	for compute := range cfg.ComputeTypes {
		made.order.Computes = append(made.order.Computes, compute)
	}
	if spec != nil {
		problems = append(problems, made.expand(spec)...)
	}
	for _, p := range problems {
		fmt.Fprintf(a.stderr, "%s:%s\n", name, p)
	}
	if len(problems.Errors()) > 0 {
		return pipeline.Batch{}, &exitError{code: exitUsage}
	}
	describe(made.batch, func(format string, args ...any) { fmt.Fprintf(a.stderr, format+"\n", args...) })
	return made.batch, nil
}

// noteBatch says that a buildspec has a batch which this build leaves alone.
func (a *app) noteBatch(o localBuild, dir string) {
	data, err := os.ReadFile(filepath.Join(dir, cmp.Or(o.buildspec, defaultBuildspec)))
	if err != nil || !bytes.Contains(data, []byte("batch")) {
		return // the build says what is wrong
	}
	if spec, _ := buildspec.Parse("", data, buildspec.Options{}); spec != nil && spec.Batch != nil && len(spec.Batch.Tasks) > 0 {
		fmt.Fprintf(a.stderr, "the buildspec has a %s of %d builds, and this runs its phases once; --batch runs them all\n", spec.Batch.Kind, len(spec.Batch.Tasks))
	}
}

// run runs all tasks and says how each ended. The batch fails by the first that
// may not (CodeBuild reference 7.3).
func (l *localBatch) run(ctx context.Context) error {
	for {
		t, ok := l.next()
		if !ok {
			break
		}
		if err := l.task(ctx, t); err != nil {
			return err
		}
		if ctx.Err() != nil {
			l.stopped, l.halted = true, "the batch was stopped"
		}
	}
	if err := l.tell(); err != nil {
		return err
	}
	if l.combine {
		if err := l.combined(); err != nil {
			return err
		}
	}
	fmt.Fprintln(l.stderr, "batch succeeded")
	return nil
}

// next is a task whose turn it is. Those that wait in vain end here.
func (l *localBatch) next() (pipeline.Task, bool) {
	for again := true; again; {
		again = false
		for _, t := range l.batch.Tasks {
			if l.of(t.ID) != nil {
				continue
			}
			ready, inVain := t.Turn(l.endOf)
			inVain = cmp.Or(l.halted, inVain)
			if inVain == "" && ready {
				return t, true
			}
			if inVain != "" {
				l.end(endedTask{Task: t, why: inVain})
				again = true
			}
		}
	}
	return pipeline.Task{}, false
}

// of is how a task ended; nil: it hasn't.
func (l *localBatch) of(id string) *endedTask {
	i := slices.IndexFunc(l.ended, func(e endedTask) bool { return e.ID == id })
	if i < 0 {
		return nil
	}
	return &l.ended[i]
}

// endOf says how a task stands.
func (l *localBatch) endOf(id string) pipeline.TaskEnd {
	switch e := l.of(id); {
	case e == nil && !slices.ContainsFunc(l.batch.Tasks, func(t pipeline.Task) bool { return t.ID == id }):
		return pipeline.TaskUnknown
	case e == nil:
		return pipeline.TaskOpen
	case e.status == "":
		return pipeline.TaskUnbegun
	case e.status == pipeline.BuildSucceeded:
		return pipeline.TaskSucceeded
	case e.IgnoreFailure:
		return pipeline.TaskForgiven
	}
	return pipeline.TaskFailed
}

// end notes how a task ended. The first that may not fail ends a batch with
// fast-fail.
func (l *localBatch) end(e endedTask) {
	l.ended = append(l.ended, e)
	if e.status != pipeline.BuildSucceeded && !e.IgnoreFailure && l.batch.FastFail && l.halted == "" {
		l.halted = "task " + e.ID + " failed, and fast-fail ends the batch"
	}
}

// task runs one build in a copy of the folder.
func (l *localBatch) task(ctx context.Context, t pipeline.Task) error {
	fmt.Fprintf(l.stderr, "\n== %s, %d of %d\n", t.ID, len(l.ended)+1, len(l.batch.Tasks))
	o := l.localBuild
	o.buildspec, o.image = cmp.Or(t.Buildspec, o.buildspec), cmp.Or(t.Image, o.image)
	o.privileged = o.privileged && (t.Privileged == nil || *t.Privileged)
	o.artifacts, o.keep = "", l.artifactsOf(t.ID)
	options := l.options
	var err error
	if options.Dir, err = copyTree(l.dir, filepath.Join(l.temp, "tasks", t.ID)); err != nil {
		return err
	}
	options.Secondary = slices.Clone(options.Secondary)
	for _, id := range t.Needs {
		from := l.primaryOf(id)
		if _, err := os.Stat(from); err != nil {
			l.end(endedTask{Task: t, why: "task " + id + ", whose artifact it needs, made none"})
			return nil
		}
		options.Secondary = append(options.Secondary, runner.Folder{Name: id, Path: from})
	}
	order, err := l.localOrder(ctx, l.cfg, o, l.dir)
	if err != nil {
		return err
	}
	for i := range order.BuiltIn {
		if order.BuiltIn[i].Name == "CODEBUILD_BATCH_BUILD_IDENTIFIER" {
			order.BuiltIn[i].Value = t.ID
		}
	}
	for name, value := range t.Variables {
		order.Variables = append(order.Variables, pipeline.Variable{Name: name, Value: value})
	}
	if order.Stored, err = l.localSecrets(ctx, l.cfg, o, options.Dir, order.Variables); err != nil {
		return err
	}
	b, outcome, _ := l.attempts(ctx, options, order, o)
	told := l.app.tell(b, outcome)
	if said, ok := errors.AsType[*exitError](told); told != nil && (!ok || said.err != nil) {
		fmt.Fprintln(l.stderr, told)
	}
	l.end(endedTask{Task: t, status: outcome.Status, took: b.EndedAt.Sub(b.StartedAt)})
	return l.deliver(t.ID)
}

// artifactsOf is where what a task makes stays while the batch runs, each
// artifact in a folder called like it.
func (l *localBatch) artifactsOf(id string) string { return filepath.Join(l.temp, madeFolder, id) }

func (l *localBatch) primaryOf(id string) string {
	return filepath.Join(l.artifactsOf(id), buildArtifact)
}

const madeFolder = "artifacts"

// deliver copies a task's artifacts to where the user wants them, or where those
// of builds are kept, laid out as those of a single build.
func (l *localBatch) deliver(id string) error {
	if l.combine {
		return nil
	}
	made, err := os.ReadDir(l.artifactsOf(id))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, m := range made {
		to := filepath.Join(cmp.Or(l.artifacts, l.keep), id)
		if m.Name() != buildArtifact || l.artifacts == "" {
			to = filepath.Join(to, m.Name())
		}
		if _, err := archive.Copy(filepath.Join(l.artifactsOf(id), m.Name()), to, archive.Limits{}, nil); err != nil {
			return err
		}
		l.tellKept([]string{to})
	}
	return nil
}

// combined makes one artifact of the primary ones of all tasks, with the
// server's own code (CodeBuild reference 7.1, COMBINE_ARTIFACTS).
func (l *localBatch) combined() error {
	var parts []part
	for _, t := range l.batch.Tasks {
		if _, err := os.Stat(l.primaryOf(t.ID)); err == nil {
			parts = append(parts, part{task: t.ID, dir: t.ID + "/" + buildArtifact})
		}
	}
	if len(parts) == 0 {
		fmt.Fprintln(l.stderr, "no build of the batch made an artifact")
		return nil
	}
	root, err := os.OpenRoot(filepath.Join(l.temp, madeFolder)) // refuses to follow links out of the folder
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }() // a handle for reading
	entries, files, err := merged(root, parts)
	if mistake, ok := errors.AsType[*pipeline.UserError](err); ok {
		fmt.Fprintf(l.stderr, "batch failed: %s\n", mistake.Msg)
		return &exitError{code: exitFailed}
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(l.stderr, "combined %d files of %d builds\n", files, len(parts))
	dest := cmp.Or(l.artifacts, filepath.Join(l.keep, buildArtifact))
	err = packed(root, entries, func(r io.Reader) error {
		_, err := archive.Unpack(r, dest, archive.Limits{}, nil)
		return err
	})
	if err == nil {
		l.tellKept([]string{dest})
	}
	return err
}

// tell says how all tasks ended; an error that says nothing more is that the
// batch failed.
func (l *localBatch) tell() error {
	fmt.Fprintln(l.stderr)
	w := tabwriter.NewWriter(l.stderr, 0, 0, 2, ' ', 0)
	failed := 0
	for _, e := range l.ended {
		said := "did not begin: " + e.why
		if e.status != "" {
			said = fmt.Sprintf("%s\tin %s", strings.ToLower(string(e.status)), e.took.Round(time.Millisecond))
		}
		switch {
		case e.status == pipeline.BuildSucceeded:
		case e.IgnoreFailure:
			said += ", which is ignored"
		default:
			failed++
		}
		fmt.Fprintf(w, "%s\t%s\n", e.ID, said)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if l.stopped {
		fmt.Fprintln(l.stderr, "batch stopped")
		return &exitError{code: exitFailed}
	}
	if failed > 0 {
		fmt.Fprintf(l.stderr, "batch failed: %d of %d builds\n", failed, len(l.ended))
		return &exitError{code: exitFailed}
	}
	return nil
}
