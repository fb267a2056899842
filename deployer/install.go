package deployer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/slipway-ci/slipway/pipeline"
)

// install replaces what the group has on this host by what the appspec names
// (CodeDeploy reference 3.6). The new state file is what makes it hold: before
// it is in place everything can be undone, afterwards nothing is.
func (a *attempt) install(ctx context.Context) error {
	if a.state.Installed.ID == a.dep.ID {
		return nil // a crash came between that and the journal
	}
	previous, err := a.group.loadManifest(a.state.Installed.ID)
	if err != nil {
		return err
	}
	p := &planner{
		d: a.d, spec: a.spec, file: a.specName, archive: a.work.files(), previous: previous,
		sums: a.sums, behavior: cmp.Or(a.spec.FileExistsBehavior, a.dep.FileExistsBehavior),
	}
	if p.others, err = a.owners(); err != nil {
		return err
	}
	plan, err := p.build(ctx)
	if err != nil {
		return err
	}
	for _, w := range plan.warnings {
		a.warn(w.Code, "%s", w.Message)
	}
	if err := a.handleDrift(plan); err != nil {
		return err
	}
	t := a.d.transaction(a.dep.ID, plan)
	if err := t.run(ctx, a.work); err != nil {
		return err
	}
	return a.commit(t)
}

// commit writes the manifest and moves the pointer, then forgets how to undo.
func (a *attempt) commit(t *transaction) error {
	old := a.state.Installed.ID
	entries, err := t.manifest(a.dep.ID)
	if err == nil {
		err = a.group.saveManifest(a.dep.ID, entries)
	}
	if err == nil {
		err = a.d.step("commit")
	}
	if err == nil {
		next := a.state
		next.Installed = pointer{a.dep.ID, a.specName}
		if err = a.group.save(next); err == nil {
			a.state = next
		}
	}
	if err != nil {
		return errors.Join(err, a.group.recover(a.work))
	}
	if err := errors.Join(forget(t.ops), os.Remove(a.work.undo())); err != nil {
		return fmt.Errorf("forgetting how to undo the installation: %w", err)
	}
	if old != "" {
		return removeIfThere(a.group.manifest(old))
	}
	return nil
}

// manifest is what belongs to the deployment now.
func (t *transaction) manifest(id string) ([]entry, error) {
	var entries []entry
	for _, it := range t.plan.items {
		e := it.entry
		if e.Kind == kindFile {
			now, _, err := look(t.d.host(e.Path))
			if err != nil {
				return nil, err
			}
			e.Stamp = now.Stamp
		}
		entries = append(entries, e)
	}
	entries = append(entries, t.left...)
	for _, e := range t.plan.retained {
		e.By = cmp.Or(e.By, id)
		entries = append(entries, e)
	}
	return entries, nil
}

// owners are the files of the other groups on this host, with their names.
func (a *attempt) owners() (map[string]string, error) {
	owners := map[string]string{}
	dirs, err := os.ReadDir(a.d.groups())
	if err != nil {
		return nil, err
	}
	for _, c := range dirs {
		g := group{filepath.Join(a.d.groups(), c.Name())}
		if g.dir == a.group.dir {
			continue
		}
		s, err := g.load()
		if err != nil {
			return nil, err
		}
		m, err := g.loadManifest(s.Installed.ID)
		if err != nil {
			return nil, err
		}
		for at := range m {
			if m.owns(at) {
				owners[at] = s.Name
			}
		}
	}
	return owners, nil
}

// handleDrift tells of tracked files that somebody changed and that this
// installation replaces or removes, and does with them as the deployment says.
func (a *attempt) handleDrift(p *plan) error {
	slices.Sort(p.drifted)
	drifted := slices.Compact(p.drifted)
	if a.dep.OnDrift == DriftFail && len(drifted) > 0 {
		return &pipeline.UserError{Code: "DRIFT", Msg: drifted[0] + " was changed on this host since it was deployed" + andMore(len(drifted)-1) +
			"; nothing was installed, since the deployment says on_drift: fail"}
	}
	for _, at := range drifted {
		if a.dep.OnDrift == DriftReplace {
			a.warn("DRIFT", "%s was changed on this host since it was deployed, and is replaced", at)
			continue
		}
		a.warn("DRIFT", "%s was changed on this host since it was deployed: a copy is kept", at)
		copyAt := filepath.Join(a.d.root, "drift", a.dep.ID, at)
		if err := os.MkdirAll(filepath.Dir(copyAt), 0o700); err != nil {
			return err
		}
		if err := keepCopy(a.d.host(at), copyAt); err != nil {
			return fmt.Errorf("keeping a copy of %s: %w", at, bare(err))
		}
	}
	return nil
}

func andMore(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", and %d more", n)
}

func keepCopy(from, to string) error {
	e, there, err := look(from)
	if err != nil || !there {
		return err
	}
	if err := removeIfThere(to); err != nil {
		return err
	}
	switch e.Kind {
	case kindLink:
		return os.Symlink(e.Link, to)
	case kindFile:
		data, err := os.Open(from)
		if err != nil {
			return err
		}
		defer data.Close() // read only
		out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		_, err = out.ReadFrom(data)
		return errors.Join(err, out.Close())
	case kindDir, kindRetained:
	}
	return nil
}
