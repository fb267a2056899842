package bitbucket

import (
	"cmp"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/slipway-ci/slipway/forge"
)

// Cloud talks to Bitbucket Cloud. It is safe for concurrent use. Its errors are
// a *forge.RetryError for what may be tried again, forge.ErrNotFound,
// forge.ErrForbidden, forge.ErrRejected, forge.ErrUnsupported or
// forge.ErrNoCredentials; it does not retry by itself.
type Cloud struct {
	rest  *rest
	token string
}

// NewCloud makes a Cloud. It contacts nobody.
func NewCloud(o Options) (*Cloud, error) {
	r, err := newRest(o, "https://api.bitbucket.org/2.0", "")
	if err != nil {
		return nil, err
	}
	return &Cloud{rest: r, token: o.Token}, nil
}

// Check asks the forge whether it accepts the credentials. An access token may
// not ask who it is, but is told that in other words than a wrong one.
func (c *Cloud) Check(ctx context.Context) error {
	err := c.rest.send(ctx, http.MethodGet, "/user", nil, nil, nil)
	if errors.Is(err, forge.ErrForbidden) && !errors.Is(err, errCredentials) {
		return nil
	}
	return err
}

// Login is what git reads the forge's repositories with.
func (c *Cloud) Login() (user, password string, err error) {
	switch _, apiToken, basic := strings.Cut(c.token, ":"); {
	case c.token == "":
		return "", "", forge.ErrNoCredentials
	case basic:
		return "x-bitbucket-api-token-auth", apiToken, nil
	}
	return "x-token-auth", c.token, nil
}

// in is the address of something in a repository.
func (c *Cloud) in(repo forge.Repo, segments ...string) (string, error) {
	if !forge.ValidName(repo.Owner) || !forge.ValidName(repo.Name) {
		return "", fmt.Errorf("%w: repository %q", forge.ErrRejected, short(repo.FullName()))
	}
	return path(append([]string{"repositories", repo.Owner, repo.Name}, segments...)...), nil
}

// call makes one request about a repository.
func (c *Cloud) call(ctx context.Context, method string, repo forge.Repo, segments []string, query url.Values, body, answer any) error {
	where, err := c.in(repo, segments...)
	if err != nil {
		return err
	}
	return c.rest.send(ctx, method, where, query, body, answer)
}

// Resolve is the event with whole commits and its repository's main branch, for
// both of which the forge must be asked.
func (c *Cloud) Resolve(ctx context.Context, e forge.Event) (forge.Event, error) {
	if e.Kind == forge.Push && e.Repo.DefaultBranch == "" {
		branch, err := c.mainBranch(ctx, e.Repo)
		if passing(ctx, err) {
			return e, err
		}
		e.Repo.DefaultBranch = branch
		for i := range e.More {
			e.More[i].Repo.DefaultBranch = branch
		}
	}
	if e.Pull == nil {
		return e, nil
	}
	pr, err := c.resolve(ctx, e.Repo, *e.Pull)
	if err != nil {
		return e, fmt.Errorf("commits of pull request #%d: %w", pr.Number, err)
	}
	e.Pull = &pr
	return e, nil
}

func (c *Cloud) resolve(ctx context.Context, repo forge.Repo, pr forge.PullRequest) (forge.PullRequest, error) {
	// What a fork's pull request brings is in the base repository too.
	for _, sha := range []*string{&pr.HeadSHA, &pr.BaseSHA, &pr.MergeSHA} {
		if *sha == "" || forge.ValidSHA(*sha) {
			continue
		}
		whole, err := c.commit(ctx, repo, *sha)
		if err != nil {
			return pr, err
		}
		*sha = whole
	}
	return pr, nil
}

func (c *Cloud) commit(ctx context.Context, repo forge.Repo, hash string) (string, error) {
	var answer cloudHash
	if err := c.call(ctx, http.MethodGet, repo, []string{"commit", hash}, nil, nil, &answer); err != nil {
		return "", err
	}
	if !forge.ValidSHA(answer.Hash) || !strings.HasPrefix(answer.Hash, hash) {
		return "", &forge.RetryError{Err: fmt.Errorf("commit %s: the answer has another hash", hash)}
	}
	return answer.Hash, nil
}

func (c *Cloud) mainBranch(ctx context.Context, repo forge.Repo) (string, error) {
	var answer cloudRepo
	if err := c.call(ctx, http.MethodGet, repo, nil, nil, nil, &answer); err != nil {
		return "", fmt.Errorf("main branch of %s: %w", repo.FullName(), err)
	}
	if answer.MainBranch == nil {
		return "", nil
	}
	return answer.MainBranch.Name, nil
}

// cloudState maps a check's state onto the four that Bitbucket has (forges
// reference 6.2).
func cloudState(s forge.CommitStatus, stopped string) (string, bool) {
	switch s.Conclusion {
	case "cancelled", "skipped":
		return stopped, true
	case "success", "neutral":
		return "SUCCESSFUL", true
	case "failure", "timed_out":
		return "FAILED", true
	case "action_required":
		return "INPROGRESS", true
	}
	state, ok := map[string]string{"pending": "INPROGRESS", "success": "SUCCESSFUL", "failure": "FAILED", "error": stopped}[s.State]
	return state, ok
}

