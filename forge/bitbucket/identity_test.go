package bitbucket

import (
	"testing"

	"github.com/slipway-ci/slipway/forge/forgetest"
)

// Who did something is whom the forge names, not whom the commit names: anyone
// can write any author into a commit.
//
// Attacks: 2.
func TestCommitsNameNobody(t *testing.T) {
	push := forgetest.Push{Ref: "refs/heads/x", Before: shaB, After: shaA, Sender: "mallory", Message: "Signed-off-by: root"}
	forged := map[string]any{"raw": "root <root@example.com>", "user": map[string]any{"nickname": "root", "account_id": "1"}, "name": "root", "slug": "root"}
	cloud := forgetest.CloudPush(someRepo, push)
	change := cloud["push"].(map[string]any)["changes"].([]any)[0].(map[string]any)
	change["new"].(map[string]any)["target"].(map[string]any)["author"] = forged
	e, err := DecodeCloud("bitbucket", headers("repo:push"), encode(t, cloud), "https://bitbucket.org/")
	if err != nil || e.Sender.Login != "mallory" {
		t.Errorf("Cloud: %v, got %+v", err, e.Sender)
	}
	server := forgetest.ServerPush(someRepo, push)
	server["commits"] = []any{map[string]any{"id": shaA, "author": forged, "committer": forged}}
	e, err = DecodeServer("bitbucket-server", headers("repo:refs_changed"), encode(t, server), "https://git.example.com")
	if err != nil || e.Sender.Login != "mallory" {
		t.Errorf("Data Center: %v, got %+v", err, e.Sender)
	}
}
