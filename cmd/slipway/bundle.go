package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/slipway-ci/slipway/internal/archive"
	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner/source"
)

// bundles make deployable bundles of a repository's own files.
type bundles struct {
	mirrors *source.Store
	data    string
}

// sweep removes what a killed server left. The data folder is this process's
// alone.
func (b bundles) sweep() error {
	left, err := filepath.Glob(filepath.Join(b.data, "tmp", "bundle-*"))
	for _, dir := range left {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	return err
}

// Bundle writes the commit's files, without git's own, as a tar.
func (b bundles) Bundle(ctx context.Context, o pipeline.SourceOrder, w io.Writer) (err error) {
	temp := filepath.Join(b.data, "tmp")
	if err := os.MkdirAll(temp, 0o700); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(temp, "bundle-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := b.mirrors.Checkout(ctx, o, dir); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(dir, ".git")); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir) // refuses to follow links out of the folder
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	entries, err := archive.List(root.FS())
	if err != nil {
		return err
	}
	_, err = archive.Pack(w, root.FS(), entries, archive.PackOptions{Format: archive.Tar})
	return err
}
