package host_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/slipway-ci/slipway/internal/archive"
	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner"
	"github.com/slipway-ci/slipway/runner/host"
	"github.com/slipway-ci/slipway/runner/runnertest"
)

// bundle is an artifact with one file.
func bundle(t *testing.T, name, text string) (digest string, body []byte) {
	t.Helper()
	var out bytes.Buffer
	files := fstest.MapFS{name: {Data: []byte(text), Mode: 0o644}}
	if _, err := archive.Pack(&out, files, []archive.Entry{{Name: name, Path: name}}, archive.PackOptions{Format: archive.TarZstd}); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(out.Bytes())
	return hex.EncodeToString(sum[:]), out.Bytes()
}

// A build's sources are the artifacts of earlier actions: the first one in its
// folder, the others each in one of their own (CodeBuild reference 4.4).
func TestInputs(t *testing.T) {
	e := host.New(host.Options{Env: environment(t, "sh", "bash", "cat", "ls")})
	defer closeEngine(t, e)
	first, one := bundle(t, "one.txt", "first")
	second, two := bundle(t, "two.txt", "second")
	blobs := map[string][]byte{first: one, second: two}
	run := func(inputs ...pipeline.Input) (pipeline.Outcome, string) {
		order := runnertest.Order(runnertest.Repo(t, map[string]string{"three.txt": "third"}))
		order.Inputs = inputs
		order.Buildspec = "version: 0.2\nphases:\n  build:\n    commands:\n" +
			"      - cat one.txt \"$CODEBUILD_SRC_DIR_more_files/two.txt\" \"$CODEBUILD_SRC_DIR_src/three.txt\"\n"
		sink := &runnertest.Sink{}
		options := runnertest.Setup{Engine: e}.Options(t)
		options.Inputs = func(_ context.Context, digest string) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(blobs[digest])), nil
		}
		_, out := runner.Run(t.Context(), options, order, sink)
		return out, sink.Text()
	}
	in := func(name, digest string) pipeline.Input {
		return pipeline.Input{Name: name, Artifact: pipeline.Artifact{Name: name, Digest: digest}}
	}
	src := pipeline.Input{Name: "src", Source: true}
	if out, log := run(in("bundle", first), in("more-files", second), src); out.Status != pipeline.BuildSucceeded || !strings.Contains(log, "firstsecondthird") {
		t.Errorf("%+v\n%s", out, log)
	}
	if out, _ := run(in("../out", first)); out.Status != pipeline.BuildFailed || !strings.Contains(out.Message, "no name of an artifact") {
		t.Errorf("a name that leads out: %+v", out)
	}
	blobs[second] = one
	if out, _ := run(in("bundle", first), in("more-files", second), src); out.Status != pipeline.BuildFault {
		t.Errorf("an artifact that arrived changed: %+v", out)
	}
	blobs[second] = []byte("no archive")
	if out, _ := run(in("bundle", first), in("more-files", second), src); out.Status != pipeline.BuildFailed {
		t.Errorf("an artifact that is no archive: %+v", out)
	}
}
