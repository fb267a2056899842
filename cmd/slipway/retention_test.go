package main

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/internal/config"
	"github.com/slipway-ci/slipway/internal/testenv"
	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/queue"
	"github.com/slipway-ci/slipway/store"
	"github.com/slipway-ci/slipway/store/artifacts"
	blobstore "github.com/slipway-ci/slipway/store/blobs"
	"github.com/slipway-ci/slipway/store/logs"
)

// retentionWorld is a retention over a real Redis and a folder.
type retentionWorld struct {
	*retention
	t       *testing.T
	folder  string
	now     time.Time
	commits int64
	made    map[string]string // artifact's text -> its digest
}

func newRetentionWorld(t *testing.T) *retentionWorld {
	t.Helper()
	testenv.Need(t, "redis-server")
	quiet := slog.New(slog.DiscardHandler)
	redis, err := startEmbedded(t.Context(), t.TempDir(), quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(redis.close)
	rdb, err := queue.Open(redis.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rdb.Close() })
	w := &retentionWorld{t: t, folder: t.TempDir(), now: time.Now(), made: map[string]string{}}
	bucket, err := blobstore.Open(t.Context(), "file://"+w.folder, blobstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bucket.Close() })
	s := store.New(rdb, store.Options{}, quiet)
	w.retention = &retention{
		cfg: config.Default("").Retention, store: s, log: quiet, batch: 2, now: func() time.Time { return w.now },
		blobs: artifactStore{artifacts.New(bucket, s.Removals())}, logs: logStore{logs.New(bucket, s.LogTail(), time.Now)},
	}
	return w
}

func (w *retentionWorld) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// put stores an artifact.
func (w *retentionWorld) put(text string) pipeline.Artifact {
	w.t.Helper()
	digest, n, err := w.blobs.Put(w.t.Context(), strings.NewReader(text))
	w.must(err)
	w.made[text] = digest
	return pipeline.Artifact{Name: pipeline.BuildArtifact, Digest: digest, Bytes: n}
}

// ended is an execution with one build, whose log and artifact are named after
// it, that ended so many days ago. change may change it before it is stored.
func (w *retentionWorld) ended(id, trigger string, days int, status pipeline.Status, change func(*pipeline.Execution)) {
	w.t.Helper()
	ctx, at := w.t.Context(), w.now.Add(-time.Duration(days)*24*time.Hour)
	kind, name, _ := strings.Cut(trigger, "/")
	x := pipeline.Execution{
		V: 1, ID: id, Board: "github.7.default.default", Status: status, Revision: 1, CreatedAt: at, EndedAt: at,
		Pipeline: pipeline.Pipeline{Name: "default"},
		Stages:   []pipeline.StageExecution{{Actions: []pipeline.ActionExecution{{Artifacts: []pipeline.Artifact{w.put(id)}}}}},
	}
	x.Repo.Forge, x.Repo.Owner, x.Repo.Name = "github", "o", "r"
	x.Trigger.Event, x.Trigger.Ref, x.Trigger.SHA = "PUSH", "refs/heads/"+name, strings.Repeat("a", 40)
	if kind == "pr" {
		x.Trigger.Event, x.Trigger.Ref = "PULL_REQUEST_UPDATED", "refs/pull/"+name+"/head"
	}
	if change != nil {
		change(&x)
	}
	c := pipeline.Change{Board: pipeline.NewBoard(x.Board, x.Repo, "default", "default"), Version: w.commits, EventID: "e-" + id, Touched: []*pipeline.Execution{&x}}
	if status.Ended() {
		c.Ended = []string{id}
	}
	w.must(w.store.Commit(ctx, c))
	w.commits++
	w.must(w.store.Index(ctx, x.Board, x.Summary()))
	w.must(w.store.SaveBuild(ctx, pipeline.Build{ID: "b-" + id, Execution: id, Status: pipeline.BuildSucceeded, CreatedAt: at}))
	_, err := w.logs.Append(ctx, "b-"+id, 1, 0, []byte("log of "+id+"\n"))
	w.must(err)
	w.must(w.logs.Seal(ctx, "b-"+id, 1, nil))
}

// age makes all objects so old.
func (w *retentionWorld) age(days int) {
	w.t.Helper()
	at := w.now.Add(-time.Duration(days) * 24 * time.Hour)
	w.must(filepath.WalkDir(w.folder, func(name string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			err = os.Chtimes(name, at, at)
		}
		return err
	}))
}

