package main

import (
	"context"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/config"
	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner/buildspec"
	"github.com/slipway-ci/slipway/store/secrets"
)

// versions is a store that has every version of every name, and refuses one.
type versions struct{}

func (versions) Lookup(_ context.Context, r secrets.Ref) (string, error) {
	if r.Name == "forbidden" {
		return "", &secrets.RefusedError{Code: "AccessDeniedException", Message: "not you"}
	}
	return `{"user": "` + strings.Join([]string{r.Name, r.Stage, r.VersionID}, "|") + `"}`, nil
}

const storedSpec = `version: 0.2
env:
  variables: {STAGE: dev, OWN: own}
  parameter-store:
    P: /$STAGE/p
    Q: /other/q
  secrets-manager:
    A: "${STAGE}-db:user"
    B: "prod-db:user:AWSPREVIOUS"
    C: "prod-db:user::v1"
    D: forbidden
    E: "$OWN/$NOBODY:user"
    F: "${STAGE}-db:nosuch"
phases:
  build: {commands: [x]}
`

// Names are filled in before they are compared with the project's list, and a
// store's refusal is the build's, in words.
func TestStoredValues(t *testing.T) {
	o := shopOrders()
	o.secrets = versions{}
	p := config.Project{Secrets: []string{"/prod/*", "prod-db", "forbidden", "own/*"}}
	b := &pipeline.BuildOrder{Trusted: true, Buildspec: storedSpec, Variables: []pipeline.Variable{{Name: "STAGE", Value: "test"}, {Name: "STAGE", Value: "prod"}}}
	got, err := o.stored(t.Context(), b, p)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"/$STAGE/p": `{"user": "/prod/p||"}`, "${STAGE}-db:user": "prod-db||", "prod-db:user:AWSPREVIOUS": "prod-db|AWSPREVIOUS|", "prod-db:user::v1": "prod-db||v1",
		"$OWN/$NOBODY:user": "own/${NOBODY}||",
	}
	refused := map[string]string{
		"/other/q": `may not read "/other/q"`, "forbidden": "forbidden: AccessDeniedException: not you", "${STAGE}-db:nosuch": "can't find the specified secret: prod-db:nosuch",
	}
	if len(got) != len(want)+len(refused) {
		t.Errorf("got %d values: %+v", len(got), got)
	}
	for _, v := range got {
		if v.Refused == "" && v.Value != want[v.Ref] || v.Refused != "" && (refused[v.Ref] == "" || !strings.Contains(v.Refused, refused[v.Ref]) || v.Value != "") {
			t.Errorf("%s: got %q, refused %q", v.Ref, v.Value, v.Refused)
		}
	}
	b.Trusted = false
	if got, err := o.stored(t.Context(), b, p); got != nil || err != nil {
		t.Errorf("a stranger's build got %+v, %v", got, err)
	}
}

// A plain store has no older versions, and the message says so.
func TestStoredVersionsOfAFile(t *testing.T) {
	spec, _ := buildspec.Parse("b", []byte("version: 0.2\nenv:\n  secrets-manager: {A: \"db::AWSPREVIOUS\", B: \"db::AWSCURRENT\"}\nphases:\n  build: {commands: [x]}\n"), buildspec.Options{})
	got, err := lookUp(t.Context(), secrets.Values{"db": "now"}, spec, nil, func(string) string { return "" })
	if err != nil || len(got) != 2 || !strings.Contains(got[0].Refused, "only AWS's store keeps other versions") || got[1].Value != "now" {
		t.Errorf("got %+v, %v", got, err)
	}
}
