package e2e

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/forge/forgetest"
	"github.com/slipway-ci/slipway/internal/testenv"
)

const (
	adminToken    = "slp_end-to-end-admin-token-0123456789"
	webhookSecret = "end-to-end webhook secret of 32+ characters"
	appID         = 1
	startLimit    = time.Minute
	buildLimit    = 2 * time.Minute
)

// setup says what to start.
type setup struct {
	config  string   // more of slipway.yaml
	lease   string   // empty: the default
	image   string   // of builds
	runners []string // the engine of each
	server  []string // more of the server's environment
	slots   int
	up      bool // server and runner are one process, which builds on this host
	wire    bool // the first runner reaches the server over a wire that can be cut
}

// system is one installation of Slipway and the world around it.
type system struct {
	root    string
	url     string // of the server
	github  *forgetest.GitHub
	git     *gitHost
	redis   *process
	server  *process
	runners []*process
	wire    *wire
	witness string // folder
}

// needs are the components that every test of this package runs on.
func needs(t testing.TB) {
	t.Helper()
	testenv.Need(t, "go", "git", "redis-server")
}

// newSystem starts an installation that ends with the test.
func newSystem(t testing.TB, s setup) *system {
	t.Helper()
	needs(t)
	sys, err := start(t.Context(), s)
	if err != nil {
		if sys != nil {
			sys.dump(t)
			_ = sys.close()
		}
		t.Fatal(err)
	}
	t.Cleanup(func() {
		sys.verdict(t)
		if err := sys.close(); err != nil {
			t.Error(err)
		}
	})
	return sys
}

var common struct {
	once sync.Once
	sys  *system
	err  error
}

// shared is the installation of the tests that kill nothing.
func shared(t testing.TB) *system {
	t.Helper()
	needs(t)
	common.once.Do(func() {
		common.sys, common.err = start(context.Background(), setup{runners: []string{"host"}, slots: 2})
	})
	if common.err != nil {
		if common.sys != nil {
			common.sys.dump(t)
		}
		t.Fatal(common.err)
	}
	t.Cleanup(func() { common.sys.verdict(t) })
	return common.sys
}

func closeShared() error {
	if common.sys == nil {
		return nil
	}
	return common.sys.close()
}

// verdict is what must hold after every test.
func (s *system) verdict(t testing.TB) {
	for _, v := range s.github.Violations() {
		t.Errorf("request against GitHub's description: %s", v)
	}
	for _, p := range s.processes() {
		for _, line := range p.crashes() {
			t.Error(line)
		}
	}
	if t.Failed() {
		s.dump(t)
	}
}

func (s *system) dump(t testing.TB) {
	for _, p := range s.processes() {
		t.Logf("--- end of the log of %s\n%s", p.name, p.tail(6000))
	}
}

func (s *system) processes() []*process {
	var list []*process
	for _, p := range append([]*process{s.redis, s.server}, s.runners...) {
		if p != nil {
			list = append(list, p)
		}
	}
	return list
}

// start starts everything and waits until it is ready. The system is there
// with an error too, to be looked at and closed.
func start(ctx context.Context, s setup) (*system, error) {
	bin, err := program()
	if err != nil {
		return nil, err
	}
	root, err := os.MkdirTemp(os.Getenv("SLIPWAY_E2E_KEEP"), "slipway-e2e-")
	if err != nil {
		return nil, err
	}
	sys := &system{root: root, witness: filepath.Join(root, "witness")}
	for _, dir := range []string{"repos", "witness", "redis", "tmp", "home", "server"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o700); err != nil {
			return sys, err
		}
	}
	if err := sys.startWorld(); err != nil {
		return sys, err
	}
	if err := sys.define(bin, s); err != nil {
		return sys, err
	}
	for _, p := range sys.processes() {
		if err := p.start(); err != nil {
			return sys, err
		}
	}
	return sys, sys.awaitReady(ctx)
}

