package e2e

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// gitHost serves bare repositories as GitHub does: over smart HTTP, to holders
// of an installation's token, any commit by its name.
type gitHost struct {
	url    string // with a slash at its end
	dir    string
	server *http.Server
	login  func(user, password string) bool

	mu     sync.Mutex
	tips   map[string]string // by repository and branch
	denied int               // requests without a credential
}

func newGitHost(dir string) (*gitHost, error) {
	path, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		return nil, fmt.Errorf("finding git's programs: %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	g := &gitHost{url: "http://" + l.Addr().String() + "/", dir: dir, tips: map[string]string{}, login: installationToken}
	backend := &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(path)), "git-http-backend"),
		// What git says of commits that aren't there is said to the client, too.
		Stderr: io.Discard,
		Env:    []string{"GIT_PROJECT_ROOT=" + dir, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1", "HOME=" + dir},
	}
	g.server = &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if !g.login(user, password) {
			g.mu.Lock()
			g.denied++
			g.mu.Unlock()
			w.Header().Set("WWW-Authenticate", `Basic realm="GitHub"`)
			http.Error(w, "no token", http.StatusUnauthorized)
			return
		}
		backend.ServeHTTP(w, r)
	})}
	go g.server.Serve(l) // ends with close
	return g, nil
}

func installationToken(user, password string) bool {
	return user == "x-access-token" && strings.HasPrefix(password, "ghs_")
}

func (g *gitHost) close() error { return g.server.Close() }

func (g *gitHost) create(fullName string) error {
	dir := g.path(fullName)
	if err := g.git("init", "-q", "--bare", dir); err != nil {
		return err
	}
	for _, key := range []string{"uploadpack.allowAnySHA1InWant", "uploadpack.allowFilter"} {
		if err := g.git("-C", dir, "config", key, "true"); err != nil {
			return err
		}
	}
	return nil
}

func (g *gitHost) path(fullName string) string { return filepath.Join(g.dir, fullName+".git") }

func (g *gitHost) git(args ...string) error {
	if out, err := exec.Command("git", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("git %s: %w: %s", args[0], err, out)
	}
	return nil
}

// commit puts a commit with exactly these files on a branch and returns it and
// the one before it, which is empty for a new branch.
func (g *gitHost) commit(fullName, branch, message string, files map[string]string) (sha, before string, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	key := fullName + ":" + branch
	before = g.tips[key]
	var in bytes.Buffer
	fmt.Fprintf(&in, "commit refs/heads/%s\nmark :1\ncommitter Octo Cat <octocat@example.com> %d +0000\n", branch, time.Now().Unix())
	fmt.Fprintf(&in, "data %d\n%s\n", len(message), message)
	if before != "" {
		fmt.Fprintf(&in, "from %s\n", before)
	}
	in.WriteString("deleteall\n")
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(&in, "M 100644 inline %s\ndata %d\n%s\n", name, len(files[name]), files[name])
	}
	in.WriteString("\nget-mark :1\ndone\n")
	cmd := exec.Command("git", "-C", g.path(fullName), "fast-import", "--quiet", "--done")
	cmd.Stdin, cmd.Stderr = &in, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", "", fmt.Errorf("committing to %s: %w", fullName, err)
	}
	sha = strings.TrimSpace(string(out))
	g.tips[key] = sha
	return sha, before, nil
}
