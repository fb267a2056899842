package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/internal/archive"
	"github.com/slipway-ci/slipway/internal/client"
	"github.com/slipway-ci/slipway/pipeline"
)

// madeArtifact is an artifact and the build that made it.
type madeArtifact struct {
	Build string `json:"build"`
	pipeline.Artifact
}

func (a *app) artifactsCommand() *cobra.Command {
	var output, unpack string
	var asJSON bool
	c := a.asker("artifacts EXECUTION|BUILD [NAME]", "List the artifacts of a build or of an execution, or download one",
		"With NAME the artifact is written to a file of its name, or to --output; with --unpack it is unpacked "+
			"into a folder, within bounds: names that lead out of it are refused. Its digest is compared with the server's."+serverNote,
		cobra.RangeArgs(1, 2), func(ctx context.Context, api *client.Client, args []string) error {
			if len(args) == 1 && output+unpack != "" {
				return usage(fmt.Errorf("--output and --unpack need the artifact's NAME"))
			}
			list, err := artifactsOf(ctx, api, args[0])
			if err != nil {
				return err
			}
			if len(args) == 2 {
				return a.fetchArtifact(ctx, api, list, args[1], output, unpack)
			}
			if asJSON {
				return a.printJSON(list)
			}
			return a.table("BUILD\tNAME\tFORMAT\tBYTES\tFILES", func(row func(...any)) {
				for _, m := range list {
					row(m.Build, m.Name, m.Format, m.Bytes, m.Files)
				}
			})
		})
	f := c.Flags()
	f.StringVarP(&output, "output", "o", "", "write to this `FILE`; - is the standard output")
	f.StringVar(&unpack, "unpack", "", "unpack into this `DIR`, which is made")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	c.MarkFlagsMutuallyExclusive("output", "unpack", "json")
	return c
}

// artifactsOf are the artifacts of a build, or of all builds of an execution,
// manifests included.
func artifactsOf(ctx context.Context, api *client.Client, id string) ([]madeArtifact, error) {
	jobs, err := jobsOf(ctx, api, id)
	if err != nil {
		return nil, err
	}
	list := []madeArtifact{}
	for _, job := range jobs {
		if strings.HasPrefix(job, "d-") {
			continue // a deployment makes none
		}
		b, err := api.Build(ctx, job)
		if err != nil {
			return nil, err
		}
		for _, art := range b.Artifacts {
			list = append(list, madeArtifact{job, art})
		}
		if b.Manifest != nil {
			list = append(list, madeArtifact{job, *b.Manifest})
		}
	}
	return list, nil
}

// fetchArtifact downloads the one artifact of that name.
func (a *app) fetchArtifact(ctx context.Context, api *client.Client, list []madeArtifact, name, output, unpack string) error {
	found := slices.DeleteFunc(slices.Clone(list), func(m madeArtifact) bool { return m.Name != name })
	switch {
	case len(found) == 0:
		return &exitError{exitUsage, fmt.Errorf("there is no artifact %q", name)}
	case len(found) > 1:
		return &exitError{exitUsage, fmt.Errorf("%d builds have made an artifact %q: give a build's ID", len(found), name)}
	}
	m := found[0]
	body, err := api.BuildArtifact(ctx, m.Build, m.Name)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }() // only read from
	switch {
	case output == "-":
		return copyChecked(a.stdout, body, m.Digest)
	case unpack != "":
		return a.unpackArtifact(body, m, unpack)
	case output == "":
		output = filepath.Base(m.Name) + "." + m.Format
	}
	return writeArtifact(body, m, output)
}

// writeArtifact writes a file that is whole or not there.
func writeArtifact(body io.Reader, m madeArtifact, path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already if all went well
	if err := copyChecked(f, body, m.Digest); err != nil {
		_ = f.Close() // the first error counts
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// unpackArtifact unpacks by way of a file: nothing is unpacked of an artifact
// that isn't what the server says.
func (a *app) unpackArtifact(body io.Reader, m madeArtifact, dir string) error {
	temp, err := os.MkdirTemp("", "slipway-artifact-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(temp) }() // the system's to clean, too
	packed := filepath.Join(temp, "packed")
	if err := writeArtifact(body, m, packed); err != nil {
		return err
	}
	f, err := os.Open(packed)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read from
	sum, err := archive.Unpack(f, dir, archive.Limits{}, nil)
	if err != nil {
		return fmt.Errorf("unpacking %s: %w", m.Name, err)
	}
	_, err = fmt.Fprintf(a.stderr, "%s: %d entries, %d bytes in %s\n", m.Name, sum.Entries, sum.Content, dir)
	return err
}

// copyChecked copies and compares the digest of what came.
func copyChecked(w io.Writer, r io.Reader, digest string) error {
	hash := sha256.New()
	if _, err := io.Copy(io.MultiWriter(w, hash), r); err != nil {
		return fmt.Errorf("downloading: %w", err)
	}
	if got := hex.EncodeToString(hash.Sum(nil)); digest != "" && got != digest {
		return fmt.Errorf("downloading: the digest is %s, want %s", got, digest)
	}
	return nil
}
