package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/forge/forgetest"
	"github.com/slipway-ci/slipway/internal/testenv"
)

const (
	cloudEntry  = "bitbucket"
	serverEntry = "bitbucket-server"
	bbToken     = "bitbucket-access-token-0123456789"
)

// bitbucketFake is what the fakes of both products can do.
type bitbucketFake interface {
	AddRepo(forgetest.BitbucketRepo) forgetest.BitbucketRepo
	AddCommit(fullName, sha string)
	SetPull(fullName string, p forgetest.Pull)
	SetChanges(fullName, base, head string, files []forgetest.File)
	SetPermission(fullName, user, permission string)
	Statuses(fullName, sha string) []forgetest.BuildStatus
	Reports(fullName, sha string) []forgetest.InsightReport
	Comments(fullName string, pull int) []forgetest.BitbucketComment
	Write(fullName string, pull int, author, body string) forgetest.BitbucketComment
	Fail(forgetest.Fault)
}

// bitbuckets is an installation with both products.
type bitbuckets struct {
	*system
	git   *gitHost
	fakes map[string]bitbucketFake // by forge entry
}

func newBitbuckets(t *testing.T) *bitbuckets {
	t.Helper()
	return bitbucketsOf(t, setup{runners: []string{"host"}, slots: 2})
}

