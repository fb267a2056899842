package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// benchToken is the admin token of servers that are started here.
const benchToken = "bench-admin-token-of-this-run-only"

// server is a slipway up on embedded defaults, with Docker, and a repository
// on its own git host to push to.
type server struct {
	*process
	address string
	work    string // the working copy
	pushes  int
}

// startUp starts one on a data folder below dir.
func startUp(ctx context.Context, s settings, dir string) (*server, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	p, err := start(s.dir, s.slipway, []string{"up"}, []string{
		"SLIPWAY_LISTEN=" + address, "SLIPWAY_EXTERNAL_URL=http://" + address, "SLIPWAY_DATA=" + filepath.Join(s.dir, dir),
		"SLIPWAY_LOG=error", "SLIPWAY_ADMIN_TOKEN=" + benchToken, "SLIPWAY_IMAGE=" + benchImage, "SLIPWAY_ENGINE=docker", "SLIPWAY_RUNNER_SLOTS=" + strconv.Itoa(slots),
	})
	if err != nil {
		return nil, err
	}
	up := &server{process: p, address: address, work: filepath.Join(s.dir, dir+"-work")}
	if err := p.await(ctx, func() bool { return healthy(address) }); err != nil {
		p.stop()
		return nil, err
	}
	return up, nil
}

// get asks the API; into takes the answer's JSON.
func (u *server) get(ctx context.Context, path string, into any) error {
	res, err := u.open(ctx, path)
	if err != nil {
		return err
	}
	defer res.Close()
	return json.NewDecoder(res).Decode(into)
}

func (u *server) open(ctx context.Context, path string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+u.address+"/api/v1"+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+benchToken)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		defer res.Body.Close()
		said, _ := io.ReadAll(io.LimitReader(res.Body, 1000)) // only for the message
		return nil, fmt.Errorf("GET %s: %s: %s", path, res.Status, said)
	}
	return res.Body, nil
}

// push commits a buildspec with one command, pushes it and answers with the
// commit.
func (u *server) push(ctx context.Context, command string) (string, error) {
	u.pushes++
	quoted, err := json.Marshal(command)
	if err != nil {
		return "", err
	}
	return u.pushSpec(ctx, fmt.Sprintf("# push %d\nversion: 0.2\nphases:\n  build:\n    commands:\n      - %s\n", u.pushes, quoted))
}

// pushSpec is push with a buildspec that differs from those before.
func (u *server) pushSpec(ctx context.Context, spec string) (string, error) {
	if err := os.MkdirAll(u.work, 0o755); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(u.work, "buildspec.yml"), []byte(spec), 0o644); err != nil {
		return "", err
	}
	var sha string
	for _, args := range [][]string{
		{"init", "-q", "-b", "main"}, {"add", "-A"}, {"commit", "-q", "-m", "bench"}, {"push", "-q", u.remote(), "main"}, {"rev-parse", "HEAD"},
	} {
		var err error
		if sha, err = u.git(ctx, args...); err != nil {
			return "", err
		}
	}
	return sha, nil
}

// remote is where the working copy is pushed to.
func (u *server) remote() string {
	return "http://slipway:" + benchToken + "@" + u.address + "/git/bench/work.git"
}

// git runs git in the working copy, without this machine's settings.
func (u *server) git(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", u.work, "-c", "user.name=bench", "-c", "user.email=bench@localhost"}, args...)...)
	cmd.Env = append(cmd.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// upBuild is what the API says of a build.
type upBuild struct {
	ID        string
	Status    string
	CreatedAt time.Time `json:"created_at"`
	EndedAt   time.Time `json:"ended_at"`
	Phases    []struct {
		Type      string
		StartTime time.Time `json:"start_time"`
		EndTime   time.Time `json:"end_time"`
	}
}

// began is when a phase began.
func (b upBuild) began(phase string) time.Time {
	for _, p := range b.Phases {
		if p.Type == phase {
			return p.StartTime
		}
	}
	return time.Time{}
}

// built waits for the end of a commit's build; each looks at it as often as it
// is asked for.
func (u *server) built(ctx context.Context, sha string, each func()) (upBuild, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	for {
		b, err := u.buildOf(ctx, sha)
		switch {
		case err != nil:
			return b, err
		case !b.EndedAt.IsZero() && b.Status != "SUCCEEDED":
			return b, fmt.Errorf("build %s ended as %s", b.ID, b.Status)
		case !b.EndedAt.IsZero():
			return b, nil
		}
		each()
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return b, err
		}
	}
}

// buildOf is the zero upBuild as long as there is none.
func (u *server) buildOf(ctx context.Context, sha string) (b upBuild, err error) {
	var list struct{ Items []struct{ ID string } }
	if err := u.get(ctx, "/executions?sha="+sha, &list); err != nil || len(list.Items) == 0 {
		return b, err
	}
	var x struct {
		Stages []struct{ Actions []struct{ Build string } }
	}
	if err := u.get(ctx, "/executions/"+list.Items[0].ID, &x); err != nil || len(x.Stages) < 2 || x.Stages[1].Actions[0].Build == "" {
		return b, err
	}
	return b, u.get(ctx, "/builds/"+x.Stages[1].Actions[0].Build, &b)
}
