package e2e

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/slipway-ci/slipway/forge/forgetest"
	"github.com/slipway-ci/slipway/internal/testenv"
	"github.com/slipway-ci/slipway/runner/runnertest"
)

// plan is how much chaos to make.
type plan struct {
	engine   string
	kills    int
	pushes   time.Duration // mean time between two
	releases time.Duration // mean time between two
	calm     time.Duration // longest time between two kills
	settle   time.Duration // limit for everything to end afterwards
	atLeast  float64       // share of executions that succeed
}

func TestChaosShort(t *testing.T) {
	t.Parallel()
	chaos(t, plan{engine: "host", kills: 12, pushes: 800 * time.Millisecond, releases: 4 * time.Second, calm: 2500 * time.Millisecond, settle: 90 * time.Second, atLeast: 0.95})
}

func TestChaos(t *testing.T) {
	if os.Getenv("SLIPWAY_CHAOS") != "1" {
		t.Skip("the long version runs with SLIPWAY_CHAOS=1 (make chaos); TestChaosShort is its short version")
	}
	chaos(t, plan{engine: "host", kills: 200, pushes: 2 * time.Second, releases: 15 * time.Second, calm: 4 * time.Second, settle: 5 * time.Minute, atLeast: 0.95})
}

// TestChaosDockerShort has the builds in containers, whose engine says when
// each lived.
func TestChaosDockerShort(t *testing.T) {
	t.Parallel()
	testenv.Need(t, "docker")
	chaos(t, plan{engine: "docker", kills: 6, pushes: 1500 * time.Millisecond, releases: 6 * time.Second, calm: 4 * time.Second, settle: 90 * time.Second, atLeast: 0.95})
}

func TestChaosDocker(t *testing.T) {
	if os.Getenv("SLIPWAY_CHAOS") != "1" {
		t.Skip("the long version runs with SLIPWAY_CHAOS=1 (make chaos); TestChaosDockerShort is its short version")
	}
	testenv.Need(t, "docker")
	chaos(t, plan{engine: "docker", kills: 60, pushes: 2 * time.Second, releases: 15 * time.Second, calm: 5 * time.Second, settle: 5 * time.Minute, atLeast: 0.95})
}

// run is one chaos test under way.
type run struct {
	plan
	self     string // this program, which is the witness
	sys      *system
	fleet    *fleetOf
	builders []*process // the runners; sys has the agents among them
	repos    []forgetest.Repo
	kills    map[string]int
	// containers are those of the runners; nil: builds run on the host.
	containers *containers
	// healed is when GitHub began to work and all processes were there again.
	healed time.Time

	mu       sync.Mutex
	pushed   []pushed
	released []released
	posts    int // webhooks sent, with those that nobody answered
}

// pushed is one acknowledged push, or opened pull request.
type pushed struct {
	repo, sha, delivery string
	started             time.Time
	release             bool
}

const chaosOwner = "chaos"

func chaos(t *testing.T, p plan) {
	seed := uint64(time.Now().UnixNano())
	if given := os.Getenv("SLIPWAY_CHAOS_SEED"); given != "" {
		var err error
		if seed, err = strconv.ParseUint(given, 10, 64); err != nil {
			t.Fatalf("SLIPWAY_CHAOS_SEED: %v", err)
		}
	}
	t.Logf("SLIPWAY_CHAOS_SEED=%d", seed)
	o := setup{lease: "3s", runners: []string{p.engine, p.engine}, slots: 2, config: chaosConfig}
	if p.engine == "docker" {
		o.image = runnertest.BusyboxImage(t)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	fleet := newFleet(t, o)
	sys := fleet.system
	r := &run{plan: p, self: self, sys: sys, fleet: fleet, builders: sys.runners[:len(o.runners)], kills: map[string]int{}}
	if p.engine == "docker" {
		r.containers = watchContainers(t, sys)
	}
	for i := range 3 {
		r.repos = append(r.repos, sys.repo(t, chaosOwner, fmt.Sprintf("repo%d", i+1)))
	}
	r.breakForge()

	ctx, stop := context.WithCancel(t.Context())
	var pushing sync.WaitGroup
	failed := make(chan error, 2)
	pushing.Go(func() { failed <- r.pushAll(ctx, t, stream(seed, "pushes")) })
	pushing.Go(func() { failed <- r.releaseAll(ctx, t, stream(seed, "releases")) })
	if err := r.killAll(t.Context(), t, stream(seed, "kills")); err != nil {
		t.Error(err)
	}
	stop()
	pushing.Wait()
	if err := errors.Join(<-failed, <-failed); err != nil {
		t.Error(err)
	}
	sys.github.Heal()
	r.healed = time.Now()
	r.check(t)
	if r.containers != nil {
		r.containers.checkGone(t)
	}
	r.checkLeftovers(t)
}

// stream is a source of random numbers of its own for each purpose, so that
// the schedule of kills doesn't hang on how many pushes there were.
func stream(seed uint64, purpose string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(purpose))
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}