// startWorld starts what isn't ours.
func (s *system) startWorld() error {
	var err error
	if s.git, err = newGitHost(filepath.Join(s.root, "repos")); err != nil {
		return err
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	if err := os.WriteFile(filepath.Join(s.root, "app.pem"), block, 0o600); err != nil {
		return err
	}
	o := forgetest.Options{AppID: appID, Key: &key.PublicKey}
	spec := filepath.Join(testenv.Root(), "..", "shared", "openapi", "github.json")
	if _, err := os.Stat(spec); err == nil {
		o.Spec = spec
	}
	s.github, err = forgetest.New(o)
	return err
}

// define says how the processes are started.
func (s *system) define(bin string, o setup) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	listen := "127.0.0.1:" + strconv.Itoa(port)
	s.url = "http://" + listen
	socket := filepath.Join(s.root, "redis", "sock")
	s.redis = s.process("redis", nil, "redis-server", "--port", "0", "--unixsocket", socket, "--unixsocketperm", "600",
		"--dir", filepath.Join(s.root, "redis"), "--appendonly", "yes", "--appendfsync", "always", "--save", "",
		"--maxmemory-policy", "noeviction", "--daemonize", "no")
	config := filepath.Join(s.root, "slipway.yaml")
	if err := os.WriteFile(config, []byte(o.config), 0o600); err != nil {
		return err
	}
	var lease []string
	if o.lease != "" {
		lease = []string{"SLIPWAY_LIMITS_LEASE=" + o.lease}
	}
	s.server = s.process("server", append(slices.Clone(o.server), append(lease,
		"SLIPWAY_CONFIG="+config, "SLIPWAY_LISTEN="+listen, "SLIPWAY_DATA="+filepath.Join(s.root, "server"),
		"SLIPWAY_REDIS_URL=unix://"+socket, "SLIPWAY_ADMIN_TOKEN="+adminToken,
		"SLIPWAY_GITHUB_WEBHOOK_SECRET="+webhookSecret, "SLIPWAY_GITHUB_API_URL="+s.github.URL,
		"SLIPWAY_GITHUB_CLONE_URL="+s.git.url, "SLIPWAY_GITHUB_APP_ID="+strconv.Itoa(appID),
		"SLIPWAY_IMAGE="+o.image, "SLIPWAY_GITHUB_PRIVATE_KEY_FILE="+filepath.Join(s.root, "app.pem"),
	)...), bin, "server")
	if o.up {
		s.server.args = []string{bin, "up", "--engine", "host"}
	}
	if o.wire {
		if s.wire, err = newWire(listen); err != nil {
			return err
		}
	}
	for i, engine := range o.runners {
		name, server := fmt.Sprintf("runner%d", i+1), s.url
		if i == 0 && s.wire != nil {
			server = s.wire.url
		}
		s.runners = append(s.runners, s.process(name, append(lease,
			"SLIPWAY_SERVER="+server, "SLIPWAY_TOKEN="+adminToken, "SLIPWAY_ENGINE="+engine,
			"SLIPWAY_DATA="+filepath.Join(s.root, name), "SLIPWAY_RUNNER_NAME="+name,
			"SLIPWAY_RUNNER_SLOTS="+strconv.Itoa(max(o.slots, 1)),
			"SLIPWAY_RUNNER_SPARE=0", // each container is of a build from its start on
		), bin, "runner"))
	}
	return nil
}

// process has nothing of this process' environment but its PATH.
func (s *system) process(name string, env []string, args ...string) *process {
	return &process{
		name: name, args: args, log: filepath.Join(s.root, name+".log"),
		env: append(env, "PATH="+os.Getenv("PATH"), "HOME="+filepath.Join(s.root, "home"), "TMPDIR="+filepath.Join(s.root, "tmp")),
	}
}

// freePort is a port that nobody listens on, below those from which the kernel
// takes the ports of clients: it stays free while its server is down.
func freePort() (int, error) {
	for range 100 {
		port := 15000 + mathrand.IntN(15000)
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err == nil {
			return port, l.Close()
		}
	}
	return 0, errors.New("no free port")
}

