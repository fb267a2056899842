package runner

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
)

// ManifestArtifact is the name of the artifact that holds a build's manifest,
// in the format "json". It is the record's Manifest; no action takes it in.
const ManifestArtifact = "BuildManifest"

// Manifest says what one build did: enough to tell whether another one did the
// same. It holds names of variables, never values, and no secret.
type Manifest struct {
	V       int                  `json:"v"`
	Build   string               `json:"build"`
	Project string               `json:"project"`
	SHA     string               `json:"sha,omitempty"`
	Status  pipeline.BuildStatus `json:"status"`
	Image   string               `json:"image,omitempty"`
	// ImageDigest is the engine's ID of the image, sha256:...; empty where the
	// engine has none.
	ImageDigest string `json:"image_digest,omitempty"`
	// Buildspec is the hex SHA-256 of the buildspec's text.
	Buildspec string              `json:"buildspec_sha256,omitempty"`
	Variables []string            `json:"variables,omitempty"`
	Phases    []ManifestPhase     `json:"phases"`
	Artifacts []pipeline.Artifact `json:"artifacts,omitempty"`
}

// ManifestPhase is one entered phase.
type ManifestPhase struct {
	Type      string               `json:"type"`
	Status    pipeline.BuildStatus `json:"status,omitempty"`
	StartTime time.Time            `json:"start_time"`
	EndTime   time.Time            `json:"end_time,omitzero"`
	Commands  []ManifestCommand    `json:"commands,omitempty"`
}

// ManifestCommand is one command that ran.
type ManifestCommand struct {
	// Script is its text, masked; empty once a manifest has a mebibyte of them.
	Script string `json:"script,omitempty"`
	SHA256 string `json:"sha256"` // of the text
	Exit   int    `json:"exit"`
}

// Imaged is a Container that knows its image.
type Imaged interface {
	// ImageDigest is the ID of the image that the container was made of; empty
	// if that isn't known.
	ImageDigest(ctx context.Context) string
}

const (
	scriptsLimitBytes = 1 << 20
	manifestTime      = 30 * time.Second
)

// noteCommands remembers those of the commands that ran.
func (r *build) noteCommands(commands []string, res result) {
	ran := len(commands)
	if res.failed >= 0 {
		ran = res.failed + 1
	}
	for i, text := range commands[:ran] {
		sum := sha256.Sum256([]byte(text))
		c := ManifestCommand{SHA256: hex.EncodeToString(sum[:])}
		if r.scriptBytes += len(text); r.scriptBytes <= scriptsLimitBytes {
			c.Script = r.log.masker.String(text)
		}
		if i == res.failed {
			c.Exit = res.exit
		}
		phase := len(r.record.Phases) - 1
		r.commandsRun[phase] = append(r.commandsRun[phase], c)
	}
}

// keepManifest stores the manifest of a build that ended by itself. It comes
// last, so a failure of its own changes nothing.
func (r *build) keepManifest(ctx context.Context) {
	if errors.Is(context.Cause(ctx), pipeline.ErrStale) || r.container == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), manifestTime)
	defer cancel()
	data, err := json.MarshalIndent(r.describe(ctx), "", "  ")
	if err == nil {
		a := pipeline.Artifact{Name: ManifestArtifact, Format: "json", Files: 1}
		if a, err = r.sink.Artifact(ctx, a, bytes.NewReader(append(data, '\n'))); err == nil {
			r.record.Manifest = &a
			return
		}
	}
	r.Log.WarnContext(ctx, "manifest of a build not kept", "job", r.order.ID, "error", err)
}

func (r *build) describe(ctx context.Context) Manifest {
	m := Manifest{
		V: 1, Build: r.record.ID, Project: r.record.Project, SHA: r.record.SHA, Status: r.record.Status,
		Image: r.record.Image, Buildspec: r.specSum, Artifacts: r.record.Artifacts,
	}
	if c, ok := r.container.(Imaged); ok {
		m.ImageDigest = c.ImageDigest(ctx)
	}
	for _, v := range r.variables {
		m.Variables = append(m.Variables, v.Name)
	}
	slices.Sort(m.Variables)
	m.Variables = slices.Compact(m.Variables)
	for i, p := range r.record.Phases {
		m.Phases = append(m.Phases, ManifestPhase{
			Type: p.Type, Status: p.Status, StartTime: p.StartTime, EndTime: p.EndTime, Commands: r.commandsRun[i],
		})
	}
	return m
}
