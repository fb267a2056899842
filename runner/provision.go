package runner

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner/buildspec"
)

//go:embed driver.sh
var driverScript string

const driverMode = 0o644

// outputPath is where CodeBuild keeps a build's folders.
const outputPath = "/codebuild/output"

// place are a build's folders on this host.
type place struct {
	folder     string // all of it; the engine takes it away
	work       string
	source     string
	sourcePath string // where the build should see the source
}

// makePlace makes the folders. Only this process's user can pass the outer
// one; inside, any user of the build's container may write to work.
func (r *build) makePlace() error {
	folder, err := os.MkdirTemp(r.Temp, FolderPrefix)
	if err != nil {
		return fmt.Errorf("making folder of build: %w", err)
	}
	below := fmt.Sprintf("src%09d/src", rand.IntN(1e9)) + repoPath(r.order.Source)
	r.place = place{
		folder: folder, work: filepath.Join(folder, "tmp"),
		source: filepath.Join(folder, below), sourcePath: outputPath + "/" + below,
	}
	if r.Dir != "" {
		r.place.source = r.Dir
	}
	for _, dir := range []string{r.place.work, r.place.source} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("making folder of build: %w", err)
		}
	}
	if err := os.Chmod(r.place.work, 0o777|os.ModeSticky); err != nil {
		return fmt.Errorf("opening work folder to the build's users: %w", err)
	}
	for name, text := range map[string]string{DriverName: driverScript, beatName: "0\n"} {
		if err := os.WriteFile(filepath.Join(r.place.work, name), []byte(text), driverMode); err != nil {
			return fmt.Errorf("writing driver: %w", err)
		}
	}
	return nil
}

// FolderPrefix begins the name of every build's folder below Options.Temp.
const FolderPrefix = "build-"

var pathWord = regexp.MustCompile(`^[A-Za-z0-9._-]{1,100}$`)

// repoPath is what CodeBuild appends to the source folder for GitHub.
func repoPath(o pipeline.SourceOrder) string {
	owner, name := o.Repo.Owner, o.Repo.Name
	if o.Repo.Forge != "github" || !pathWord.MatchString(owner) || !pathWord.MatchString(name) ||
		owner == "." || owner == ".." || name == "." || name == ".." {
		return ""
	}
	return "/github.com/" + owner + "/" + name
}

// provision starts the container while the source is already being fetched.
func (r *build) provision(ctx context.Context) error {
	r.log.line("Running on Slipway")
	for _, v := range append(append([]pipeline.Variable{}, r.order.Variables...), r.order.BuiltIn...) {
		if v.Secret {
			r.hide(v.Name, v.Value)
		}
	}
	if r.order.Source.Password != "" {
		r.log.hide(r.order.Source.Password)
	}
	r.log.line("Waiting for agent ping")
	if err := r.makePlace(); err != nil {
		return err
	}
	r.fetch(ctx)
	c, err := r.Engine.Start(ctx, Spec{
		Build: r.order.ID, Image: r.order.Image, Folder: r.place.folder, Work: r.place.work,
		Source: r.place.source, SourcePath: r.place.sourcePath, Limits: r.order.Limits, Privileged: r.order.Privileged,
	})
	if err != nil {
		return err
	}
	r.container = c
	return r.startShell(ctx)
}

// hide masks a secret variable's value from here on.
func (r *build) hide(name, value string) {
	r.secret[name] = true
	if value != "" && r.log.hide(value) > 0 {
		r.log.line("Warning: the value of %s is too short to be masked", name)
	}
}

// fetch begins the checkout.
func (r *build) fetch(ctx context.Context) {
	r.checkout = make(chan error, 1)
	if r.Dir != "" {
		r.checkout <- nil
		return
	}
	r.background.Go(func() { r.checkout <- r.sources(ctx) })
}

const (
	beatName  = "beat"
	beatEvery = 3 * time.Second
	killTime  = 20 * time.Second
)

func (r *build) startShell(ctx context.Context) error {
	root, err := os.OpenRoot(r.place.work)
	if err != nil {
		return fmt.Errorf("opening work folder: %w", err)
	}
	r.main = &driver{proc: r.container}
	r.shell = &shell{
		folder: root, work: r.container.Work(), source: r.container.Source(), kind: "auto",
		grace: r.Grace, kill: r.kill(ctx), state: "0", next: 1,
	}
	r.background.Go(func() { r.beat(ctx) })
	return nil
}

// kill is the way to end the container when ctx is over.
func (r *build) kill(ctx context.Context) func() {
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTime)
		defer cancel()
		if err := r.container.Kill(ctx); err != nil {
			r.Log.Warn("build container not killed", "job", r.order.ID, "error", err)
		}
	}
}

// beat tells the container that this process is alive; without it, it ends
// itself after 10 seconds.
func (r *build) beat(ctx context.Context) {
	t := time.NewTicker(beatEvery)
	defer t.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		// A driver that is gone is noticed where its output ends.
		_ = r.main.order("beat")
		_ = r.beatFile(n)
	}
}

func (r *build) beatFile(n int) error {
	f, err := r.shell.folder.OpenFile(beatName, os.O_WRONLY|os.O_TRUNC|nonBlocking, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, n)
	return errors.Join(err, f.Close())
}

// driverOf is the driver for the phase's user.
func (r *build) driverOf(ctx context.Context, p buildspec.Phase) (*driver, error) {
	user := p.RunAs
	if user == "" {
		user = r.spec.RunAs
	}
	if user == "" || user == "root" {
		return r.main, nil
	}
	if d := r.drivers[user]; d != nil {
		return d, nil
	}
	proc, err := r.container.Exec(ctx, user)
	if err != nil {
		return nil, err
	}
	d := &driver{proc: proc}
	r.drivers[user] = d
	r.background.Go(func() {
		t := time.NewTicker(beatEvery)
		defer t.Stop()
		for d.order("beat") == nil {
			select {
			case <-r.over:
				return
			case <-t.C:
			}
		}
	})
	return d, r.own(ctx, user)
}

// own gives the source to a user (CodeBuild reference 2.5).
func (r *build) own(ctx context.Context, user string) error {
	r.log.line("Giving %s to user %s", r.shell.source, user)
	res, err := r.quietly(ctx, "chown -R "+quote(user)+" "+quote(r.shell.source))
	if err == nil && res.exit != 0 {
		r.log.line("Warning: chown of the source to %s ended with exit status %d", user, res.exit)
	}
	return err
}

// quietly runs commands of ours as root, after which the state is as before.
func (r *build) quietly(ctx context.Context, commands ...string) (result, error) {
	state, kind := r.shell.state, r.shell.kind
	defer func() { r.shell.state, r.shell.kind = state, kind }()
	res, err := r.shell.run(ctx, r.main, batch{commands: commands, out: r.log.output, force: r.force(r.failure == nil)})
	if errors.Is(err, errDead) {
		err = r.dead(ctx)
	}
	return res, err
}
