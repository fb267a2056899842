package main

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"github.com/slipway-ci/slipway/forge"
)

// Changed are the files that a push, a pull request or a merge group changed (CodePipeline
// reference 4.2). A forge that can't say is no error: the answer says so.
func (f *forges) Changed(ctx context.Context, e forge.Event) (forge.Changes, error) {
	var out forge.Changes
	var err error
	switch {
	case e.Pull != nil && f.asked(e.Forge) != nil:
		out, err = f.asked(e.Forge).PullFiles(ctx, e.Repo, e.Pull.Number)
	case e.Push != nil:
		out, err = f.pushed(ctx, e.Repo, *e.Push)
	case e.Merge != nil && f.asked(e.Forge) != nil:
		out, err = f.asked(e.Forge).Compare(ctx, e.Repo, e.Merge.BaseSHA, e.Merge.HeadSHA)
	default:
		out.Unknown = "the forge doesn't list changed files"
	}
	retry := (*forge.RetryError)(nil)
	switch {
	case errors.As(err, &retry), ctx.Err() != nil:
		return forge.Changes{}, err
	case errors.Is(err, forge.ErrNoCredentials):
		return forge.Changes{Unknown: "there are no credentials to ask the forge for the changed files"}, nil
	case errors.Is(err, forge.ErrNotFound):
		return forge.Changes{Unknown: "there is no earlier commit to compare with"}, nil
	case err != nil:
		return forge.Changes{Unknown: "the forge doesn't say which files changed"}, nil
	}
	return out, nil
}

// pushed compares with the commit before, and a new branch with where it left
// the default branch. A forced push has changed what it brings, and what it
// takes away.
func (f *forges) pushed(ctx context.Context, repo forge.Repo, p forge.PushEvent) (forge.Changes, error) {
	compare := f.local.Compare
	if a := f.asked(repo.Forge); a != nil {
		compare = a.Compare
	} else if repo.Forge != localForge {
		return forge.Changes{}, forge.ErrNoCredentials
	}
	if strings.Trim(p.Before, "0") != "" {
		out, err := compare(ctx, repo, p.Before, p.After)
		if err != nil || !p.Forced {
			return out, err
		}
		dropped, err := compare(ctx, repo, p.After, p.Before)
		return forge.Changes{Paths: append(out.Paths, dropped.Paths...), Unknown: cmp.Or(out.Unknown, dropped.Unknown)}, err
	}
	if p.Ref == "refs/heads/"+repo.DefaultBranch || repo.DefaultBranch == "" {
		return forge.Changes{Unknown: "it is the first push of the default branch"}, nil
	}
	return compare(ctx, repo, repo.DefaultBranch, p.After)
}
