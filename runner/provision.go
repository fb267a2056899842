package runner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner/buildspec"
)

// outputPath is where CodeBuild keeps a build's folders.
const outputPath = "/codebuild/output"

// place are a build's folders on this host.
type place struct {
	Place
	source string // what is built
	below  string // where that is in what the build sees as its Source
}

// settle finds the build's source in its place. Dir is seen by itself.
func (r *build) settle(p Place) error {
	below := "src" + repoPath(r.order.Source)
	if r.Dir != "" {
		p.Source, p.SourcePath = r.Dir, path.Join(p.SourcePath, below)
		below = ""
	}
	r.place = place{Place: p, source: filepath.Join(p.Source, below), below: below}
	if err := os.MkdirAll(r.place.source, sourceMode); err != nil {
		return fmt.Errorf("making folder of build: %w", err)
	}
	return nil
}

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
	for _, s := range r.order.Services {
		for _, v := range s.Variables {
			if v.Secret {
				r.log.hide(v.Value)
			}
		}
	}
	if r.order.Source.Password != "" {
		r.log.hide(r.order.Source.Password)
	}
	for _, note := range r.order.Notes {
		r.log.line("Warning: %s", note)
	}
	r.log.line("Waiting for agent ping")
	spec := Spec{Build: r.order.ID, Image: r.order.Image, Limits: r.order.Limits, Privileged: r.order.Privileged, Services: r.order.Services}
	if err := r.occupy(ctx, spec); err != nil {
		return err
	}
	if err := r.startShell(ctx); err != nil {
		return err
	}
	return r.services(ctx)
}

// occupy takes a container that is ready, or starts one while the source is
// already being fetched.
func (r *build) occupy(ctx context.Context, s Spec) error {
	if r.Dir == "" {
		if r.container, s.Place = r.Engine.Spare(ctx, s); r.container != nil {
			if err := r.settle(s.Place); err != nil {
				return err
			}
			r.fetch(ctx)
			return nil
		}
	}
	var err error
	if s.Place, err = NewPlace(r.Temp); err != nil {
		return err
	}
	if err := r.settle(s.Place); err != nil {
		return err
	}
	s.Place = r.place.Place
	r.fetch(ctx)
	r.container, err = r.Engine.Start(ctx, s)
	return err
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
		r.background.Go(func() { r.checkout <- r.beside() })
		return
	}
	r.background.Go(func() { r.checkout <- r.sources(ctx) })
}

const killTime = 20 * time.Second

func (r *build) startShell(ctx context.Context) error {
	root, err := os.OpenRoot(r.place.Work)
	if err != nil {
		return fmt.Errorf("opening work folder: %w", err)
	}
	r.main = &driver{proc: r.container}
	r.shell = &shell{
		folder: root, work: r.container.Work(), source: path.Join(r.container.Source(), r.place.below), kind: "auto",
		grace: r.Grace, kill: r.kill(ctx), state: "0", next: 1,
	}
	r.background.Go(func() { keepAlive(ctx, r.main.order, root) })
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