// left are the artifacts, logs and bodies that are there.
func (w *retentionWorld) left() string {
	w.t.Helper()
	var all []string
	for text := range w.made {
		r, err := w.blobs.Open(w.t.Context(), w.made[text])
		if err == nil {
			all = append(all, text)
			w.must(r.Close())
		} else if !errors.Is(err, pipeline.ErrNotFound) {
			w.t.Fatal(err)
		}
		path := filepath.Join(w.folder, "logs", "b-"+text, "manifest")
		if _, err := os.Stat(path); err == nil {
			all = append(all, "log-"+text)
		}
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func TestRetention(t *testing.T) {
	w := newRetentionWorld(t)
	ctx := t.Context()
	w.ended("oldest", "branch/main", 150, pipeline.Succeeded, nil)
	w.ended("target", "branch/main", 140, pipeline.Succeeded, nil)
	w.ended("good", "branch/main", 120, pipeline.Succeeded, nil)
	w.ended("bad", "branch/main", 110, pipeline.Failed, nil)
	w.ended("feature", "branch/feature", 130, pipeline.Succeeded, nil)
	w.ended("pull", "pr/3", 110, pipeline.Succeeded, nil)
	w.ended("waits", "branch/main", 100, pipeline.InProgress, nil)
	// A rollback of yesterday names what was put long ago.
	w.ended("rollback", "branch/other", 1, pipeline.Failed, func(x *pipeline.Execution) {
		x.Target = "target"
		x.Stages[0].Actions[0].Artifacts = []pipeline.Artifact{{Digest: w.made["target"]}}
	})
	w.put("deployed")
	d := pipeline.Deployment{ID: "d-1", Group: "g", Status: pipeline.DeploymentSucceeded, CreatedAt: w.now.Add(-200 * 24 * time.Hour), EndedAt: w.now.Add(-200 * 24 * time.Hour)}
	d.Revision.Digest = w.made["deployed"]
	w.must(w.store.SaveDeployment(ctx, d, pipeline.Deployment{}, 0, w.now))
	w.put("orphan")
	w.must(w.blobs.PutBody(ctx, "deliveries/old", []byte("{}")))
	w.age(95)
	w.put("young")
	w.must(w.blobs.PutBody(ctx, "deliveries/new", []byte("{}")))
	// The same bytes again begin a new life.
	w.put("pull")

	before := w.left()
	trial, err := w.Pass(ctx, true)
	w.must(err)
	if trial.Logs.Count == 0 || trial.Artifacts.Count == 0 || trial.Bodies.Count != 1 || w.left() != before {
		t.Errorf("a trial says %+v and leaves %s, want %s", trial, w.left(), before)
	}
	out, err := w.Pass(ctx, false)
	w.must(err)
	trial.Trial = false
	if diff := cmp.Diff(trial, out); diff != "" {
		t.Errorf("the trial and the pass (-trial +pass):\n%s", diff)
	}
	want := "deployed feature good log-feature log-good log-rollback log-waits pull target waits young"
	if diff := cmp.Diff(want, w.left()); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	if _, err := w.blobs.Body(ctx, "deliveries/old"); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("an old body: got %v, want ErrNotFound", err)
	}
	if _, err := w.blobs.Body(ctx, "deliveries/new"); err != nil {
		t.Errorf("a new body: got %v", err)
	}
	again, err := w.Pass(ctx, false)
	w.must(err)
	if again.Logs.Count+again.Artifacts.Count+again.Bodies.Count != 0 {
		t.Errorf("a second pass removed %+v", again)
	}
}

// Reports go before the other artifacts of their builds.
func TestRetentionOfReports(t *testing.T) {
	w := newRetentionWorld(t)
	for _, x := range []struct {
		id   string
		days int
	}{{"old", 40}, {"young", 20}} {
		w.ended(x.id, "branch/main", x.days, pipeline.Failed, nil)
		stored := w.put("report-" + x.id)
		at := w.now.Add(-time.Duration(x.days) * 24 * time.Hour)
		w.must(w.store.SaveBuild(t.Context(), pipeline.Build{ID: "b-" + x.id, Execution: x.id, Status: pipeline.BuildSucceeded, CreatedAt: at, Reports: []pipeline.Report{{Name: "unit", Stored: &stored}}}))
	}
	w.put("orphan")
	w.age(50)
	trial, err := w.Pass(t.Context(), true)
	w.must(err)
	out, err := w.Pass(t.Context(), false)
	w.must(err)
	if trial.Artifacts.Count != 1 || out.Artifacts.Count != 1 {
		t.Errorf("a trial counts %+v, the pass %+v, want one", trial.Artifacts, out.Artifacts)
	}
	if diff := cmp.Diff("log-old log-young old orphan report-young young", w.left()); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}

// One server makes the pass, and nobody another one before it is time.
func TestRetentionTakesTurns(t *testing.T) {
	w := newRetentionWorld(t)
	w.put("one")
	w.age(95)
	w.must(w.turn(t.Context()))
	if got := w.left(); got != "" {
		t.Errorf("left %s, want nothing", got)
	}
	w.put("two")
	w.age(95)
	w.must(w.turn(t.Context()))
	if got := w.left(); got != "two" {
		t.Errorf("left %q, want two", got)
	}
}

// Bytes that are put at the very moment at which they are removed are there
// afterwards.
func TestPutWhileRemoving(t *testing.T) {
	w := newRetentionWorld(t)
	ctx := t.Context()
	digest := w.put("contested").Digest
	w.age(95)
	for range 50 {
		ended := make(chan error)
		go func() {
			_, err := w.blobs.Expire(ctx, digest, w.now.Add(-90*24*time.Hour))
			ended <- err
		}()
		w.put("contested")
		w.must(<-ended)
		if got := w.left(); got != "contested" {
			t.Fatalf("left %q", got)
		}
		w.age(95)
	}
}
