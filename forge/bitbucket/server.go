package bitbucket

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/slipway-ci/slipway/forge"
)

// Server talks to one Bitbucket Data Center, or Server. It is safe for
// concurrent use. Its errors are a *forge.RetryError for what may be tried again,
// forge.ErrNotFound, forge.ErrForbidden, forge.ErrRejected,
// forge.ErrUnsupported or forge.ErrNoCredentials; it does not retry by itself.
type Server struct {
	rest  *rest
	web   string
	token string
}

// NewServer makes a Server; BaseURL is required. It contacts nobody.
func NewServer(o Options) (*Server, error) {
	r, err := newRest(o, "", "/rest")
	if err != nil {
		return nil, err
	}
	return &Server{rest: r, web: strings.TrimRight(o.BaseURL, "/"), token: o.Token}, nil
}

// Check asks the forge whether it accepts the credentials, with a question that
// those of a single repository may ask, too.
func (s *Server) Check(ctx context.Context) error {
	return s.rest.send(ctx, http.MethodGet, "/api/latest/projects", url.Values{"limit": {"1"}}, nil, nil)
}

// Login is what git reads the forge's repositories with.
func (s *Server) Login() (user, password string, err error) {
	if s.token == "" {
		return "", "", forge.ErrNoCredentials
	}
	if user, password, basic := strings.Cut(s.token, ":"); basic {
		return user, password, nil
	}
	return "x-token-auth", s.token, nil
}

// in is the address of something in a repository, within one of the REST
// interfaces: api, insights, comment-likes.
func (s *Server) in(api string, repo forge.Repo, segments ...string) (string, error) {
	if !forge.ValidName(repo.Owner) || !forge.ValidName(repo.Name) {
		return "", fmt.Errorf("%w: repository %q", forge.ErrRejected, short(repo.FullName()))
	}
	return path(append([]string{api, "latest", "projects", repo.Owner, "repos", repo.Name}, segments...)...), nil
}

func (s *Server) call(ctx context.Context, method, api string, repo forge.Repo, segments []string, query url.Values, body, answer any) error {
	where, err := s.in(api, repo, segments...)
	if err != nil {
		return err
	}
	return s.rest.send(ctx, method, where, query, body, answer)
}

// Resolve is the event with its repository's default branch, which deliveries
// don't name.
func (s *Server) Resolve(ctx context.Context, e forge.Event) (forge.Event, error) {
	if e.Kind != forge.Push || e.Repo.DefaultBranch != "" {
		return e, nil
	}
	var answer struct {
		Name string `json:"displayId"`
	}
	err := s.call(ctx, http.MethodGet, "api", e.Repo, []string{"branches", "default"}, nil, nil, &answer)
	if passing(ctx, err) {
		return e, fmt.Errorf("default branch of %s: %w", e.Repo.FullName(), err)
	}
	e.Repo.DefaultBranch = answer.Name
	for i := range e.More {
		e.More[i].Repo.DefaultBranch = answer.Name
	}
	return e, nil
}

// SetStatus sets a build status. Setting the same again does no harm, so it can
// be repeated whenever an answer was lost. Servers before 7.4 are asked in their
// own way, which knows three states. The installation is not used.
func (s *Server) SetStatus(ctx context.Context, repo forge.Repo, _ int64, status forge.CommitStatus) error {
	state, ok := cloudState(status, "CANCELLED")
	if !ok || !forge.ValidSHA(status.SHA) {
		return fmt.Errorf("build status of %s: %w: state %q of commit %q", repo.FullName(), forge.ErrRejected, status.State, short(status.SHA))
	}
	name := cmp.Or(status.Name, status.Context)
	body := map[string]any{
		// Required builds are named by the key, so it is one that people can type.
		"key": line(cmp.Or(status.Context, name), 255), "state": state, "name": line(name, 255),
		"description": line(status.Description, 255),
		"url":         link(status.TargetURL, s.web+"/"+webPath(repo.Owner)+"/repos/"+repo.Name+"/commits/"+status.SHA),
	}
	if strings.HasPrefix(status.Ref, "refs/") && len(status.Ref) <= 1024 {
		body["ref"] = status.Ref
	}
	err := s.call(ctx, http.MethodPost, "api", repo, []string{"commits", status.SHA, "builds"}, nil, body, nil)
	if errors.Is(err, forge.ErrNotFound) {
		err = s.oldStatus(ctx, status.SHA, body)
	}
	if err != nil {
		return fmt.Errorf("build status %q of %s at %s: %w", name, repo.FullName(), status.SHA, err)
	}
	return nil
}

