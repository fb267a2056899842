package runner

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/pipeline"
)

func TestCompareManifests(t *testing.T) {
	base := func() Manifest {
		return Manifest{
			Build: "a", SHA: "1", Status: pipeline.BuildSucceeded, Image: "x", ImageDigest: "sha256:1", Buildspec: "b", Variables: []string{"A", "B"},
			Phases: []ManifestPhase{
				{Type: "INSTALL", Status: pipeline.BuildSucceeded},
				{Type: "BUILD", Status: pipeline.BuildSucceeded, Commands: []ManifestCommand{{Script: "make", SHA256: "1"}, {SHA256: "2"}}},
			},
			Artifacts: []pipeline.Artifact{{Name: "out", Digest: "d1"}},
		}
	}
	tests := []struct {
		name   string
		change func(*Manifest)
		want   []string
	}{
		{"the same at another time", func(m *Manifest) { m.Build, m.SHA, m.Phases[0].StartTime = "b", "2", time.Unix(9, 0) }, nil},
		{"another image of the name", func(m *Manifest) { m.ImageDigest = "sha256:2" }, []string{`image digest: was "sha256:1", is "sha256:2"`}},
		{"another buildspec", func(m *Manifest) { m.Buildspec = "c" }, []string{`buildspec: was "b", is "c"`}},
		{"variables", func(m *Manifest) { m.Variables = []string{"B", "C"} }, []string{"variable A: is not there any more", "variable C: is new"}},
		{"a command fails", func(m *Manifest) {
			m.Phases[1].Commands[0].Exit, m.Phases[1].Status, m.Status = 2, pipeline.BuildFailed, pipeline.BuildFailed
			m.Phases[1].Commands = m.Phases[1].Commands[:1]
		}, []string{`status: was "SUCCEEDED", is "FAILED"`, "phase BUILD: was SUCCEEDED, is FAILED", `phase BUILD, command 1: was "make" with exit status 0, is "make" with exit status 2`}},
		{"a command less", func(m *Manifest) { m.Phases[1].Commands = m.Phases[1].Commands[:1] }, []string{`phase BUILD, command 2: was "2" with exit status 0, is none`}},
		{"a phase less", func(m *Manifest) { m.Phases = m.Phases[:1] }, []string{`phase 2: was "BUILD", is ""`}},
		{"other artifacts", func(m *Manifest) {
			m.Artifacts = []pipeline.Artifact{{Name: "out", Digest: "d2"}, {Name: "docs", Digest: "d3"}}
		}, []string{"artifact out: was d1, is d2", "artifact docs: was none, is d3"}},
	}
	for _, tt := range tests {
		m := base()
		tt.change(&m)
		if diff := cmp.Diff(tt.want, m.Compare(base())); diff != "" {
			t.Errorf("%s (-want +got)\n%s", tt.name, diff)
		}
	}
}
