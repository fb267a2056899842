package client_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/handlers/handlerstest"
	"github.com/slipway-ci/slipway/internal/client"
	"github.com/slipway-ci/slipway/pipeline"
)

func dial(t *testing.T, s *handlerstest.Server, token string) *client.Client {
	t.Helper()
	c, err := client.New(s.URL, token)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestControl holds the server in process and the server over HTTP to the same
// contract.
func TestControl(t *testing.T) {
	t.Run("in process", func(t *testing.T) {
		controlSuite(t, func(t *testing.T) (*handlerstest.State, pipeline.Control, pipeline.Control) {
			s := handlerstest.NewState()
			return s, s, s
		})
	})
	t.Run("over HTTP", func(t *testing.T) {
		controlSuite(t, func(t *testing.T) (*handlerstest.State, pipeline.Control, pipeline.Control) {
			s := handlerstest.New(t)
			return s.State, dial(t, s, handlerstest.RunnerToken), dial(t, s, handlerstest.AgentToken).Agent()
		})
	})
}

var (
	runner = pipeline.Worker{ID: "w1", Name: "runner-1", Kind: pipeline.BuildJob, Classes: []string{"build|linux,x64|small"}, Slots: 2}
	agent  = pipeline.Worker{ID: "w2", Name: "agent-1", Kind: pipeline.DeployJob, Classes: []string{"deploy||"}, Slots: 1}
)

func assignment(kind pipeline.JobKind) pipeline.Assignment {
	a := pipeline.Assignment{
		Job:   pipeline.Job{V: 1, ID: "job-1", Kind: kind, Repo: "github/1", Labels: "linux,x64", Compute: "small", Attempt: 1, Token: 7, Timeout: time.Hour},
		Lease: 15 * time.Second,
	}
	if kind == pipeline.BuildJob {
		a.Build = &pipeline.BuildOrder{ID: "job-1", Variables: []pipeline.Variable{{Name: "A", Value: "ü\n\"", Secret: true}}}
	} else {
		a.Deploy = &pipeline.DeployOrder{ID: "job-1", Group: "prod", Revision: pipeline.Artifact{Digest: strings.Repeat("a", 64)}}
	}
	return a
}

// start returns the state, a build worker's Control and an agent's.
func controlSuite(t *testing.T, start func(t *testing.T) (*handlerstest.State, pipeline.Control, pipeline.Control)) {
	claimed := func(t *testing.T) (*handlerstest.State, pipeline.Control, pipeline.JobRef) {
		t.Helper()
		state, c, _ := start(t)
		state.AddJob(assignment(pipeline.BuildJob))
		a, err := c.Claim(t.Context(), runner, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		return state, c, a.Job.Ref()
	}

	t.Run("a claim brings the whole assignment", func(t *testing.T) {
		state, build, deploy := start(t)
		for _, tt := range []struct {
			c    pipeline.Control
			w    pipeline.Worker
			want pipeline.Assignment
		}{{build, runner, assignment(pipeline.BuildJob)}, {deploy, agent, assignment(pipeline.DeployJob)}} {
			state.AddJob(tt.want)
			got, err := tt.c.Claim(t.Context(), tt.w, time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		}
	})
	t.Run("no job is ErrNotFound", func(t *testing.T) {
		_, c, _ := start(t)
		if _, err := c.Claim(t.Context(), runner, 0); !errors.Is(err, pipeline.ErrNotFound) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a claim waits for a job", func(t *testing.T) {
		state, c, _ := start(t)
		got := make(chan error, 1)
		go func() {
			_, err := c.Claim(t.Context(), runner, 20*time.Second)
			got <- err
		}()
		for len(mustWorkers(t, state)) == 0 { // until the claim has arrived
			if t.Context().Err() != nil {
				t.Fatal("the claim never arrived")
			}
		}
		state.AddJob(assignment(pipeline.BuildJob))
		if err := <-got; err != nil {
			t.Error(err)
		}
	})
	t.Run("a claim ends with its context", func(t *testing.T) {
		_, c, _ := start(t)
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(pipeline.ErrDrained)
		if _, err := c.Claim(ctx, runner, 20*time.Second); !errors.Is(err, pipeline.ErrDrained) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a renewal says to stop", func(t *testing.T) {
		state, c, ref := claimed(t)
		r, err := c.Renew(t.Context(), ref)
		if err != nil || r.Stop || r.Lease != 15*time.Second {
			t.Errorf("got %+v, %v", r, err)
		}
		state.StopJob(ref.ID, "stopped by ada")
		r, err = c.Renew(t.Context(), ref)
		if err != nil || !r.Stop || r.Reason != "stopped by ada" {
			t.Errorf("got %+v, %v", r, err)
		}
	})
	t.Run("repeated appends are absorbed, bytes are kept", func(t *testing.T) {
		state, c, ref := claimed(t)
		text := []byte("one\r\n\x1b[31mtwo\xff\x00\n")
		for _, tt := range []struct {
			offset int64
			data   []byte
			want   int64
		}{{0, text[:5], 5}, {0, text[:5], 5}, {3, text[3:], int64(len(text))}, {0, nil, int64(len(text))}} {
			n, err := c.AppendLog(t.Context(), ref, tt.offset, tt.data)
			if err != nil || n != tt.want {
				t.Errorf("append at %d: got %d, %v, want %d", tt.offset, n, err, tt.want)
			}
		}
		got, _ := state.ReadAt(t.Context(), ref.ID, 0, 1000)
		if !bytes.Equal(got, text) {
			t.Errorf("got %q", got)
		}
		var mistake *pipeline.UserError
		if _, err := c.AppendLog(t.Context(), ref, 1000, text); !errors.As(err, &mistake) {
			t.Errorf("a gap: got %v", err)
		}
	})
	t.Run("artifacts come back as they went", func(t *testing.T) {
		_, c, ref := claimed(t)
		body := bytes.Repeat([]byte("0123456789abcdef"), 1<<17) // 2 MiB
		sum := sha256.Sum256(body)
		want := pipeline.Artifact{Name: "Build Artifact/ü", Format: "zip", Files: 3, Bytes: int64(len(body)), Digest: hex.EncodeToString(sum[:])}
		got, err := c.PutArtifact(t.Context(), ref, pipeline.Artifact{Name: want.Name, Format: want.Format, Files: 3}, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("(-want +got)\n%s", d)
		}
		r, err := c.Artifact(t.Context(), ref, got.Digest)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if back, err := io.ReadAll(r); err != nil || !bytes.Equal(back, body) {
			t.Errorf("got %d bytes, %v", len(back), err)
		}
		if _, err := c.Artifact(t.Context(), ref, strings.Repeat("0", 64)); !errors.Is(err, pipeline.ErrNotFound) {
			t.Errorf("an unknown digest: got %v", err)
		}
	})
	t.Run("an artifact that breaks off is not stored", func(t *testing.T) {
		_, c, ref := claimed(t)
		broken := errors.New("disk fell out")
		_, err := c.PutArtifact(t.Context(), ref, pipeline.Artifact{Name: "a"}, io.MultiReader(strings.NewReader("half"), failing{broken}))
		if !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("report and complete", func(t *testing.T) {
		state, c, ref := claimed(t)
		b := pipeline.Build{
			V: 1, ID: ref.ID, Status: pipeline.BuildInProgress, StartedAt: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC),
			Phases: []pipeline.Phase{{Type: "BUILD", LogLine: 3, Contexts: []pipeline.Context{{StatusCode: "X", Message: "y"}}}},
		}
		if err := c.Report(t.Context(), ref, b); err != nil {
			t.Fatal(err)
		}
		b.Status = pipeline.BuildFailed
		want := pipeline.Outcome{Status: pipeline.BuildFailed, Code: "COMMAND_EXECUTION_ERROR", Exported: map[string]string{"V": "1"}}
		for range 2 { // a repeat after a lost answer is as good
			if err := c.Complete(t.Context(), ref, b, want); err != nil {
				t.Fatal(err)
			}
		}
		got, _ := state.Build(t.Context(), ref.ID)
		if d := cmp.Diff(b, got); d != "" {
			t.Errorf("build (-want +got)\n%s", d)
		}
		o, _ := state.Outcome(ref.ID)
		if d := cmp.Diff(want, o); d != "" {
			t.Errorf("outcome (-want +got)\n%s", d)
		}
	})
	t.Run("a stale token is refused everywhere", func(t *testing.T) {
		state, c, ref := claimed(t)
		state.Take(ref.ID)
		ctx := t.Context()
		calls := map[string]func() error{
			"renew":  func() error { _, err := c.Renew(ctx, ref); return err },
			"append": func() error { _, err := c.AppendLog(ctx, ref, 0, []byte("x")); return err },
			"report": func() error { return c.Report(ctx, ref, pipeline.Build{ID: ref.ID}) },
			"put": func() error {
				_, err := c.PutArtifact(ctx, ref, pipeline.Artifact{Name: "a"}, strings.NewReader("x"))
				return err
			},
			"get":      func() error { _, err := c.Artifact(ctx, ref, strings.Repeat("0", 64)); return err },
			"complete": func() error { return c.Complete(ctx, ref, pipeline.Build{ID: ref.ID}, pipeline.Outcome{}) },
		}
		for name, do := range calls {
			if err := do(); !errors.Is(err, pipeline.ErrStale) {
				t.Errorf("%s: got %v, want ErrStale", name, err)
			}
		}
	})
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func mustWorkers(t *testing.T, s *handlerstest.State) []string {
	t.Helper()
	found, err := s.Workers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, w := range found {
		ids = append(ids, w.ID)
	}
	return ids
}
