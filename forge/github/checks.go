package github

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	gh "github.com/google/go-github/v60/github"

	"github.com/slipway-ci/slipway/forge"
)

var conclusions = []string{"success", "failure", "neutral", "cancelled", "skipped", "timed_out", "action_required"}

// PutCheckRun makes the forge show run: it creates the check run, or updates the
// one with run.ID. It sets ID, Sent and Unsure, also when it fails, and a caller
// that tries again passes what they became; then no check run and no
// annotation appears twice. Text beyond the forge's limits is cut. A personal
// token gets forge.ErrForbidden, for which a commit status is the way out.
func (c *Client) PutCheckRun(ctx context.Context, repo forge.Repo, installation int64, run *forge.CheckRun) error {
	if err := checkRun(run); err != nil {
		return fmt.Errorf("check run %q of %s: %w", run.Name, repo.FullName(), err)
	}
	ctx, client, err := c.on(ctx, installation, repo, Permissions{"checks": "write"})
	if err != nil {
		return fmt.Errorf("check run %q of %s: %w", run.Name, repo.FullName(), err)
	}
	p := checkPut{client: client, repo: repo, run: run, appID: c.appID, spacing: c.spacing}
	p.list, p.more = annotations(run.Annotations)
	if err := p.put(ctx); err != nil {
		return fmt.Errorf("check run %q of %s at %s: %w", run.Name, repo.FullName(), run.SHA, err)
	}
	return nil
}

// checkRun refuses what the forge would.
func checkRun(run *forge.CheckRun) error {
	switch {
	case run.Name == "":
		return fmt.Errorf("%w: a check run needs a name", forge.ErrRejected)
	case checkSHA("", run.SHA) != nil:
		return fmt.Errorf("%w: %q is no commit", forge.ErrRejected, short(run.SHA))
	case !slices.Contains([]string{"queued", "in_progress", "completed"}, run.Status):
		return fmt.Errorf("%w: status %q", forge.ErrRejected, run.Status)
	case run.Status == "completed" && !slices.Contains(conclusions, run.Conclusion):
		return fmt.Errorf("%w: conclusion %q", forge.ErrRejected, run.Conclusion)
	case run.Status != "completed" && run.Conclusion != "":
		return fmt.Errorf("%w: conclusion %q while %s", forge.ErrRejected, run.Conclusion, run.Status)
	}
	return nil
}

// checkPut is one call of PutCheckRun.
type checkPut struct {
	client  *gh.Client
	repo    forge.Repo
	run     *forge.CheckRun
	appID   int64
	spacing time.Duration
	list    []forge.Annotation // all that shall be there in the end
	more    int                // left out for want of room
}