// SetStatus sets a build status. Setting the same again does no harm, so it can
// be repeated whenever an answer was lost. The installation is not used.
func (c *Cloud) SetStatus(ctx context.Context, repo forge.Repo, _ int64, s forge.CommitStatus) error {
	state, ok := cloudState(s, "STOPPED")
	if !ok || !forge.ValidSHA(s.SHA) {
		return fmt.Errorf("build status of %s: %w: state %q of commit %q", repo.FullName(), forge.ErrRejected, s.State, short(s.SHA))
	}
	name := cmp.Or(s.Name, s.Context)
	page := strings.TrimSuffix(cmp.Or(repo.WebURL, "https://bitbucket.org/"+repo.FullName()), "/") + "/commits/" + s.SHA
	body := map[string]string{
		"key": key(name), "state": state, "name": line(name, 255), "description": line(s.Description, 255), "url": link(s.TargetURL, page),
	}
	if branch, ok := strings.CutPrefix(s.Ref, "refs/heads/"); ok {
		body["refname"] = branch // else it isn't shown on the pull request
	}
	if err := c.call(ctx, http.MethodPost, repo, []string{"commit", s.SHA, "statuses", "build"}, nil, body, nil); err != nil {
		return fmt.Errorf("build status %q of %s at %s: %w", name, repo.FullName(), s.SHA, err)
	}
	return nil
}

// key fits the 40 characters that Bitbucket Cloud allows.
func key(name string) string {
	sum := sha1.Sum([]byte(name))
	return "sw-" + hex.EncodeToString(sum[:])[:20]
}

// PutReport shows how a completed check ended as a Code Insights report with
// annotations. Repeating it replaces what is there. Other checks have none.
func (c *Cloud) PutReport(ctx context.Context, repo forge.Repo, _ int64, check forge.CheckRun) error {
	if !forge.ValidSHA(check.SHA) {
		return fmt.Errorf("report of %s: %w: %q is no commit", repo.FullName(), forge.ErrRejected, short(check.SHA))
	}
	list := annotations(check.Annotations)
	where := []string{"commit", check.SHA, "reports", "slipway-" + key(check.Name)}
	result := "PASSED"
	if failed(check) {
		result = "FAILED"
	}
	body := map[string]any{
		"title": line(check.Name, 450), "details": line(check.Title, 2000), "reporter": "Slipway", "report_type": "BUG", "result": result,
	}
	if check.DetailsURL != "" {
		body["link"] = check.DetailsURL
	}
	// The remarks of an earlier report on this commit go with it.
	err := c.call(ctx, http.MethodDelete, repo, where, nil, nil, nil)
	if err == nil || errors.Is(err, forge.ErrNotFound) {
		err = c.call(ctx, http.MethodPut, repo, where, nil, body, nil)
	}
	for at := 0; err == nil && at < len(list); at += annotationBatch {
		batch := list[at:min(at+annotationBatch, len(list))]
		err = c.call(ctx, http.MethodPost, repo, append(where, "annotations"), nil, cloudAnnotations(batch, at), nil)
	}
	if err != nil {
		return fmt.Errorf("report %q of %s at %s: %w", check.Name, repo.FullName(), check.SHA, err)
	}
	return nil
}

func failed(check forge.CheckRun) bool {
	return check.Conclusion == "failure" || check.Conclusion == "timed_out"
}

func cloudAnnotations(list []forge.Annotation, from int) []any {
	var out []any
	for i, a := range list {
		kind, result := "CODE_SMELL", "PASSED"
		if a.Level == "failure" {
			kind, result = "BUG", "FAILED"
		}
		out = append(out, map[string]any{
			"external_id": "slipway-" + strconv.Itoa(from+i+1), "annotation_type": kind, "severity": severity(a.Level), "result": result,
			"summary": annotationText(a, 450), "path": a.Path, "line": a.StartLine,
		})
	}
	return out
}

// page is one page of a list.
type page[T any] struct {
	Values []T    `json:"values"`
	Next   string `json:"next"`
}

// pageLimit bounds how many pages of a list are read.
const pageLimit = 30

// pages reads a list page by page until each says enough; whole is false if it
// has more pages than are read.
func pages[T any](ctx context.Context, r *rest, first string, query url.Values, each func(T) (enough bool)) (whole bool, err error) {
	next := r.base.String() + first + "?" + query.Encode()
	for range pageLimit {
		var p page[T]
		if err := r.sendTo(ctx, http.MethodGet, next, nil, &p); err != nil {
			return false, err
		}
		for _, v := range p.Values {
			if each(v) {
				return true, nil
			}
		}
		if p.Next == "" {
			return true, nil
		}
		// The credentials go to the forge only, whatever it names.
		if !strings.HasPrefix(p.Next, r.base.String()+"/") {
			return false, fmt.Errorf("%w: next page is at %q", forge.ErrRejected, short(p.Next))
		}
		next = p.Next
	}
	return false, nil
}
