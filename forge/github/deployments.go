package github

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	gh "github.com/google/go-github/v60/github"

	"github.com/slipway-ci/slipway/forge"
)

var deploymentStates = []string{"queued", "in_progress", "success", "failure", "error", "inactive"}

// PutDeployment makes the forge show a deployment in a state: it creates the
// deployment if its ID is 0. It sets ID and Unsure, also when it fails, and a
// caller that tries again passes what they became; then no deployment appears
// twice. A success makes earlier ones of a non-production environment inactive.
func (c *Client) PutDeployment(ctx context.Context, repo forge.Repo, installation int64, d *forge.Deployment, s forge.DeploymentState) error {
	err := checkDeployment(*d, s)
	var client *gh.Client
	if err == nil {
		ctx, client, err = c.on(ctx, installation, repo, Permissions{"deployments": "write"})
	}
	if err == nil && d.ID == 0 {
		if err = createDeployment(ctx, client, repo, d); err == nil {
			err = pause(ctx, c.spacing)
		}
	}
	if err == nil {
		err = setDeploymentState(ctx, client, repo, *d, s)
	}
	if err != nil {
		return fmt.Errorf("deployment of %s to %q: %w", repo.FullName(), line(d.Environment, titleLimit), err)
	}
	return nil
}

// checkDeployment refuses what the forge would.
func checkDeployment(d forge.Deployment, s forge.DeploymentState) error {
	switch {
	case checkSHA("", d.SHA) != nil:
		return fmt.Errorf("%w: %q is no commit", forge.ErrRejected, short(d.SHA))
	case d.Environment == "":
		return fmt.Errorf("%w: a deployment needs an environment", forge.ErrRejected)
	case !slices.Contains(deploymentStates, s.State):
		return fmt.Errorf("%w: state %q", forge.ErrRejected, s.State)
	}
	return nil
}

// deploymentBody always says auto_merge and required_contexts: left out, GitHub
// would merge the default branch, and would want all checks to be green.
type deploymentBody struct {
	Ref              string            `json:"ref"`
	Task             string            `json:"task"`
	AutoMerge        bool              `json:"auto_merge"`
	RequiredContexts []string          `json:"required_contexts"`
	Environment      string            `json:"environment"`
	Description      string            `json:"description"`
	Payload          map[string]string `json:"payload"`
	Production       bool              `json:"production_environment"`
	Transient        bool              `json:"transient_environment"`
}

func createDeployment(ctx context.Context, client *gh.Client, repo forge.Repo, d *forge.Deployment) error {
	path := fmt.Sprintf("repos/%s/%s/deployments", repo.Owner, repo.Name)
	if d.Unsure {
		id, err := findDeployment(ctx, client, path, *d)
		if err != nil {
			return fmt.Errorf("looking whether it exists: %w", err)
		}
		d.Unsure = false
		if d.ID = id; id != 0 {
			return nil
		}
	}
	body := deploymentBody{
		Ref: d.SHA, Task: d.Task, RequiredContexts: []string{}, Environment: line(d.Environment, titleLimit),
		Description: line(d.Description, descriptionLimit), Payload: map[string]string{"slipway": d.Key}, Production: d.Production,
	}
	var answer struct {
		ID int64 `json:"id"`
	}
	d.Unsure = true
	err := send(ctx, client, http.MethodPost, path, body, &answer)
	d.ID = answer.ID
	d.Unsure = err != nil && !answered(err)
	if err == nil && d.ID == 0 {
		d.Unsure = true
		return &forge.RetryError{Err: fmt.Errorf("POST %s: the answer has no id", path)}
	}
	return err
}

// findDeployment is the ID of ours with the same key; 0: there is none.
func findDeployment(ctx context.Context, client *gh.Client, path string, d forge.Deployment) (int64, error) {
	query := url.Values{"sha": {d.SHA}, "environment": {line(d.Environment, titleLimit)}, "task": {d.Task}, "per_page": {"100"}}
	var list []struct {
		ID      int64           `json:"id"`
		Payload json.RawMessage `json:"payload"`
	}
	if err := send(ctx, client, http.MethodGet, path+"?"+query.Encode(), nil, &list); err != nil {
		return 0, err
	}
	for _, found := range list {
		var payload map[string]any // anybody's, of any shape
		if json.Unmarshal(found.Payload, &payload) == nil && payload["slipway"] == d.Key {
			return found.ID, nil
		}
	}
	return 0, nil
}

// stateBody is that of a deployment's status.
type stateBody struct {
	State          string `json:"state"`
	LogURL         string `json:"log_url,omitempty"`
	Description    string `json:"description"`
	EnvironmentURL string `json:"environment_url,omitempty"`
	AutoInactive   bool   `json:"auto_inactive"`
}

func setDeploymentState(ctx context.Context, client *gh.Client, repo forge.Repo, d forge.Deployment, s forge.DeploymentState) error {
	return send(ctx, client, http.MethodPost, fmt.Sprintf("repos/%s/%s/deployments/%d/statuses", repo.Owner, repo.Name, d.ID), stateBody{
		State: s.State, LogURL: webURL(s.LogURL), Description: line(s.Description, descriptionLimit),
		EnvironmentURL: webURL(s.EnvironmentURL), AutoInactive: true,
	}, nil)
}