// bitbucketsOf is an installation of that setup with both products.
func bitbucketsOf(t *testing.T, o setup) *bitbuckets {
	t.Helper()
	needs(t)
	git, err := newGitHost(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	git.login = func(user, password string) bool { return user == "x-token-auth" && password == bbToken }
	t.Cleanup(func() { _ = git.close() })
	cloud := forgetest.NewBitbucketCloud(t, forgetest.BitbucketOptions{Token: bbToken, Spec: describedBy("bitbucket-cloud.json")})
	server := forgetest.NewBitbucketServer(t, forgetest.BitbucketOptions{
		Token: bbToken, Spec: describedBy("bitbucket-datacenter.json"), Git: http.StripPrefix("/scm", git.server.Handler),
	})
	o.config += fmt.Sprintf(`
bitbucket: {webhook_secret: %q, token: %s, api_url: %q, clone_url: %q}
bitbucket_server: {webhook_secret: %q, token: %s, url: %q}
`, webhookSecret, bbToken, strings.TrimSuffix(cloud.URL, "/"), git.url, webhookSecret, bbToken, server.Web)
	return &bitbuckets{newSystem(t, o), git, map[string]bitbucketFake{cloudEntry: cloud, serverEntry: server}}
}

// describedBy is a description to check requests against, where it is there.
func describedBy(name string) string {
	file := filepath.Join(testenv.Root(), "..", "shared", "openapi", name)
	if _, err := os.Stat(file); err != nil {
		return ""
	}
	return file
}

// gitName is a repository's name for git: Data Center writes keys in lower case.
func gitName(entry, fullName string) string {
	if project, name, _ := strings.Cut(fullName, "/"); entry == serverEntry {
		return strings.ToLower(project) + "/" + name
	}
	return fullName
}

func (b *bitbuckets) repo(t *testing.T, entry string, r forgetest.BitbucketRepo) forgetest.BitbucketRepo {
	t.Helper()
	r = b.fakes[entry].AddRepo(r)
	if err := b.git.create(gitName(entry, r.FullName())); err != nil {
		t.Fatal(err)
	}
	return r
}

func (b *bitbuckets) commit(t *testing.T, entry string, r forgetest.BitbucketRepo, branch string, files map[string]string) forgetest.Push {
	t.Helper()
	sha, before, err := b.git.commit(gitName(entry, r.FullName()), branch, "change "+branch, files)
	if err != nil {
		t.Fatal(err)
	}
	b.fakes[entry].AddCommit(r.FullName(), sha)
	return forgetest.Push{Ref: "refs/heads/" + branch, Before: before, After: sha, Message: "change " + branch}
}

// deliver sends a webhook that must be acknowledged and waits for what becomes
// of it.
func (b *bitbuckets) deliver(t *testing.T, entry, event string, payload any) delivery {
	t.Helper()
	answer, err := forgetest.DeliverBitbucket(t.Context(), b.url+"/webhooks/"+entry, forgetest.Delivery{Event: event, Secret: webhookSecret, Payload: payload})
	if err != nil || answer.Status != 202 {
		t.Fatalf("delivering %s: %v, got %d %s, want 202", event, err, answer.Status, answer.Body)
	}
	return b.decision(t, entry, answer.ID)
}

func (b *bitbuckets) decision(t *testing.T, entry, id string) (d delivery) {
	t.Helper()
	await(t, startLimit, func(ctx context.Context) error {
		if err := b.call(ctx, "GET", "/api/v1/deliveries/"+id+"?forge="+entry, nil, &d); err != nil {
			return err
		}
		if d.Decision == "" {
			return fmt.Errorf("delivery %s is not decided", id)
		}
		return nil
	})
	return d
}

func (b *bitbuckets) awaitStatus(t *testing.T, entry string, r forgetest.BitbucketRepo, sha, state string) (found forgetest.BuildStatus) {
	t.Helper()
	await(t, buildLimit, func(context.Context) error {
		all := b.fakes[entry].Statuses(r.FullName(), sha)
		if len(all) != 1 || all[0].State != state {
			return fmt.Errorf("statuses of %s: %+v, want one that is %s", sha, all, state)
		}
		found = all[0]
		return nil
	})
	return found
}

func (b *bitbuckets) awaitReport(t *testing.T, entry string, r forgetest.BitbucketRepo, sha, result string) {
	t.Helper()
	await(t, buildLimit, func(context.Context) error {
		if all := b.fakes[entry].Reports(r.FullName(), sha); len(all) != 1 || !strings.HasPrefix(all[0].Result, result) {
			return fmt.Errorf("reports of %s: %+v, want one that is %s", sha, all, result)
		}
		return nil
	})
}

// words are what the two products call things.
var words = map[string]struct {
	push, opened, updated, stopped, comment string
	pushed                                  func(forgetest.BitbucketRepo, ...forgetest.Push) map[string]any
	pull                                    func(forgetest.BitbucketRepo, forgetest.Pull) map[string]any
	said                                    func(forgetest.BitbucketRepo, forgetest.Pull, forgetest.BitbucketComment) map[string]any
	user                                    func(name string) string
}{
	cloudEntry: {
		"repo:push", "pullrequest:created", "pullrequest:updated", "STOPPED", "pullrequest:comment_created",
		forgetest.CloudPush, forgetest.CloudPullPayload, forgetest.CloudCommentPayload, forgetest.CloudUserID,
	},
	serverEntry: {
		"repo:refs_changed", "pr:opened", "pr:from_ref_updated", "CANCELLED", "pr:comment:added",
		forgetest.ServerPush, forgetest.ServerPullPayload, forgetest.ServerCommentPayload, func(name string) string { return name },
	},
}

// C45 to C48: a push of several refs, pull requests and their edits, forks, and
// comments, from the webhook to the build status.
func TestBitbucket(t *testing.T) {
	t.Parallel()
	b := newBitbuckets(t)
	for _, entry := range []string{cloudEntry, serverEntry} {
		t.Run(entry, func(t *testing.T) {
			r := b.repo(t, entry, forgetest.BitbucketRepo{Owner: "ACME", Name: "web", Private: true})
			b.push(t, entry, r)
			b.pulls(t, entry, r)
		})
	}
}

func (b *bitbuckets) push(t *testing.T, entry string, r forgetest.BitbucketRepo) {
	w := words[entry]
	main := b.commit(t, entry, r, "main", buildspec("sleep 2"))
	tag := forgetest.Push{Ref: "refs/tags/v1", After: main.After}
	gone := forgetest.Push{Ref: "refs/heads/old", Before: main.After}
	d := b.deliver(t, entry, w.push, w.pushed(r, main, tag, gone))
	if d.Decision != "started" || len(d.Executions) != 1 || !strings.Contains(d.Reason, "refs/heads/old was deleted") || !strings.Contains(d.Reason, "refs/tags/v1") {
		t.Errorf("got %+v", d)
	}
	s := b.awaitStatus(t, entry, r, main.After, "SUCCESSFUL")
	if s.History[0] != "INPROGRESS" || len(s.Key) > 40 || s.Ref == "" || !strings.HasPrefix(s.URL, b.url) || s.Name != "slipway / default" {
		t.Errorf("got %+v", s)
	}
	b.awaitReport(t, entry, r, main.After, "PASS")
	two := []forgetest.Push{b.commit(t, entry, r, "one", buildspec("echo built")), b.commit(t, entry, r, "two", buildspec("false"))}
	// The forge is down for a moment: nothing is lost by it.
	b.fakes[entry].Fail(forgetest.Fault{On: "POST", Status: 503, Times: 2})
	if d := b.deliver(t, entry, w.push, w.pushed(r, two...)); len(d.Executions) != 2 || d.Executions[0] == d.Executions[1] {
		t.Errorf("got %+v, want two executions", d)
	}
	b.awaitStatus(t, entry, r, two[0].After, "SUCCESSFUL")
	b.awaitStatus(t, entry, r, two[1].After, "FAILED")
	b.awaitReport(t, entry, r, two[1].After, "FAIL")
}

func (b *bitbuckets) pulls(t *testing.T, entry string, r forgetest.BitbucketRepo) {
	w := words[entry]
	base := b.commit(t, entry, r, "main", buildspec("echo built"))
	topic := b.commit(t, entry, r, "topic", buildspec("echo built"))
	p := forgetest.Pull{Number: 7, Title: "a change", Head: "topic", HeadSHA: topic.After, Base: "main", BaseSHA: base.After, Author: "ada"}
	set := func() { b.setPull(t, entry, r, p) }
	set()
	if d := b.deliver(t, entry, w.opened, w.pull(r, p)); d.Decision != "started" {
		t.Fatalf("got %+v", d)
	}
	if s := b.awaitStatus(t, entry, r, p.HeadSHA, "SUCCESSFUL"); !strings.HasSuffix(s.Ref, "topic") {
		t.Errorf("got %+v, want it on the pull request", s)
	}
	if entry == cloudEntry {
		// C46: an edit of the title.
		if d := b.deliver(t, entry, w.updated, w.pull(r, p)); d.Decision != "ignored" || !strings.Contains(d.Reason, "is still") {
			t.Errorf("got %+v", d)
		}
	}
	p.HeadSHA = b.commit(t, entry, r, "topic", buildspec("echo again")).After
	set()
	if d := b.deliver(t, entry, w.push, w.pushed(r, forgetest.Push{Ref: "refs/heads/topic", Before: topic.After, After: p.HeadSHA})); d.Decision != "ignored" || !strings.Contains(d.Reason, "#7") {
		t.Errorf("a push to a pull request's branch: got %+v", d)
	}
	if d := b.deliver(t, entry, w.updated, w.pull(r, p)); d.Decision != "started" {
		t.Errorf("got %+v", d)
	}
	b.awaitStatus(t, entry, r, p.HeadSHA, "SUCCESSFUL")
	b.talk(t, entry, r, p)
	fork := forgetest.Pull{Number: 8, Head: "topic", HeadSHA: strings.Repeat("d", 40), Base: "main", BaseSHA: base.After, HeadRepo: 99, Author: "eve"}
	b.fakes[entry].SetPull(r.FullName(), fork)
	if d := b.deliver(t, entry, w.opened, w.pull(r, fork)); d.Decision != "ignored" || len(d.Executions) != 0 || !strings.Contains(d.Reason, "fork") {
		t.Errorf("got %+v", d)
	}
	b.awaitStatus(t, entry, r, fork.HeadSHA, "INPROGRESS")
}

// setPull has a pull request at the forge, with the ref that Data Center has.
func (b *bitbuckets) setPull(t *testing.T, entry string, r forgetest.BitbucketRepo, p forgetest.Pull) {
	t.Helper()
	b.fakes[entry].SetPull(r.FullName(), p)
	ref := fmt.Sprintf("refs/pull-requests/%d/from", p.Number)
	if err := b.git.git("-C", b.git.path(gitName(entry, r.FullName())), "update-ref", ref, p.HeadSHA); err != nil {
		t.Fatal(err)
	}
}

// talk asks for a pull request's state in a comment, and for what isn't there.
func (b *bitbuckets) talk(t *testing.T, entry string, r forgetest.BitbucketRepo, p forgetest.Pull) {
	w := words[entry]
	b.fakes[entry].SetPermission(r.FullName(), w.user("ada"), "write")
	c := b.fakes[entry].Write(r.FullName(), p.Number, "ada", "/retest\n")
	d := b.deliver(t, entry, w.comment, w.said(r, p, c))
	if d.Decision == "failed" || strings.Contains(d.Reason, "no command") {
		t.Errorf("got %+v", d)
	}
	await(t, startLimit, func(context.Context) error {
		all := b.fakes[entry].Comments(r.FullName(), p.Number)
		if len(all) < 2 {
			return fmt.Errorf("comments: %+v, want an answer", all)
		}
		return nil
	})
}

// bitbucketVerdicts say what is made of each recorded payload: what happened,
// and what the ledger gives for a reason. A new tag whose commit can't be read
// starts an execution that says so: a pipeline file might have named it.
var bitbucketVerdicts = map[string]struct{ decision, reason string }{
	"bitbucket-cloud/issue-comment_created.1":       {"ignored", "nothing is triggered by issue:comment_created"},
	"bitbucket-cloud/issue-created.1":               {"ignored", "nothing is triggered by issue:created"},
	"bitbucket-cloud/pullrequest-comment_created.2": {"ignored", "the comment has no command"},
	"bitbucket-cloud/pullrequest-created.1":         {"ignored", "pull request #1 is closed"},
	"bitbucket-cloud/pullrequest-created.2":         {"started", "pull request #1 opened"},
	"bitbucket-cloud/pullrequest-created.6":         {"started", "pull request #735 opened"},
	"bitbucket-cloud/pullrequest-created.7":         {"ignored", "fork"},
	"bitbucket-cloud/pullrequest-fulfilled.1":       {"ignored", "the repository does not have this commit"},
	"bitbucket-cloud/pullrequest-fulfilled.2":       {"ignored", "the repository does not have this commit"},
	"bitbucket-cloud/pullrequest-fulfilled.5":       {"ignored", "the repository does not have this commit"},
	"bitbucket-cloud/pullrequest-rejected.1":        {"ignored", "the repository does not have this commit"},
	"bitbucket-cloud/pullrequest-rejected.3":        {"ignored", "the repository does not have this commit"},
	"bitbucket-cloud/pullrequest-rejected.5":        {"ignored", "the repository does not have this commit"},
	"bitbucket-cloud/pullrequest-unapproved.1":      {"ignored", "nothing is triggered by pullrequest:unapproved"},
	"bitbucket-cloud/pullrequest-updated.2":         {"ignored", "fork"},
	"bitbucket-cloud/pullrequest-updated.3":         {"ignored", "fork"},
	"bitbucket-cloud/pullrequest-updated.5":         {"started", "pull request #1 synchronize"},
	"bitbucket-cloud/repo-commit_comment_created.1": {"ignored", "nothing is triggered by repo:commit_comment_created"},
	"bitbucket-cloud/repo-commit_status_created.1":  {"ignored", "nothing is triggered by repo:commit_status_created"},
	"bitbucket-cloud/repo-commit_status_updated.1":  {"ignored", "nothing is triggered by repo:commit_status_updated"},
	"bitbucket-cloud/repo-fork.1":                   {"ignored", "nothing is triggered by repo:fork"},
	"bitbucket-cloud/repo-push.1":                   {"started", "push to branch name-of-branch"},
	"bitbucket-cloud/repo-push.10":                  {"started", "refs/tags/test"},
	"bitbucket-cloud/repo-push.13":                  {"started", "push to branch feature/test"},
	"bitbucket-cloud/repo-push.2":                   {"started", "push to branch master"},
	"bitbucket-cloud/repo-push.3":                   {"started", "push to branch develop"},
	"bitbucket-cloud/repo-push.4":                   {"ignored", "refs/heads/develop was deleted"},
	"bitbucket-cloud/repo-push.5":                   {"started", "refs/tags/feature/x"},
	"bitbucket-cloud/repo-push.7":                   {"started", "push to branch main"},
	"bitbucket-cloud/repo-push.8":                   {"ignored", "nothing is triggered by repo:push"},
	"bitbucket-cloud/repo-push.9":                   {"started", "push to branch manchu"},
	"bitbucket-cloud/repo-updated.1":                {"ignored", "nothing is triggered by repo:updated"},
	"bitbucket-dc/diagnostics-ping.1":               {"ignored", "a test of the webhook"},
	"bitbucket-dc/legacy-pullrequest.1":             {"ignored", "nothing is triggered by legacy"},
	"bitbucket-dc/legacy-push.1":                    {"ignored", "nothing is triggered by legacy"},
	"bitbucket-dc/mirror-repo_synchronized.2":       {"ignored", "nothing is triggered by mirror:repo_synchronized"},
	"bitbucket-dc/post-webhooks-plugin.2":           {"ignored", "nothing is triggered by post-webhooks-plugin"},
	"bitbucket-dc/post-webhooks-plugin.6":           {"ignored", "nothing is triggered by post-webhooks-plugin"},
	"bitbucket-dc/post-webhooks-plugin.7":           {"ignored", "nothing is triggered by post-webhooks-plugin"},
	"bitbucket-dc/post-webhooks-plugin.8":           {"ignored", "nothing is triggered by post-webhooks-plugin"},
	"bitbucket-dc/pr-comment-added.2":               {"ignored", "the comment has no command"},
	"bitbucket-dc/pr-comment-added.3":               {"ignored", "the comment has no command"},
	"bitbucket-dc/pr-comment-deleted.1":             {"ignored", "nothing is triggered by pr:comment:deleted"},
	"bitbucket-dc/pr-comment-edited.1":              {"ignored", "nothing is triggered by pr:comment:edited"},
	"bitbucket-dc/pr-declined.1":                    {"ignored", "the repository does not have this commit"},
	"bitbucket-dc/pr-declined.3":                    {"ignored", "the repository does not have this commit"},
	"bitbucket-dc/pr-deleted.1":                     {"ignored", "the repository does not have this commit"},
	"bitbucket-dc/pr-deleted.3":                     {"ignored", "the repository does not have this commit"},
	"bitbucket-dc/pr-from_ref_updated.1":            {"started", "pull request #2 synchronize"},
	"bitbucket-dc/pr-merged.2":                      {"ignored", "the repository does not have this commit"},
	"bitbucket-dc/pr-merged.3":                      {"ignored", "got closed"}, // of a fork
	"bitbucket-dc/pr-modified.2":                    {"ignored", "got edited"},
	"bitbucket-dc/pr-opened.1":                      {"started", "pull request #5 opened"},
	"bitbucket-dc/pr-opened.3":                      {"started", "pull request #1 opened"},
	"bitbucket-dc/pr-opened.5":                      {"started", "pull request #1 opened"},
	"bitbucket-dc/pr-opened.7":                      {"ignored", "fork"},
	"bitbucket-dc/pr-reviewer-approved.2":           {"ignored", "nothing is triggered by pr:reviewer:approved"},
	"bitbucket-dc/pr-reviewer-needs_work.2":         {"ignored", "nothing is triggered by pr:reviewer:needs_work"},
	"bitbucket-dc/pr-reviewer-unapproved.2":         {"ignored", "nothing is triggered by pr:reviewer:unapproved"},
	"bitbucket-dc/pr-reviewer-updated.1":            {"ignored", "nothing is triggered by pr:reviewer:updated"},
	"bitbucket-dc/repo-comment-added.1":             {"ignored", "nothing is triggered by repo:comment:added"},
	"bitbucket-dc/repo-comment-deleted.1":           {"ignored", "nothing is triggered by repo:comment:deleted"},
	"bitbucket-dc/repo-comment-edited.1":            {"ignored", "nothing is triggered by repo:comment:edited"},
	"bitbucket-dc/repo-forked.1":                    {"ignored", "nothing is triggered by repo:forked"},
	"bitbucket-dc/repo-modified.1":                  {"ignored", "nothing is triggered by repo:modified"},
	"bitbucket-dc/repo-push.1":                      {"ignored", "nothing is triggered by repo:push"},
	"bitbucket-dc/repo-refs_changed.10":             {"ignored", "nothing is triggered by repo:refs_changed"},
	"bitbucket-dc/repo-refs_changed.14":             {"started", "refs/tags/simple-tag"},
	"bitbucket-dc/repo-refs_changed.15":             {"ignored", "refs/tags/simple-tag was deleted"},
	"bitbucket-dc/repo-refs_changed.16":             {"started", "push to branch renovate-all"},
	"bitbucket-dc/repo-refs_changed.2":              {"ignored", "refs/heads/feature/wip was deleted"},
	"bitbucket-dc/repo-refs_changed.3":              {"started", "push to branch master"},
	"bitbucket-dc/repo-refs_changed.4":              {"started", "push to branch develop"},
	"bitbucket-dc/repo-refs_changed.7":              {"ignored", "refs/tags/v1.1.0 was deleted"},
}

// bbRecorded is one payload of the corpora.
type bbRecorded struct {
	key, entry, event string
	body              []byte
}

func (r bbRecorded) id() string { return "corpus-" + strings.ReplaceAll(r.key, "/", "-") }

// TestBitbucketCorpus posts what Bitbuckets have really sent, in any order and
// each twice, with the right signature and with a wrong one.
func TestBitbucketCorpus(t *testing.T) {
	t.Parallel()
	all := readBitbucketCorpus(t)
	if len(all) != len(bitbucketVerdicts) {
		t.Fatalf("%d payloads, want the %d of the table", len(all), len(bitbucketVerdicts))
	}
	b := newBitbuckets(t)
	b.hostCorpus(t, all)
	b.postCorpus(t, all)
	for _, r := range all {
		want := bitbucketVerdicts[r.key]
		d := b.decision(t, r.entry, r.id())
		if d.Decision != want.decision || !strings.Contains(d.Reason, want.reason) || (len(d.Executions) > 0) != (want.decision == "started") || d.Verdict != "accepted" {
			t.Errorf("%s: got %+v, want %s because %q", r.key, d, want.decision, want.reason)
		}
	}
	// Data Center's test of a webhook, as it comes without a signature.
	answer, err := forgetest.DeliverBitbucket(t.Context(), b.url+"/webhooks/"+serverEntry, forgetest.Delivery{Event: "diagnostics:ping", Payload: []byte(`{"test":true}`)})
	if err != nil || answer.Status != 200 || !bytes.Contains(answer.Body, []byte("pong")) {
		t.Errorf("%v, got %d %s, want 200 pong", err, answer.Status, answer.Body)
	}
}

func readBitbucketCorpus(t *testing.T) (all []bbRecorded) {
	t.Helper()
	for name, entry := range map[string]string{"bitbucket-cloud": cloudEntry, "bitbucket-dc": serverEntry} {
		folder := testenv.Shared(t, "corpus/"+name)
		index, err := os.ReadFile(filepath.Join(folder, "index.tsv"))
		if err != nil {
			t.Fatal(err)
		}
		for row := range strings.Lines(string(index)) {
			column := strings.Split(row, "\t")
			if !strings.HasSuffix(column[0], ".json") {
				continue
			}
			body, err := os.ReadFile(filepath.Join(folder, column[0]))
			if err != nil {
				t.Fatal(err)
			}
			// What has no key is sent with a word that has the shape of one.
			event := strings.ReplaceAll(column[1], " ", ":")
			all = append(all, bbRecorded{name + "/" + strings.TrimSuffix(column[0], ".json"), entry, event, body})
		}
	}
	return all
}

// hostCorpus makes the repositories of the payloads, all with a buildspec, and
// the commits that Cloud shortens. The recorded commits themselves nobody can
// make.
func (b *bitbuckets) hostCorpus(t *testing.T, all []bbRecorded) {
	t.Helper()
	type repo struct {
		UUID     string
		FullName string `json:"full_name"`
		ID       int64
		Slug     string
		Project  struct{ Key string }
	}
	type side struct{ Commit struct{ Hash string } }
	hosted := map[string]map[string]bool{cloudEntry: {}, serverEntry: {}}
	for _, r := range all {
		var p struct {
			Repository  repo
			PullRequest struct {
				ToRef               struct{ Repository repo }
				Source, Destination side
				MergeCommit         struct{ Hash string } `json:"merge_commit"`
			}
		}
		if err := json.Unmarshal(r.body, &p); err != nil {
			t.Fatal(err)
		}
		full := p.Repository.FullName
		for _, one := range []repo{p.Repository, p.PullRequest.ToRef.Repository} {
			if full == "" && one.Slug != "" {
				full = one.Project.Key + "/" + one.Slug
			}
		}
		if owner, name, ok := strings.Cut(full, "/"); ok && !hosted[r.entry][strings.ToLower(full)] {
			hosted[r.entry][strings.ToLower(full)] = true
			made := b.repo(t, r.entry, forgetest.BitbucketRepo{UUID: p.Repository.UUID, Owner: owner, Name: name})
			b.commit(t, r.entry, made, "main", buildspec("echo built"))
		}
		for _, hash := range []string{p.PullRequest.Source.Commit.Hash, p.PullRequest.Destination.Commit.Hash, p.PullRequest.MergeCommit.Hash} {
			if hash != "" && r.entry == cloudEntry {
				b.fakes[r.entry].AddCommit(full, (hash + strings.Repeat("0", 40))[:40])
			}
		}
	}
	if names := slices.Sorted(maps.Keys(hosted[cloudEntry])); len(names) == 0 {
		t.Fatal("no repositories")
	}
}

// postCorpus posts every payload four times.
func (b *bitbuckets) postCorpus(t *testing.T, all []bbRecorded) {
	t.Helper()
	type post struct {
		bbRecorded
		secret string
		want   int
	}
	var posts []post
	for _, r := range all {
		good, bad := post{r, webhookSecret, 202}, post{r, "somebody else's secret", 401}
		posts = append(posts, good, good, bad, bad)
	}
	rand.Shuffle(len(posts), func(i, j int) { posts[i], posts[j] = posts[j], posts[i] })
	for _, p := range posts {
		answer, err := forgetest.DeliverBitbucket(t.Context(), b.url+"/webhooks/"+p.entry, forgetest.Delivery{Event: p.event, ID: p.id(), Secret: p.secret, Payload: p.body})
		if err != nil {
			t.Fatal(err)
		}
		if answer.Status != p.want {
			t.Errorf("%s: got %d %s, want %d", p.key, answer.Status, answer.Body, p.want)
		}
	}
}
