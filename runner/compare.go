package runner

import (
	"fmt"
	"slices"

	"github.com/slipway-ci/slipway/pipeline"
)

// Compare says what the build of m did otherwise than that of before, a line
// each; none if both did the same and made the same. Times, names of builds and
// commits don't count.
func (m Manifest) Compare(before Manifest) []string {
	var out []string
	differ := func(what, was, is string) {
		if was != is {
			out = append(out, fmt.Sprintf("%s: was %q, is %q", what, was, is))
		}
	}
	differ("status", string(before.Status), string(m.Status))
	differ("image", before.Image, m.Image)
	differ("image digest", before.ImageDigest, m.ImageDigest)
	differ("buildspec", before.Buildspec, m.Buildspec)
	for _, name := range before.Variables {
		if !slices.Contains(m.Variables, name) {
			out = append(out, "variable "+name+": is not there any more")
		}
	}
	for _, name := range m.Variables {
		if !slices.Contains(before.Variables, name) {
			out = append(out, "variable "+name+": is new")
		}
	}
	out = append(out, comparePhases(before.Phases, m.Phases)...)
	return append(out, compareArtifacts(before.Artifacts, m.Artifacts)...)
}

// comparePhases tells the first command in which two phases differ.
func comparePhases(before, now []ManifestPhase) []string {
	var out []string
	for i := range max(len(before), len(now)) {
		var a, b ManifestPhase
		if i < len(before) {
			a = before[i]
		}
		if i < len(now) {
			b = now[i]
		}
		if a.Type != b.Type {
			return append(out, fmt.Sprintf("phase %d: was %q, is %q", i+1, a.Type, b.Type))
		}
		if a.Status != b.Status {
			out = append(out, fmt.Sprintf("phase %s: was %s, is %s", a.Type, a.Status, b.Status))
		}
		for j := range max(len(a.Commands), len(b.Commands)) {
			if was, is := commandAt(a, j), commandAt(b, j); was != is {
				out = append(out, fmt.Sprintf("phase %s, command %d: was %s, is %s", a.Type, j+1, was, is))
				break
			}
		}
	}
	return out
}

// commandAt is what counts of a phase's command.
func commandAt(p ManifestPhase, i int) string {
	if i >= len(p.Commands) {
		return "none"
	}
	c := p.Commands[i]
	text := c.Script
	if text == "" {
		text = c.SHA256
	}
	return fmt.Sprintf("%q with exit status %d", text, c.Exit)
}

func compareArtifacts(before, now []pipeline.Artifact) []string {
	var out []string
	digest := func(list []pipeline.Artifact, name string) string {
		i := slices.IndexFunc(list, func(a pipeline.Artifact) bool { return a.Name == name })
		if i < 0 {
			return "none"
		}
		return list[i].Digest
	}
	var names []string
	for _, a := range slices.Concat(before, now) {
		if !slices.Contains(names, a.Name) {
			names = append(names, a.Name)
		}
	}
	for _, name := range names {
		if was, is := digest(before, name), digest(now, name); was != is {
			out = append(out, fmt.Sprintf("artifact %s: was %s, is %s", name, was, is))
		}
	}
	return out
}
