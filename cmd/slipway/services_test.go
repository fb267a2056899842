package main

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/internal/config"
	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/store/secrets"
)

// The credential of the source is for trusted builds, and only where it does
// nothing but read their repository.
func TestOrdersLendCredentials(t *testing.T) {
	app := &forges{cfg: config.Config{GitHub: config.GitHub{AppID: 7}}}
	own := &forges{cfg: config.Config{GitHub: config.GitHub{AppID: 7, Token: "t"}}}
	x := shop(pipeline.Action{Name: "plain", Provider: pipeline.CodeBuildProvider})
	for _, tt := range []struct {
		name    string
		forge   string
		forges  *forges
		trusted bool
		want    bool
	}{
		{"a GitHub App", "github", app, true, true},
		{"a stranger's pull request", "github", app, false, false},
		{"a token of one's own", "github", own, true, false},
		{"Bitbucket", "bitbucket", app, true, false},
		{"the built-in git host", "local", &forges{}, true, true},
	} {
		o := shopOrders()
		o.lends = tt.forges.Lends
		y, j := x, jobOf("plain")
		y.Repo.Forge, j.Trusted = tt.forge, tt.trusted
		b, err := o.Build(t.Context(), j, y)
		if err != nil {
			t.Fatal(err)
		}
		if b.Source.Lend != tt.want {
			t.Errorf("%s: got %t", tt.name, b.Source.Lend)
		}
	}
}

type keptSecrets map[string]string

func (k keptSecrets) Lookup(_ context.Context, r secrets.Ref) (string, error) {
	if v, ok := k[r.Name]; ok {
		return v, nil
	}
	return "", fmt.Errorf("%q: %w", r.Name, secrets.ErrNotFound)
}

// What runs beside a build, and what a stranger's build doesn't get of it.
func TestOrdersOfServices(t *testing.T) {
	o := shopOrders()
	o.secrets = keptSecrets{"/db": `{"password":"sesame"}`}
	o.cfg.Images = map[string]string{"db-image": "registry.example.com/db:1"}
	cache := config.Service{Name: "cache", Image: "cache-image", Port: 6379, Timeout: time.Second, Compute: "large"}
	db := config.Service{
		Name: "db", Image: "db-image", Command: []string{"serve"}, Health: "ready",
		Variables: map[string]string{"DB": "test"}, Secrets: map[string]string{"PASSWORD": "/db:password"},
	}
	o.cfg.Projects[0].Services = []config.Service{cache, db}
	o.cfg.Projects[0].Docker = config.DockerEngine{Image: "dind", Options: []string{"--mtu=1400"}}
	o.cfg.Projects[1].Privileged = true
	x := shop(
		pipeline.Action{Name: "plain", Provider: pipeline.CodeBuildProvider},
		pipeline.Action{Name: "deep", Provider: pipeline.CodeBuildProvider, Configuration: map[string]string{pipeline.ConfigProject: "deep"}},
	)
	order := func(action string, trusted bool) *pipeline.BuildOrder {
		t.Helper()
		j := jobOf(action)
		j.Trusted = trusted
		b, err := o.Build(t.Context(), j, x)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	plainCache := pipeline.Service{Name: "cache", Image: "cache-image", Port: 6379, ReadyTimeout: time.Second, Limits: pipeline.Limits{CPUs: 4}}
	want := []pipeline.Service{
		{
			Name: "docker", Image: "dind", Engine: true, Port: 2375,
			Command: []string{"dockerd", "--host=unix:///var/run/docker.sock", "--host=tcp://0.0.0.0:2375", "--tls=false", "--mtu=1400"},
		},
		plainCache,
		{
			Name: "db", Image: "registry.example.com/db:1", Command: []string{"serve"}, Health: "ready",
			Variables: []pipeline.Variable{{Name: "DB", Value: "test"}, {Name: "PASSWORD", Value: "sesame", Secret: true}},
		},
	}
	b := order("plain", true)
	if diff := cmp.Diff(want, b.Services); diff != "" || b.Notes != nil || b.Privileged {
		t.Errorf("notes %q, privileged %t (-want +got)\n%s", b.Notes, b.Privileged, diff)
	}
	b = order("plain", false)
	const because = ", because nobody vouches for the code that is built"
	notes := []string{"this build has no Docker engine" + because, "the service db, which has secrets, is left out" + because}
	if diff := cmp.Diff([]pipeline.Service{plainCache}, b.Services) + cmp.Diff(notes, b.Notes); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if b := order("deep", true); !b.Privileged || b.Notes != nil || b.Services != nil {
		t.Errorf("a privileged project: %+v", b)
	}
	if b := order("deep", false); b.Privileged || len(b.Notes) != 1 || b.Notes[0] != "this build has no privileged container"+because {
		t.Errorf("a stranger's build of a privileged project: %+v", b)
	}
	o.secrets = keptSecrets{}
	if _, err := o.Build(t.Context(), jobOf("plain"), x); err == nil || err.Error() != `the server has no secret "/db:password", which the service db needs` {
		t.Errorf("got %v", err)
	}
}