// breakForge lets GitHub fail in all ways.
func (r *run) breakForge() {
	gh := r.sys.github
	gh.Fail(forgetest.Fault{On: "/repos/", Hang: true, Every: 50, Times: 4})
	gh.Fail(forgetest.Fault{Status: 500, Probability: 0.05})
	gh.Fail(forgetest.Fault{Status: 429, Header: map[string]string{"Retry-After": "1"}, Probability: 0.04})
	gh.Fail(forgetest.Fault{Drop: true, Probability: 0.04})
}

// between is a random time.
func between(rng *rand.Rand, from, to time.Duration) time.Duration {
	return from + time.Duration(rng.Int64N(int64(to-from)+1))
}

// wait lets d pass; false if ctx ended first.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// killAll kills one process after the other, at moments and for times that the
// seed decides; some stay away for longer than a lease.
func (r *run) killAll(ctx context.Context, t testing.TB, rng *rand.Rand) error {
	for i := range r.plan.kills {
		if !wait(ctx, between(rng, 100*time.Millisecond, r.calm)) {
			return ctx.Err()
		}
		var victim *process
		switch n := rng.IntN(12); {
		case n < 4:
			victim = r.sys.server
		case n < 6:
			victim = r.sys.redis
		case n < 9:
			victim = r.builders[rng.IntN(len(r.builders))]
		default:
			victim = r.fleet.agents[fmt.Sprintf("web%d", n-8)]
		}
		away := between(rng, 0, time.Second)
		if rng.IntN(8) == 0 {
			away = between(rng, 3*time.Second, 5*time.Second)
		}
		t.Logf("%s kill %d: %s, away for %s", time.Now().UTC().Format("15:04:05.000"), i+1, victim.name, away.Round(time.Millisecond))
		if err := victim.kill(); err != nil {
			return err
		}
		r.kills[strings.TrimRight(victim.name, "0123456789")]++
		if !wait(ctx, away) {
			return ctx.Err()
		}
		if err := victim.start(); err != nil {
			return err
		}
	}
	return nil
}

// pushAll pushes to many branches until ctx ends.
func (r *run) pushAll(ctx context.Context, t testing.TB, rng *rand.Rand) error {
	var sending errgroup.Group
	for n := 1; wait(ctx, between(rng, 0, 2*r.plan.pushes)); n++ {
		repo := r.repos[rng.IntN(len(r.repos))]
		branch := fmt.Sprintf("branch-%d", rng.IntN(20))
		p := r.sys.commit(t, repo, branch, fmt.Sprintf("change %d", n), r.building(rng))
		again := rng.IntN(10) == 0
		sending.Go(func() error {
			d := forgetest.Delivery{Event: "push", ID: deliveryID(p.After), Secret: webhookSecret, Payload: p.Payload(repo)}
			return r.send(t.Context(), pushed{repo: repo.FullName(), sha: p.After, delivery: d.ID}, d, again)
		})
	}
	return sending.Wait()
}

// building is a repository whose build a witness sees. Some take longer than a
// lease.
func (r *run) building(rng *rand.Rand) map[string]string {
	work := between(rng, 0, 1500*time.Millisecond)
	if rng.IntN(10) == 0 {
		work = between(rng, 4*time.Second, 6*time.Second)
	}
	command := fmt.Sprintf(`%s %s %s "$SLIPWAY_EXECUTION_ID" "$CODEBUILD_BUILD_ID" %s`, r.self, witnessCommand, r.sys.witness, work)
	if r.containers != nil { // in one, the witness is out of reach
		command = fmt.Sprintf("sleep %.3f", work.Seconds())
	}
	files := buildspec(`echo "begun $CODEBUILD_BUILD_ID"`, command, `echo "done $CODEBUILD_BUILD_ID"`)
	files["buildspec.yml"] += "artifacts:\n  files: ['**/*']\n"
	return files
}

// ackLimit is how long a push is delivered again and again.
const ackLimit = 90 * time.Second

// send delivers what was pushed until it is acknowledged; some once more
// although it was.
func (r *run) send(ctx context.Context, p pushed, d forgetest.Delivery, again bool) error {
	p.started = time.Now()
	if err := r.deliver(ctx, d); err != nil {
		return err
	}
	r.mu.Lock()
	r.pushed = append(r.pushed, p)
	r.mu.Unlock()
	if again {
		return r.deliver(ctx, d)
	}
	return nil
}

