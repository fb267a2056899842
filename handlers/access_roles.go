package handlers

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"golang.org/x/sync/errgroup"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
)

// permissions asks a forge what somebody may do with a repository.
type permissions interface {
	// Permission is none for somebody, or in a repository, that the forge does
	// not know. Installation 0 is looked up.
	Permission(ctx context.Context, repo forge.Repo, installation int64, user forge.User) (forge.Permission, error)
}

// Permissions are the forges that know what people may do, by entry.
type Permissions map[string]permissions

const (
	// How long an answer of a forge is good (forges reference 4.4).
	permissionTime   = time.Minute
	noPermissionTime = 10 * time.Second
	// rolesLimit bounds what is remembered.
	rolesLimit = 10_000
	// rolesAtATime bounds how many questions one request asks a forge at a time.
	rolesAtATime = 8
)

// roles knows what principals may do with repositories.
type roles struct {
	forges map[string]permissions
	now    func() time.Time

	mu     sync.Mutex
	answer map[roleKey]roleAnswer
	repos  map[string]forge.Repo // by execution
}

type roleKey struct{ forge, repo, user string }

type roleAnswer struct {
	permission forge.Permission
	until      time.Time
}

func newRoles(forges map[string]permissions, now func() time.Time) *roles {
	return &roles{forges: forges, now: now, answer: map[roleKey]roleAnswer{}, repos: map[string]forge.Repo{}}
}

// of is what p may do with a repository. Nobody, which only an open server
// lets in, may read.
func (r *roles) of(ctx context.Context, p *principal, repo forge.Repo) (forge.Permission, error) {
	switch {
	case p == nil:
		return forge.Read, nil
	case p.admin:
		return forge.Admin, nil
	case p.role != "":
		if p.repo == "" || strings.EqualFold(p.repo, repo.Forge+"/"+repo.FullName()) {
			return p.role, nil
		}
		return forge.NoPermission, nil
	case p.user.ID == "" || repo.Forge != p.forge || r.forges[p.forge] == nil || repo.Name == "":
		return forge.NoPermission, nil
	}
	return r.ask(ctx, p, repo)
}

// ask asks the forge, or remembers its last answer. What the forge can't say
// of a repository, such as one that our App was taken out of, is nothing.
func (r *roles) ask(ctx context.Context, p *principal, repo forge.Repo) (forge.Permission, error) {
	key := roleKey{p.forge, cmp.Or(repo.ID, "/"+strings.ToLower(repo.FullName())), p.user.ID}
	r.mu.Lock()
	known, ok := r.answer[key]
	r.mu.Unlock()
	if ok && r.now().Before(known.until) {
		return known.permission, nil
	}
	have, err := r.forges[p.forge].Permission(ctx, repo, 0, p.user)
	var retry *forge.RetryError
	if errors.As(err, &retry) || ctx.Err() != nil {
		return forge.NoPermission, err
	}
	ttl := permissionTime
	if err != nil || have == forge.NoPermission {
		have, ttl = forge.NoPermission, noPermissionTime
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.answer) >= rolesLimit {
		clear(r.answer)
	}
	r.answer[key] = roleAnswer{have, r.now().Add(ttl)}
	return have, nil
}

func (r *roles) known(execution string) (forge.Repo, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	repo, ok := r.repos[execution]
	return repo, ok
}

func (r *roles) remember(execution string, repo forge.Repo) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.repos) >= rolesLimit {
		clear(r.repos)
	}
	r.repos[execution] = repo
}

// seenRounds bounds how many pages are read to fill one for somebody who may
// see only some of it.
const seenRounds = 20

// seen is a page of what the sender of a request may read. It may have fewer
// items than asked for although there is a next one.
func seen[T any](ctx context.Context, s *Server, p *principal, limit int, after string,
	load func(limit int, after string) (pipeline.Page[T], error), repoOf func(context.Context, T) (forge.Repo, error),
) (pipeline.Page[T], error) {
	if p == nil || p.onServer().AtLeast(forge.Read) {
		return load(limit, after)
	}
	if limit == 0 {
		limit = 50
	}
	out := pipeline.Page[T]{Items: []T{}, Next: after}
	for range seenRounds {
		page, err := load(limit-len(out.Items), out.Next)
		if err != nil {
			return out, err
		}
		may, err := s.mayRead(ctx, p, len(page.Items), func(ctx context.Context, i int) (forge.Repo, error) { return repoOf(ctx, page.Items[i]) })
		if err != nil {
			return out, err
		}
		for i, item := range page.Items {
			if may[i] {
				out.Items = append(out.Items, item)
			}
		}
		if out.Next = page.Next; out.Next == "" || len(out.Items) >= limit {
			break
		}
	}
	return out, nil
}

