package main

import (
	"context"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
)

// revisions finds commits of any forge by what git says of the repository.
type revisions struct {
	credentials credentials
	git         interface {
		Resolve(ctx context.Context, o pipeline.SourceOrder, name string) (sha, ref string, err error)
	}
}

var _ pipeline.Revisions = (*revisions)(nil)

// Resolve finds the commit that a branch, a tag or the beginning of a commit ID
// means.
func (r *revisions) Resolve(ctx context.Context, repo forge.Repo, installation int64, name string) (sha, ref string, err error) {
	o, err := sourceOrder(ctx, r.credentials, repo, pipeline.Trigger{Installation: installation})
	if err != nil {
		return "", "", err
	}
	return r.git.Resolve(ctx, o, name)
}