func (s *Server) oldStatus(ctx context.Context, sha string, body map[string]any) error {
	delete(body, "ref")
	if body["state"] == "CANCELLED" {
		body["state"] = "FAILED"
	}
	return s.rest.send(ctx, http.MethodPost, path("build-status", "latest", "commits", sha), nil, body, nil)
}

// PutReport shows how a completed check ended as a Code Insights report with
// annotations. Repeating it replaces what is there.
func (s *Server) PutReport(ctx context.Context, repo forge.Repo, _ int64, check forge.CheckRun) error {
	if !forge.ValidSHA(check.SHA) {
		return fmt.Errorf("report of %s: %w: %q is no commit", repo.FullName(), forge.ErrRejected, short(check.SHA))
	}
	list := annotations(check.Annotations)
	where := []string{"commits", check.SHA, "reports", "slipway-" + key(check.Name)}
	result := "PASS"
	if failed(check) {
		result = "FAIL"
	}
	body := map[string]any{
		"title": line(check.Name, 450), "details": line(check.Title, 2000), "reporter": "Slipway", "result": result,
		"data": []any{}, // required, and may be empty
	}
	if check.DetailsURL != "" {
		body["link"] = check.DetailsURL
	}
	// Annotations aren't told apart by their IDs: those of an earlier report go first.
	err := s.call(ctx, http.MethodDelete, "insights", repo, where, nil, nil, nil)
	if err == nil || errors.Is(err, forge.ErrNotFound) {
		err = s.call(ctx, http.MethodPut, "insights", repo, where, nil, body, nil)
	}
	for at := 0; err == nil && at < len(list); at += annotationBatch {
		batch := list[at:min(at+annotationBatch, len(list))]
		err = s.call(ctx, http.MethodPost, "insights", repo, append(where, "annotations"), nil, serverAnnotations(batch, at), nil)
	}
	if err != nil {
		return fmt.Errorf("report %q of %s at %s: %w", check.Name, repo.FullName(), check.SHA, err)
	}
	return nil
}

func serverAnnotations(list []forge.Annotation, from int) any {
	var out []any
	for i, a := range list {
		kind := "CODE_SMELL"
		if a.Level == "failure" {
			kind = "BUG"
		}
		out = append(out, map[string]any{
			"externalId": "slipway-" + strconv.Itoa(from+i+1), "type": kind, "severity": severity(a.Level),
			"message": annotationText(a, 2000), "path": a.Path, "line": a.StartLine,
		})
	}
	return map[string]any{"annotations": out}
}

// serverPage is one page of a list.
type serverPage[T any] struct {
	Values []T  `json:"values"`
	Last   bool `json:"isLastPage"`
	Next   int  `json:"nextPageStart"`
}

// serverPages reads a list page by page until each says enough; whole is false
// if it has more pages than are read.
func serverPages[T any](ctx context.Context, r *rest, where string, query url.Values, each func(T) (enough bool)) (whole bool, err error) {
	start := 0
	for range pageLimit {
		query.Set("start", strconv.Itoa(start))
		var p serverPage[T]
		if err := r.send(ctx, http.MethodGet, where, query, nil, &p); err != nil {
			return false, err
		}
		for _, v := range p.Values {
			if each(v) {
				return true, nil
			}
		}
		if p.Last || p.Next <= start {
			return true, nil
		}
		start = p.Next
	}
	return false, nil
}