// mayRead says of each of n things whether p may read its repository.
func (s *Server) mayRead(ctx context.Context, p *principal, n int, repoOf func(context.Context, int) (forge.Repo, error)) ([]bool, error) {
	may := make([]bool, n)
	var repos = map[roleKey]forge.Repo{}
	keys := make([]roleKey, n)
	for i := range n {
		repo, err := repoOf(ctx, i)
		if errors.Is(err, pipeline.ErrNotFound) {
			continue // retention was faster than the list
		}
		if err != nil {
			return nil, err
		}
		keys[i] = roleKey{repo.Forge, repo.ID, repo.FullName()}
		repos[keys[i]] = repo
	}
	var mu sync.Mutex
	allowed := map[roleKey]bool{}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(rolesAtATime)
	for key, repo := range repos {
		g.Go(func() error {
			have, err := s.guard.roles.of(ctx, p, repo)
			mu.Lock()
			defer mu.Unlock()
			allowed[key] = have.AtLeast(forge.Read)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for i := range n {
		may[i] = allowed[keys[i]]
	}
	return may, nil
}

// mayWrite reports whether the sender of a request may change what belongs to
// a repository; pages leave out the buttons of others.
func (s *Server) mayWrite(c *gin.Context, repo forge.Repo) bool {
	p := who(c)
	if p == nil {
		return false
	}
	have, err := s.guard.roles.of(c.Request.Context(), p, repo)
	return err == nil && have.AtLeast(forge.Write)
}

// The lists, as the sender of a request may see them.

func (s *Server) seenExecutions(ctx context.Context, p *principal, q pipeline.Query) (pipeline.Page[pipeline.Summary], error) {
	if p != nil && p.repo != "" && q.Repo == "" {
		name, full, _ := strings.Cut(p.repo, "/")
		if q.Forge == "" || q.Forge == name {
			q.Forge, q.Repo = name, full // others are none of its business
		}
	}
	return seen(ctx, s, p, q.Limit, q.After, func(limit int, after string) (pipeline.Page[pipeline.Summary], error) {
		q.Limit, q.After = limit, after
		return s.Executions.Executions(ctx, q)
	}, func(ctx context.Context, x pipeline.Summary) (forge.Repo, error) { return s.executionRepo(ctx, x.ID) })
}

func (s *Server) seenDeliveries(ctx context.Context, p *principal, name string, limit int, after string) (pipeline.Page[pipeline.Delivery], error) {
	return seen(ctx, s, p, limit, after, func(limit int, after string) (pipeline.Page[pipeline.Delivery], error) {
		return s.Deliveries.Deliveries(ctx, name, limit, after)
	}, func(_ context.Context, d pipeline.Delivery) (forge.Repo, error) { return deliveryRepo(d), nil })
}

func (s *Server) seenDeployments(ctx context.Context, p *principal, q pipeline.DeploymentQuery) (pipeline.Page[pipeline.Deployment], error) {
	return seen(ctx, s, p, q.Limit, q.After, func(limit int, after string) (pipeline.Page[pipeline.Deployment], error) {
		q.Limit, q.After = limit, after
		return s.Fleet.Deployments(ctx, q)
	}, s.repoOfDeployment)
}

// seenBoards are Boards by their keys; one that is gone is left out.
func (s *Server) seenBoards(ctx context.Context, p *principal, limit int, after string) (pipeline.Page[*pipeline.Board], error) {
	return seen(ctx, s, p, limit, after, func(limit int, after string) (pipeline.Page[*pipeline.Board], error) {
		page, err := s.Boards.Boards(ctx, limit, after)
		out := pipeline.Page[*pipeline.Board]{Next: page.Next}
		for _, key := range page.Items {
			b, _, err := s.Boards.Board(ctx, key)
			if errors.Is(err, pipeline.ErrNotFound) {
				continue
			}
			if err != nil {
				return out, err
			}
			out.Items = append(out.Items, b)
		}
		return out, err
	}, func(_ context.Context, b *pipeline.Board) (forge.Repo, error) { return b.Repo, nil })
}
