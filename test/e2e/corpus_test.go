package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/forge/forgetest"
	"github.com/slipway-ci/slipway/internal/testenv"
)

// verdicts say what the implied triggers make of each recorded payload, by the
// design's section 9, and why.
var verdicts = []struct {
	file     string
	decision string // started, ignored; either: whether something of that commit ran before
	reason   string // contained in the ledger's
}{
	{"check_run.completed.2", "ignored", "nothing is triggered by check_run.completed"},
	{"check_run.created.1", "ignored", "nothing is triggered by check_run.created"},
	{"check_run.requested_action.1", "ignored", "the button isn't one of ours"},
	{"check_run.rerequested.2", "ignored", "no execution of ours is known"},
	{"check_suite.completed.1", "ignored", "nothing is triggered by check_suite.completed"},
	{"check_suite.requested.1", "ignored", "nothing is triggered by check_suite.requested"},
	{"check_suite.rerequested.1", "either", ""},
	{"create.none.4", "ignored", "nothing is triggered by create"},
	{"delete.none.3", "ignored", "nothing is triggered by delete"},
	{"installation.created.2", "ignored", "installation created: noted"},
	{"installation.deleted.2", "ignored", "installation deleted: noted"},
	{"installation.new_permissions_accepted.1", "ignored", "installation new_permissions_accepted: noted"},
	{"installation.suspend.1", "ignored", "installation suspend: noted"},
	{"installation.unsuspend.1", "ignored", "installation unsuspend: noted"},
	{"installation_repositories.added.2", "ignored", "installation added: noted"},
	{"installation_repositories.removed.1", "ignored", "installation removed: noted"},
	{"issue_comment.created.5", "ignored", "nothing is triggered by issue_comment.created"},
	{"issue_comment.created.x1", "ignored", "the comment has no command"},
	{"issue_comment.created.x4", "failed", "not found at the forge"}, // its command is understood; its pull request is not at this GitHub,
	{"issue_comment.created.x7", "ignored", "the comment has no command"},
	{"issue_comment.deleted.1", "ignored", "nothing is triggered by issue_comment.deleted"},
	{"issue_comment.edited.1", "ignored", "nothing is triggered by issue_comment.edited"},
	{"ping.none.2", "ignored", "a test of the webhook"},
	{"pull_request.closed.1", "ignored", "the repository does not have this commit"},
	{"pull_request.closed.x1", "ignored", "the repository does not have this commit"},
	{"pull_request.converted_to_draft.3", "ignored", "got converted_to_draft"},
	{"pull_request.labeled.1", "ignored", "got labeled"},
	{"pull_request.opened.2", "started", "pull request #2 opened"},
	{"pull_request.opened.x1", "started", "pull request #1 opened"},
	{"pull_request.ready_for_review.2", "started", "pull request #2 ready_for_review"},
	{"pull_request.reopened.2", "started", "pull request #2 reopened"},
	{"pull_request.reopened.x1", "ignored", "comes from a fork"},
	{"pull_request.synchronize.1", "started", "pull request #2 synchronize"},
	{"push.none.6", "started", "push to branch master"},
	{"push.none.7", "ignored", "refs/tags/simple-tag was deleted"},
	{"push.none.x2", "started", "push to branch master"},
	{"push.none.x3", "started", "push to branch feature-branch"},
	{"push.none.x4", "ignored", "refs/heads/feature-branch was deleted"},
	{"push.none.x7", "started", "push to branch master"},
	{"release.published.1", "ignored", "nothing is triggered by release.published"},
}

// recorded is one payload of the corpus.
type recorded struct {
	file, event string
	body        []byte
	repo        forgetest.Repo
	sha         string // on which it may start something
}

func readRecorded(t *testing.T, path string) recorded {
	t.Helper()
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var p struct {
		After        string
		Installation struct{ ID int64 }
		PullRequest  struct{ Head struct{ SHA string } } `json:"pull_request"`
		Repository   struct {
			ID            int64
			FullName      string `json:"full_name"`
			DefaultBranch string `json:"default_branch"`
		}
	}
	if err := json.Unmarshal(body, &p); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	name := strings.TrimSuffix(filepath.Base(path), ".json")
	owner, short, _ := strings.Cut(p.Repository.FullName, "/")
	r := recorded{file: name, body: body, sha: p.After}
	r.event, _, _ = strings.Cut(name, ".")
	r.repo = forgetest.Repo{ID: p.Repository.ID, Owner: owner, Name: short, DefaultBranch: p.Repository.DefaultBranch, Installation: p.Installation.ID}
	if p.PullRequest.Head.SHA != "" {
		r.sha = p.PullRequest.Head.SHA
	}
	return r
}