// deliver sends a webhook until it is acknowledged, as people redeliver it at
// GitHub.
func (r *run) deliver(ctx context.Context, d forgetest.Delivery) error {
	return until(ctx, ackLimit, func(ctx context.Context) error {
		r.mu.Lock()
		r.posts++
		r.mu.Unlock()
		answer, err := forgetest.Deliver(ctx, r.sys.url+"/webhooks/github", d)
		if err == nil && answer.Status != 202 {
			err = fmt.Errorf("%s %s: %d %s", d.Event, d.ID, answer.Status, answer.Body)
		}
		return err
	})
}

// deliveryID is a GUID for a commit.
func deliveryID(sha string) string {
	return strings.Join([]string{sha[:8], sha[8:12], sha[12:16], sha[16:20], sha[20:32]}, "-")
}

// check waits until all is quiet, and then looks at every promise.
func (r *run) check(t *testing.T) {
	found := map[string]execution{} // by commit
	err := until(t.Context(), r.settle, func(ctx context.Context) error {
		var missing []string
		for _, p := range r.pushed {
			if x, ok := found[p.sha]; ok && x.ended() {
				continue
			}
			list, err := r.sys.executionsOf(ctx, p.sha)
			if err != nil {
				return err
			}
			if len(list) != 1 || !list[0].ended() {
				missing = append(missing, fmt.Sprintf("delivery %s: executions %+v", p.delivery, list))
				continue
			}
			if found[p.sha], err = r.sys.execution(ctx, list[0].ID); err != nil {
				delete(found, p.sha)
				return err
			}
		}
		if len(missing) > 0 {
			return fmt.Errorf("%d of %d acknowledged pushes have no execution that ended: %s", len(missing), len(r.pushed), strings.Join(missing[:min(len(missing), 5)], "; "))
		}
		return nil
	})
	if err != nil {
		t.Error(err)
		r.logDead(t)
	}
	t.Logf("all executions had ended %s after the last fault", time.Since(r.healed).Round(time.Second))
	r.checkPushes(t, found)
	r.checkRecords(t, found)
	r.checkForge(t, found)
	r.checkReleases(t, found)
	if r.containers != nil {
		r.containers.checkOverlaps(t, found)
	} else {
		r.checkWitness(t, found)
	}
}

// logDead says what Slipway gave up.
func (r *run) logDead(t *testing.T) {
	var dead page[struct {
		Queue, Reason, Entry string
		Attempts             int
	}]
	if err := r.sys.call(t.Context(), "GET", "/api/v1/dead-letters?limit=200", nil, &dead); err != nil {
		t.Error(err)
	}
	for _, d := range dead.Items {
		t.Logf("dead letter: %s %.200s after %d attempts: %s", d.Queue, d.Entry, d.Attempts, d.Reason)
	}
}

func (r *run) checkPushes(t *testing.T, found map[string]execution) {
	states, lost, duplicates, builds := map[string]int{}, 0, 0, 0
	for _, p := range r.pushed {
		list, err := r.sys.executionsOf(t.Context(), p.sha)
		if err != nil {
			t.Fatal(err)
		}
		duplicates += max(0, len(list)-1)
		x, ok := found[p.sha]
		if !ok {
			states["missing"]++
			continue
		}
		if !p.release {
			builds++
			states[x.Status]++
		}
		lost += len(x.buildAction().Earlier)
		if x.Status != "Succeeded" {
			t.Logf("execution %s of %s: %s: %s", x.ID, p.sha, x.Status, x.Reason)
		}
		d, err := r.sys.delivery(t.Context(), p.delivery)
		if err != nil || d.Decision != "started" || !slices.Equal(d.Executions, []string{x.ID}) {
			t.Errorf("the ledger says %+v (%v) of delivery %s, want started: %s", d, err, p.delivery, x.ID)
		}
	}
	if duplicates > 0 {
		t.Errorf("%d executions too many", duplicates)
	}
	if want := r.atLeast * float64(builds); float64(states["Succeeded"]) < want {
		t.Errorf("%d of %d executions succeeded, want %.0f", states["Succeeded"], builds, want)
	}
	exits := map[string]int{}
	for _, p := range r.sys.processes() {
		exits[p.name] = p.exits
	}
	t.Logf("SUMMARY kills %v, pushes %d (webhooks %d), executions of builds %v, lost attempts %d, duplicates %d, ended by themselves %v",
		r.kills, len(r.pushed), r.posts, states, lost, duplicates, exits)
}

