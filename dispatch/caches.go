package dispatch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/slipway-ci/slipway/pipeline"
)

// CacheStore keeps entries of caches. Scopes never see each other's.
type CacheStore interface {
	Restore(ctx context.Context, scope string, q pipeline.CacheQuery) (pipeline.CacheEntry, io.ReadCloser, error)
	Save(ctx context.Context, scope string, q pipeline.CacheQuery, r io.Reader) (pipeline.CacheEntry, error)
}

var _ pipeline.Caches = (*Service)(nil)

// KeepCaches lets builds have caches, in c. Without it they find none. It is
// not for use beside other calls.
func (s *Service) KeepCaches(c CacheStore) { s.caches = c }

var errNoCaches = errors.New("this server keeps no caches")

// RestoreCache opens an entry that a build of the same scope saved.
func (s *Service) RestoreCache(ctx context.Context, ref pipeline.JobRef, q pipeline.CacheQuery) (pipeline.CacheEntry, io.ReadCloser, error) {
	scope, err := s.scope(ctx, ref)
	if err != nil {
		return pipeline.CacheEntry{}, nil, err
	}
	return s.caches.Restore(ctx, scope, q)
}

// SaveCache keeps an entry for later builds of the same scope.
func (s *Service) SaveCache(ctx context.Context, ref pipeline.JobRef, q pipeline.CacheQuery, r io.Reader) (pipeline.CacheEntry, error) {
	scope, err := s.scope(ctx, ref)
	if err != nil {
		return pipeline.CacheEntry{}, err
	}
	return s.caches.Save(ctx, scope, q, r)
}

// scope says whose entries a job sees: those of its project, or, if its trigger
// isn't trusted, those of the very pull request. So nothing that strangers save
// is ever restored by a trusted build (CodeBuild reference 5.2, case 12).
func (s *Service) scope(ctx context.Context, ref pipeline.JobRef) (string, error) {
	if s.caches == nil {
		return "", fmt.Errorf("%w: %w", errNoCaches, pipeline.ErrNotFound)
	}
	if err := s.queue.Check(ctx, ref); err != nil {
		return "", err
	}
	b, err := s.records.Build(ctx, ref.ID)
	if err != nil {
		return "", err
	}
	x, err := s.records.Execution(ctx, b.Execution)
	if err != nil {
		return "", err
	}
	return scopeOf(b, x), nil
}

func scopeOf(b pipeline.Build, x pipeline.Execution) string {
	project := x.Repo.Forge + "\x00" + x.Repo.ID + "\x00" + b.Project + "\x00"
	switch t := x.Trigger; {
	case t.Trusted:
		return project + "trusted"
	case t.Pull != nil:
		return project + "pull " + strconv.Itoa(t.Pull.Number)
	}
	return project + "untrusted " + x.ID
}
