package docker_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"

	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner"
	"github.com/slipway-ci/slipway/runner/runnertest"
)

// bare starts a container as a build's is started, but for everything that a
// build is: create, attach, start, on a network that exists.
type bare struct {
	tb    testing.TB
	api   *client.Client
	image string
	net   string
}

func newBare(tb testing.TB, image string) *bare {
	tb.Helper()
	api, err := client.NewClientWithOpts(client.WithAPIVersionNegotiation())
	if err != nil {
		tb.Fatal(err)
	}
	b := &bare{tb: tb, api: api, image: image, net: fmt.Sprintf("slipway-bench-%d", time.Now().UnixNano())}
	if _, err := api.NetworkCreate(tb.Context(), b.net, network.CreateOptions{Driver: "bridge"}); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = api.NetworkRemove(context.WithoutCancel(tb.Context()), b.net)
		_ = api.Close()
	})
	return b
}

// run runs command with in as its standard input and returns when its output
// ends, with the time to the first byte; the container is removed after that.
func (b *bare) run(in string, command ...string) (first, whole time.Duration) {
	b.tb.Helper()
	ctx := b.tb.Context()
	begun := time.Now()
	made, err := b.api.ContainerCreate(ctx, &container.Config{Image: b.image, Cmd: command, OpenStdin: true, StdinOnce: true, AttachStdin: true, AttachStdout: true, AttachStderr: true},
		&container.HostConfig{NetworkMode: container.NetworkMode(b.net), LogConfig: container.LogConfig{Type: "none"}}, nil, nil, "")
	if err != nil {
		b.tb.Fatal(err)
	}
	defer func() { _ = b.api.ContainerRemove(ctx, made.ID, container.RemoveOptions{Force: true}) }()
	at, err := b.api.ContainerAttach(ctx, made.ID, container.AttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true})
	if err != nil {
		b.tb.Fatal(err)
	}
	defer at.Close()
	if err := b.api.ContainerStart(ctx, made.ID, container.StartOptions{}); err != nil {
		b.tb.Fatal(err)
	}
	go func() {
		_, _ = io.WriteString(at.Conn, in)
		_ = at.CloseWrite()
	}()
	if _, err := at.Reader.ReadByte(); err != nil {
		b.tb.Fatal(err)
	}
	first = time.Since(begun)
	_, _ = io.Copy(io.Discard, at.Reader)
	wait, failed := b.api.ContainerWait(ctx, made.ID, container.WaitConditionNotRunning)
	select {
	case <-wait:
	case err := <-failed:
		b.tb.Fatal(err)
	}
	return first, time.Since(begun)
}

// firstLine is a sink that notes when the first command's output came.
type firstLine struct {
	runnertest.Sink
	begun time.Time
	first time.Duration
}

func (f *firstLine) Log(p []byte) error {
	err := f.Sink.Log(p)
	if f.first == 0 && strings.Contains(f.Text(), "\nhello\n") {
		f.first = time.Since(f.begun)
	}
	return err
}

// BenchmarkOneCommand is aim P3: a build of one command, with its source,
// against the bare calls, interleaved.
func BenchmarkOneCommand(b *testing.B) {
	image := runnertest.BusyboxImage(b)
	e := open(b)
	defer shut(b, e)
	floor := newBare(b, image)
	o := runnertest.Order(runnertest.Repo(b, map[string]string{"buildspec.yml": "version: 0.2\nphases:\n  build:\n    commands: [echo hello]\n"}))
	o.Image = image
	options := runnertest.Setup{Engine: e, Temp: e.Temp()}.Options(b)
	var ours, theirs, oursWhole, theirsWhole time.Duration
	for b.Loop() {
		first, whole := floor.run("", "echo", "hello")
		theirs, theirsWhole = theirs+first, theirsWhole+whole
		s := &firstLine{begun: time.Now()}
		if r, _ := runner.Run(b.Context(), options, o, s); r.Status != pipeline.BuildSucceeded {
			b.Fatalf("got %s\n%s", r.Status, s.Text())
		}
		ours, oursWhole = ours+s.first, oursWhole+time.Since(s.begun)
	}
	b.ReportMetric(float64(ours)/float64(theirs), "first-line-ratio")
	b.ReportMetric(float64(oursWhole)/float64(theirsWhole), "finished-ratio")
	b.ReportMetric(float64(theirs.Milliseconds())/float64(b.N), "bare-first-ms")
	b.ReportMetric(float64(theirsWhole.Milliseconds())/float64(b.N), "bare-whole-ms")
}

// BenchmarkThousandCommands is aim P4: 1,000 one-line commands in one phase
// against the same lines fed to a shell attached in the same image.
func BenchmarkThousandCommands(b *testing.B) {
	const n = 1000
	for _, command := range []string{"echo line", "env true", "X=1", "(echo own shell)"} {
		b.Run(strings.ReplaceAll(command, " ", "_"), func(b *testing.B) {
			image := runnertest.BashImage(b)
			e := open(b)
			defer shut(b, e)
			floor := newBare(b, image)
			spec := "version: 0.2\nphases:\n  build:\n    commands:\n" + strings.Repeat("      - "+command+"\n", n)
			o := runnertest.Order(runnertest.Repo(b, map[string]string{"buildspec.yml": spec}))
			o.Image = image
			options := runnertest.Setup{Engine: e, Temp: e.Temp()}.Options(b)
			var ours, theirs time.Duration
			for b.Loop() {
				first, whole := floor.run("echo begin\n"+strings.Repeat(command+"\n", n), "bash")
				theirs += whole - first
				r, _ := runner.Run(b.Context(), options, o, &runnertest.Sink{})
				if r.Status != pipeline.BuildSucceeded {
					b.Fatalf("got %s", r.Status)
				}
				p := r.Phases[4]
				ours += p.EndTime.Sub(p.StartTime)
			}
			b.ReportMetric(float64(ours)/float64(theirs), "attached-shell-ratio")
			b.ReportMetric(float64(ours.Microseconds())/float64(b.N)/n, "us/command")
		})
	}
}
