package github

import (
	"errors"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/forge/forgetest"
)

func deployment() *forge.Deployment {
	return &forge.Deployment{SHA: testSHA, Task: "deploy", Environment: "staging", Description: "Deployment d-1 of default", Key: "e1/Deploy/web/1"}
}

// C33: auto_merge false, required_contexts [], then queued, in_progress,
// success with log_url; descriptions of at most 140 characters.
func TestC33DeploymentLife(t *testing.T) {
	w := newWorld(t, forgetest.Options{}, Options{})
	d := deployment()
	for _, state := range []string{"queued", "in_progress", "success"} {
		s := forge.DeploymentState{State: state, Description: strings.Repeat("ä", 200), LogURL: "https://ci.example/deployments/d-1", EnvironmentURL: "https://staging.example"}
		if err := w.client.PutDeployment(t.Context(), w.repo, 1, d, s); err != nil {
			t.Fatal(err)
		}
	}
	next := deployment()
	next.Key = "e2/Deploy/web/1"
	if err := w.client.PutDeployment(t.Context(), w.repo, 1, next, forge.DeploymentState{State: "success"}); err != nil {
		t.Fatal(err)
	}
	list := w.Deployments("octo/hello")
	if len(list) != 2 || list[0].Environment != "staging" || list[0].SHA != testSHA {
		t.Fatalf("%+v", list)
	}
	var states []string
	for _, s := range list[0].Statuses {
		states = append(states, s.State)
	}
	if got := strings.Join(states, " "); got != "queued in_progress success inactive" {
		t.Errorf("states %q", got)
	}
	if s := list[0].Statuses[2]; s.LogURL == "" || s.EnvironmentURL == "" {
		t.Errorf("%+v", s)
	}
}

// C37 for deployments: one whose creation's answer was lost is found again.
func TestDeploymentIsNotCreatedTwice(t *testing.T) {
	w := newWorld(t, forgetest.Options{}, Options{})
	w.Fail(forgetest.Fault{On: "POST /repos/octo/hello/deployments", Drop: true, Times: 1})
	d := deployment()
	err := w.client.PutDeployment(t.Context(), w.repo, 1, d, forge.DeploymentState{State: "queued"})
	if _, ok := errors.AsType[*forge.RetryError](err); !ok || !d.Unsure {
		t.Fatalf("%v, unsure %v", err, d.Unsure)
	}
	if err := w.client.PutDeployment(t.Context(), w.repo, 1, d, forge.DeploymentState{State: "queued"}); err != nil {
		t.Fatal(err)
	}
	if list := w.Deployments("octo/hello"); len(list) != 1 || len(list[0].Statuses) != 1 {
		t.Errorf("%+v", list)
	}
}

func TestDeploymentRefusals(t *testing.T) {
	w := newWorld(t, forgetest.Options{}, Options{})
	w.Grant(1, map[string]string{"metadata": "read"})
	if err := w.client.PutDeployment(t.Context(), w.repo, 1, deployment(), forge.DeploymentState{State: "queued"}); !errors.Is(err, forge.ErrForbidden) {
		t.Errorf("without the permission: %v", err)
	}
	if err := w.client.PutDeployment(t.Context(), w.repo, 1, deployment(), forge.DeploymentState{State: "waiting"}); !errors.Is(err, forge.ErrRejected) {
		t.Errorf("an unknown state: %v", err)
	}
}