// checkRecords looks at what is kept of the builds that succeeded: the whole
// log, each line once, and the artifact.
func (r *run) checkRecords(t *testing.T, found map[string]execution) {
	for _, x := range found {
		if x.Status != "Succeeded" {
			continue
		}
		var b build
		if err := r.sys.call(t.Context(), "GET", "/api/v1/builds/"+x.buildAction().Build, nil, &b); err != nil {
			t.Fatal(err)
		}
		var log string
		if err := r.sys.call(t.Context(), "GET", "/api/v1/builds/"+b.ID+"/log", nil, &log); err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{"begun ", "done "} {
			line := regexp.MustCompile("(?m)^(.*\\s)?" + word + "\\S+:" + b.ID + "$")
			if n := len(line.FindAllString(log, -1)); n != 1 {
				t.Errorf("build %s said %q %d times:\n%s", b.ID, word, n, log)
			}
		}
		if b.Status != "SUCCEEDED" || len(b.Artifacts) != 1 {
			t.Errorf("build %s is %s with artifacts %v, want SUCCEEDED with one", b.ID, b.Status, b.Artifacts)
			continue
		}
		var data string
		if err := r.sys.call(t.Context(), "GET", "/api/v1/builds/"+b.ID+"/artifacts/"+b.Artifacts[0].Name, nil, &data); err != nil || int64(len(data)) != b.Artifacts[0].Bytes {
			t.Errorf("artifact of build %s: %d bytes (%v), want %d", b.ID, len(data), err, b.Artifacts[0].Bytes)
		}
	}
}

// conclusions are GitHub's words for how executions end.
var conclusions = map[string]string{"Succeeded": "success", "Failed": "failure", "Stopped": "cancelled", "Cancelled": "cancelled", "Superseded": "cancelled"}

// forgeLimit is how long a healthy GitHub may wait for the last word: a
// request that it never answered is given up after 30 seconds.
const forgeLimit = 100 * time.Second

// checkForge compares GitHub's final word with ours.
func (r *run) checkForge(t *testing.T, found map[string]execution) {
	err := until(t.Context(), forgeLimit, func(context.Context) error {
		var wrong []string
		for _, p := range r.pushed {
			checks := r.sys.github.CheckRuns(p.repo, p.sha)
			x := found[p.sha]
			if len(checks) != 1 || checks[0].Status != "completed" || checks[0].Conclusion != conclusions[x.Status] {
				wrong = append(wrong, fmt.Sprintf("%s %s: checks %s", p.sha, x.Status, brief(checks)))
			}
		}
		if len(wrong) > 0 {
			return fmt.Errorf("%d of %d checks are wrong, such as %s", len(wrong), len(r.pushed), wrong[0])
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	t.Logf("GitHub had the last word %s after the last fault", time.Since(r.healed).Round(time.Second))
}

func brief(checks []forgetest.CheckRun) string {
	var list []string
	for _, c := range checks {
		list = append(list, fmt.Sprintf("%d %s %s/%s %q", c.ID, c.ExternalID, c.Status, c.Conclusion, c.Title))
	}
	return "[" + strings.Join(list, ", ") + "]"
}

// checkWitness asks who has seen the builds from outside.
func (r *run) checkWitness(t *testing.T, found map[string]execution) {
	w, err := hear(r.sys.witness)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range w.overlaps {
		t.Errorf("two attempts at the same time: %s", o)
	}
	known := map[string]bool{}
	for sha, x := range found {
		known[x.ID] = true
		a := x.buildAction()
		if n := w.starts[x.ID]; n > len(a.Earlier)+1 {
			t.Errorf("execution %s began %d times, but has %d attempts", x.ID, n, len(a.Earlier)+1)
		}
		if x.Status == "Succeeded" && !slices.ContainsFunc(slices.Collect(maps.Keys(w.ended)), func(id string) bool { return strings.HasSuffix(id, ":"+a.Build) }) {
			t.Errorf("execution %s of %s succeeded, but nobody saw build %s end", x.ID, sha, a.Build)
		}
	}
	for id := range w.starts {
		if !known[id] {
			t.Errorf("execution %s ran and belongs to no push", id)
		}
	}
	t.Logf("WITNESS %d attempts began, %d died in their command, overlaps %d", len(w.ended)+w.unended, w.unended, len(w.overlaps))
}

// leftovers are what builds and deployments left on this host: files for the
// time of a build, and processes.
func (r *run) leftovers() ([]string, error) {
	var list []string
	for _, dir := range r.sys.temporary() {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		for _, e := range entries {
			list = append(list, filepath.Join(dir, e.Name()))
		}
	}
	ps, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil, err
	}
	for _, p := range ps {
		line, err := os.ReadFile(p)
		text := string(line)
		if err == nil && strings.Contains(text, r.sys.root) && (strings.Contains(text, witnessCommand) || strings.Contains(text, "/scripts/")) {
			list = append(list, "process "+filepath.Dir(p)+": "+strings.ReplaceAll(text, "\x00", " "))
		}
	}
	return list, nil
}

// checkLeftovers ends runners and agents, which have folders of their own while they
// live: then there is nothing left, as at the start.
func (r *run) checkLeftovers(t *testing.T) {
	for _, p := range r.sys.runners {
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	}
	list, err := r.leftovers()
	if err != nil || len(list) > 0 {
		t.Errorf("left behind: %v (%v)", list, err)
	}
}