func (s *system) awaitReady(ctx context.Context) error {
	return until(ctx, startLimit, func(ctx context.Context) error {
		if err := s.call(ctx, "GET", "/readyz", nil, nil); err != nil {
			return err
		}
		var p page[struct{ ID string }]
		if err := s.call(ctx, "GET", "/api/v1/workers", nil, &p); err != nil {
			return err
		}
		if len(p.Items) < len(s.runners) {
			return fmt.Errorf("%d workers are there, want %d", len(p.Items), len(s.runners))
		}
		return nil
	})
}

// close ends all processes: runners first, as an operator would.
func (s *system) close() error {
	var errs []error
	list := s.processes()
	for i := range list {
		errs = append(errs, list[len(list)-1-i].stop())
	}
	if s.wire != nil {
		errs = append(errs, s.wire.close())
	}
	if s.github != nil {
		s.github.Close()
	}
	if s.git != nil {
		errs = append(errs, s.git.close())
	}
	if os.Getenv("SLIPWAY_E2E_KEEP") == "" {
		errs = append(errs, os.RemoveAll(s.root))
	}
	return errors.Join(errs...)
}

// repo is a repository at the git host and at GitHub.
func (s *system) repo(t testing.TB, owner, name string) forgetest.Repo {
	t.Helper()
	r := s.github.AddRepo(forgetest.Repo{Owner: owner, Name: name})
	if err := s.git.create(r.FullName()); err != nil {
		t.Fatal(err)
	}
	return r
}

// commit puts a commit on a branch, there for git and for GitHub's interface.
func (s *system) commit(t testing.TB, r forgetest.Repo, branch, message string, files map[string]string) forgetest.Push {
	t.Helper()
	sha, before, err := s.git.commit(r.FullName(), branch, message, files)
	if err != nil {
		t.Fatal(err)
	}
	s.github.SetBranch(r.FullName(), branch, sha)
	return forgetest.Push{Ref: "refs/heads/" + branch, Before: before, After: sha, Message: message}
}

// deliver sends a webhook that must be acknowledged, and answers with its ID.
func (s *system) deliver(t testing.TB, event string, payload any) string {
	t.Helper()
	answer, err := forgetest.Deliver(t.Context(), s.url+"/webhooks/github", forgetest.Delivery{Event: event, Secret: webhookSecret, Payload: payload})
	if err != nil {
		t.Fatal(err)
	}
	if answer.Status != 202 {
		t.Fatalf("delivering %s: got %d %s, want 202", event, answer.Status, answer.Body)
	}
	return answer.ID
}

// push commits and tells Slipway.
func (s *system) push(t testing.TB, r forgetest.Repo, branch, message string, files map[string]string) string {
	t.Helper()
	p := s.commit(t, r, branch, message, files)
	s.deliver(t, "push", p.Payload(r))
	return p.After
}

// awaitDecision waits for what became of a delivery.
func (s *system) awaitDecision(t testing.TB, id string) (d delivery) {
	t.Helper()
	await(t, startLimit, func(ctx context.Context) error {
		var err error
		if d, err = s.delivery(ctx, id); err != nil {
			return err
		}
		if d.Decision == "" {
			return fmt.Errorf("delivery %s is not decided", id)
		}
		return nil
	})
	return d
}

// buildspec is one whose build phase runs these commands.
func buildspec(commands ...string) map[string]string {
	var b strings.Builder
	b.WriteString("version: 0.2\nphases:\n  build:\n    commands:\n")
	for _, c := range commands {
		fmt.Fprintf(&b, "      - %s\n", strconv.Quote(c))
	}
	return map[string]string{"buildspec.yml": b.String()}
}

// temporary are the folders that are empty when no runner lives and no request
// is under way.
func (s *system) temporary() []string {
	list := []string{filepath.Join(s.root, "tmp"), filepath.Join(s.root, "server", "tmp")}
	for _, p := range s.runners {
		list = append(list, filepath.Join(s.root, p.name, "tmp", "builds"), filepath.Join(s.root, p.name, "builds"))
	}
	return list
}
