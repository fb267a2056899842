package github

import (
	"encoding/json"
	"testing"

	"github.com/slipway-ci/slipway/forge/forgetest"
)

// Who did something is whom the forge names, not whom the commit names: anyone
// can write any author into a commit.
//
// Attacks: 2.
func TestCommitsNameNobody(t *testing.T) {
	repo := forgetest.Repo{ID: 7, Owner: "octo", Name: "web", DefaultBranch: "main"}
	payload := forgetest.Push{Ref: "refs/heads/x", After: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", Sender: "mallory", Message: "Signed-off-by: root"}.Payload(repo)
	forged := map[string]any{"name": "root", "email": "root@example.com", "username": "root"}
	commit := payload["head_commit"].(map[string]any)
	commit["author"], commit["committer"], payload["pusher"] = forged, forged, forged
	body, err := json.Marshal(payload)
	if err != nil {
		t.Fatal(err)
	}
	e, err := Decode("github", headers("push"), body, "")
	if err != nil || e.Sender.Login != "mallory" || e.Sender.ID == "" {
		t.Errorf("%v, got %+v", err, e.Sender)
	}
}