func (p *checkPut) put(ctx context.Context) error {
	if p.run.Unsure {
		if err := p.look(ctx); err != nil {
			return err
		}
	}
	if p.run.ID == 0 {
		p.run.Sent = 0 // a new check run has none
	}
	// At least one request is made: what changed may be something else than annotations.
	for first := true; first || p.run.Sent < len(p.list); first = false {
		if !first {
			if err := pause(ctx, p.spacing); err != nil {
				return err
			}
		}
		if err := p.write(ctx); err != nil {
			return err
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// write creates or updates the check run with the next batch of annotations.
func (p *checkPut) write(ctx context.Context) error {
	batch := p.list[min(p.run.Sent, len(p.list)):]
	batch = batch[:min(len(batch), batchLimit)]
	p.run.Unsure = true
	err := p.send(ctx, batch)
	if err == nil {
		p.run.Sent += len(batch)
	}
	// A refusal is an answer too. A write that found its time to be over may
	// have been done; so may one whose connection broke or which got a 5xx.
	p.run.Unsure = err != nil && !answered(err)
	return err
}

// checkBody is the body of both requests: go-github's type for updates has no
// started_at.
type checkBody struct {
	Name        string               `json:"name"`
	HeadSHA     string               `json:"head_sha,omitempty"` // only to create
	DetailsURL  string               `json:"details_url,omitempty"`
	ExternalID  string               `json:"external_id,omitempty"`
	Status      string               `json:"status"`
	Conclusion  string               `json:"conclusion,omitempty"`
	StartedAt   *time.Time           `json:"started_at,omitempty"`
	CompletedAt *time.Time           `json:"completed_at,omitempty"`
	Output      *gh.CheckRunOutput   `json:"output,omitempty"`
	Actions     []*gh.CheckRunAction `json:"actions,omitempty"`
}

func (p *checkPut) send(ctx context.Context, batch []forge.Annotation) error {
	r := p.run
	body := checkBody{
		Name: line(r.Name, titleLimit), DetailsURL: webURL(r.DetailsURL), ExternalID: r.ExternalID,
		Status: r.Status, Conclusion: r.Conclusion,
		StartedAt: seconds(r.StartedAt), CompletedAt: seconds(r.CompletedAt),
		Output: p.output(batch), Actions: actions(r.Actions),
	}
	if r.Status != "completed" {
		body.CompletedAt = nil
	}
	method, path := http.MethodPatch, fmt.Sprintf("repos/%s/%s/check-runs/%d", p.repo.Owner, p.repo.Name, r.ID)
	if r.ID == 0 {
		method, path = http.MethodPost, fmt.Sprintf("repos/%s/%s/check-runs", p.repo.Owner, p.repo.Name)
		body.HeadSHA = r.SHA
	}
	var answer struct {
		ID int64 `json:"id"`
	}
	if err := send(ctx, p.client, method, path, body, &answer); err != nil {
		return err
	}
	if answer.ID == 0 {
		return &forge.RetryError{Err: fmt.Errorf("%s %s: the answer has no id", method, path)}
	}
	r.ID = answer.ID
	return nil
}

// output is nil if there is nothing to say, since the forge wants a title and a
// summary with whatever else is said.
func (p *checkPut) output(batch []forge.Annotation) *gh.CheckRunOutput {
	r := p.run
	if r.Title == "" && r.Summary == "" && r.Text == "" && len(batch) == 0 {
		return nil
	}
	summary := r.Summary
	if p.more > 0 {
		summary = fmt.Sprintf("%d more annotations are not shown.\n\n%s", p.more, summary)
	}
	out := &gh.CheckRunOutput{
		Title:   gh.String(cmp.Or(line(r.Title, titleLimit), line(r.Name, titleLimit))),
		Summary: gh.String(markdown(summary, r.DetailsURL)),
	}
	if r.Text != "" {
		out.Text = gh.String(markdown(r.Text, r.DetailsURL))
	}
	for _, a := range batch {
		out.Annotations = append(out.Annotations, annotation(a))
	}
	return out
}

func annotation(a forge.Annotation) *gh.CheckRunAnnotation {
	out := &gh.CheckRunAnnotation{
		Path: gh.String(a.Path), StartLine: gh.Int(a.StartLine), EndLine: gh.Int(a.EndLine),
		AnnotationLevel: gh.String(a.Level), Message: gh.String(a.Message),
	}
	if a.Column > 0 {
		out.StartColumn, out.EndColumn = gh.Int(a.Column), gh.Int(a.Column)
	}
	if a.Title != "" {
		out.Title = gh.String(a.Title)
	}
	return out
}

func actions(list []forge.CheckAction) []*gh.CheckRunAction {
	var out []*gh.CheckRunAction
	for _, a := range list[:min(len(list), actionLimit)] {
		out = append(out, &gh.CheckRunAction{
			Label:       line(a.Label, labelLimit),
			Description: line(a.Description, actionTextLimit),
			Identifier:  line(a.Identifier, identifierLimit),
		})
	}
	return out
}

// seconds is a time as the forge wants it; nil: none.
func seconds(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Second)
	return &t
}

// look finds out what became of a request whose answer was lost: whether the
// check run exists, and how many annotations it has.
func (p *checkPut) look(ctx context.Context) error {
	found, err := p.find(ctx)
	if err != nil {
		return fmt.Errorf("looking whether it exists: %w", err)
	}
	p.run.Unsure = false
	if found == nil {
		return nil
	}
	p.run.ID = found.GetID()
	p.run.Sent = max(p.run.Sent, found.GetOutput().GetAnnotationsCount())
	return nil
}

// Two pages hold more check runs of one name and commit than anybody reruns.
const lookPages = 2

// find is our check run by its ID or, before that is known, its external ID. It
// is nil if there is none.
func (p *checkPut) find(ctx context.Context) (*gh.CheckRun, error) {
	r := p.run
	if r.ID != 0 {
		if len(p.list) == 0 {
			return nil, nil // updating once more does no harm
		}
		found, _, err := p.client.Checks.GetCheckRun(ctx, p.repo.Owner, p.repo.Name, r.ID)
		if err != nil {
			return nil, refusal(ctx, err)
		}
		return found, nil
	}
	opts := &gh.ListCheckRunsOptions{
		CheckName: gh.String(line(r.Name, titleLimit)), Filter: gh.String("all"),
		ListOptions: gh.ListOptions{PerPage: 100},
	}
	if p.appID != 0 {
		opts.AppID = &p.appID
	}
	for range lookPages {
		list, resp, err := p.client.Checks.ListCheckRunsForRef(ctx, p.repo.Owner, p.repo.Name, r.SHA, opts)
		if err != nil {
			return nil, refusal(ctx, err)
		}
		for _, found := range list.CheckRuns {
			if found.GetExternalID() == r.ExternalID && r.ExternalID != "" {
				return found, nil
			}
		}
		if opts.Page = resp.NextPage; opts.Page == 0 {
			break
		}
	}
	return nil, nil
}

func compareAnnotations(a, b forge.Annotation) int {
	return cmp.Or(
		cmp.Compare(slices.Index(levels, a.Level), slices.Index(levels, b.Level)),
		strings.Compare(a.Path, b.Path),
		cmp.Compare(a.StartLine, b.StartLine), cmp.Compare(a.EndLine, b.EndLine), cmp.Compare(a.Column, b.Column),
		strings.Compare(a.Title, b.Title), strings.Compare(a.Message, b.Message),
	)
}