// TestCorpus posts what GitHub has really sent, in any order and each twice,
// with the right signature and with a wrong one.
func TestCorpus(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(testenv.Shared(t, "corpus/github"), "*.json"))
	if err != nil || len(files) != len(verdicts) {
		t.Fatalf("%d payloads (%v), want the %d of the table", len(files), err, len(verdicts))
	}
	s := shared(t)
	all := map[string]recorded{}
	for _, f := range files {
		r := readRecorded(t, f)
		all[r.file] = r
	}
	hosted := hostRecorded(t, s, all)
	postShuffled(t, s, all)
	started := 0
	for _, v := range verdicts {
		r, ok := all[v.file]
		if !ok {
			t.Errorf("no payload %s", v.file)
			continue
		}
		d := s.awaitDecision(t, corpusID(r.file))
		want := v.decision
		if want == "either" {
			want = d.Decision
		}
		executions := 0
		if want == "started" {
			executions = 1
		}
		if d.Decision != want || !strings.Contains(d.Reason, v.reason) || len(d.Executions) != executions || d.Verdict != "accepted" {
			t.Errorf("%s: got %+v, want %s with %d executions because %q", v.file, d, want, executions, v.reason)
		}
		for _, id := range d.Executions {
			started++
			// A name that has passed to another repository reaches nobody.
			s.awaitCheck(t, r, id, hosted[r.repo.FullName()].ID == r.repo.ID)
		}
	}
	var p page[execution]
	if err := s.call(t.Context(), "GET", "/api/v1/executions?limit=200", nil, &p); err != nil {
		t.Fatal(err)
	}
	listed := 0
	for _, x := range p.Items {
		for _, r := range all {
			if x.Repo == r.repo.FullName() {
				listed++
				break
			}
		}
	}
	if listed != started {
		t.Errorf("%d executions are listed, want %d", listed, started)
	}
}

// hostRecorded makes the repositories of the payloads, all with a buildspec.
// The recorded commits themselves nobody can make.
func hostRecorded(t *testing.T, s *system, all map[string]recorded) map[string]forgetest.Repo {
	t.Helper()
	repos := map[string]forgetest.Repo{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		r := all[name]
		// Recorded years apart, some name another installation of a repository
		// than those that start something do: that is the one that is in force.
		known, ok := repos[r.repo.FullName()]
		if r.repo.ID != 0 && (!ok || r.repo.Installation != 0 && (known.Installation == 0 || r.repo.Installation < known.Installation)) {
			repos[r.repo.FullName()] = r.repo
		}
	}
	everything := map[string]string{"metadata": "read", "contents": "read", "checks": "write", "statuses": "write", "pull_requests": "write"}
	for _, r := range all {
		if r.repo.Installation != 0 {
			s.github.Grant(r.repo.Installation, everything)
		}
	}
	for name, r := range repos {
		repos[name] = s.github.AddRepo(r)
		if err := s.git.create(name); err != nil {
			t.Fatal(err)
		}
		s.commit(t, r, r.DefaultBranch, "first", buildspec("echo built"))
	}
	return repos
}

func corpusID(file string) string { return "corpus-" + file }

// postShuffled posts every payload four times.
func postShuffled(t *testing.T, s *system, all map[string]recorded) {
	t.Helper()
	type post struct {
		recorded
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
		answer, err := forgetest.Deliver(t.Context(), s.url+"/webhooks/github", forgetest.Delivery{
			Event: p.event, ID: corpusID(p.file), Secret: p.secret, Payload: p.body,
		})
		if err != nil {
			t.Fatal(err)
		}
		if answer.Status != p.want {
			t.Errorf("%s: got %d %s, want %d", p.file, answer.Status, answer.Body, p.want)
		}
	}
}

// awaitCheck waits until an execution has ended and GitHub has its last word:
// one check run of its own.
func (s *system) awaitCheck(t *testing.T, r recorded, id string, reachable bool) {
	t.Helper()
	want := 0
	if reachable {
		want = 1
	}
	await(t, buildLimit, func(ctx context.Context) error {
		x, err := s.execution(ctx, id)
		if err != nil {
			return err
		}
		if !x.ended() {
			return fmt.Errorf("%s: execution %s is %s", r.file, id, x.Status)
		}
		var own []forgetest.CheckRun
		for _, c := range s.github.CheckRuns(r.repo.FullName(), x.SHA) {
			if strings.HasPrefix(c.ExternalID, id+":") {
				own = append(own, c)
			}
		}
		if len(own) != want || want == 1 && own[0].Conclusion != conclusions[x.Status] || r.sha != "" && r.sha != x.SHA {
			return fmt.Errorf("%s: execution %s of %s is %s (%s), its checks are %s", r.file, id, x.SHA, x.Status, x.Reason, brief(own))
		}
		return nil
	})
}
