package deployer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/slipway-ci/slipway/internal/archive"
)

// op is one change of the host. The list of all of them is on disk, with what
// undoing takes, before the first is carried out; each can be undone whether it
// was carried out, begun or not reached.
type op struct {
	Do     opKind `json:"do"`
	Path   string `json:"path"`             // on the host
	Temp   string `json:"temp,omitempty"`   // where the new file waits
	Backup string `json:"backup,omitempty"` // where the old one is kept till the end
	// Want is what a put leaves there, Before what was there.
	Want   entry `json:"want,omitzero"`
	Before entry `json:"before,omitzero"`

	item *item
}

type opKind string

const (
	opMkdir  opKind = "mkdir"
	opPut    opKind = "put"    // rename Temp to Path
	opRemove opKind = "remove" // rename Path to Backup
	opRmdir  opKind = "rmdir"  // unless something else is in it
	opRights opKind = "rights" // of a folder that stays
	opLabel  opKind = "label"
)

// undoLog is the journal of one installation.
type undoLog struct {
	V   int  `json:"v"`
	Ops []op `json:"ops"`
}

// transaction carries out a plan.
type transaction struct {
	d    *Deployer
	id   string
	plan *plan
	ops  []op
	// foldersMade is the index behind the last op that makes a folder: from
	// there on every new file has a place to wait in.
	foldersMade int
	// left are folders that were to go but hold something else.
	left []entry
}

func (d *Deployer) transaction(id string, p *plan) *transaction {
	t := &transaction{d: d, id: id, plan: p, ops: make([]op, 0, len(p.items)+len(p.obsolete))}
	obsoleteDirs := map[string]bool{}
	for _, e := range p.obsolete {
		if e.Kind == kindDir {
			obsoleteDirs[d.host(e.Path)] = true
		}
	}
	t.makeRoom(obsoleteDirs)
	t.folders()
	t.foldersMade = len(t.ops)
	t.removals(obsoleteDirs)
	t.files()
	return t
}

func (t *transaction) add(o op) {
	t.ops = append(t.ops, o)
}

// beside is a name for our use in a folder.
func (t *transaction) beside(dir, ending string) string {
	return filepath.Join(dir, ".slipway-"+t.id+"-"+strconv.Itoa(len(t.ops))+ending)
}

// makeRoom removes old files where folders are wanted.
func (t *transaction) makeRoom(obsoleteDirs map[string]bool) {
	for _, e := range t.plan.obsolete {
		if it := t.plan.byPath[e.Path]; e.Kind != kindDir && it != nil {
			t.remove(e, obsoleteDirs)
		}
	}
}

func (t *transaction) remove(e entry, obsoleteDirs map[string]bool) {
	at := t.d.host(e.Path)
	dir := filepath.Dir(at)
	for obsoleteDirs[dir] { // a backup would keep it from being removed
		dir = filepath.Dir(dir)
	}
	t.add(op{Do: opRemove, Path: at, Backup: t.beside(dir, ".old"), Before: e})
}

func (t *transaction) folders() {
	for _, it := range t.plan.items {
		if it.Kind == kindDir && !(it.existed && it.before.Kind == kindDir) {
			t.add(op{Do: opMkdir, Path: t.d.host(it.Path), Want: it.entry, item: it})
		}
	}
}

func (t *transaction) removals(obsoleteDirs map[string]bool) {
	for _, e := range t.plan.obsolete {
		switch it := t.plan.byPath[e.Path]; {
		case e.Kind == kindDir:
			t.add(op{Do: opRmdir, Path: t.d.host(e.Path), Before: e})
		case it == nil:
			t.remove(e, obsoleteDirs)
		}
	}
}

func (t *transaction) files() {
	for _, it := range t.plan.items {
		at := t.d.host(it.Path)
		if it.keep {
			continue
		}
		switch {
		case it.Kind != kindDir:
			o := op{Do: opPut, Path: at, Want: it.entry, item: it, Temp: t.beside(filepath.Dir(at), ".new")}
			if it.existed && it.before.Kind != kindDir {
				o.Before, o.Backup = it.before, t.beside(filepath.Dir(at), ".old")
			}
			t.add(o)
		case it.existed && it.before.Kind == kindDir:
			t.add(op{Do: opRights, Path: at, Want: it.entry, Before: it.before, item: it})
		}
		if it.se != nil {
			t.add(op{Do: opLabel, Path: at, item: it})
		}
	}
}

// run carries everything out. If it fails, the host is as it was before, or
// the error says that it is not.
func (t *transaction) run(ctx context.Context, w work) error {
	if err := writeJSON(w.undo(), undoLog{1, t.ops}); err != nil {
		return fmt.Errorf("writing the install journal: %w", err)
	}
	err := t.carryOut(ctx)
	if err == nil {
		return nil
	}
	if undo := undoAll(t.ops); undo != nil {
		return errors.Join(err, fmt.Errorf("restoring what was there before: %w", undo))
	}
	if gone := os.Remove(w.undo()); gone != nil {
		return errors.Join(err, gone)
	}
	return err
}

func (t *transaction) carryOut(ctx context.Context) error {
	for i := range t.ops {
		if i == t.foldersMade {
			if err := t.stage(ctx); err != nil {
				return err
			}
		}
		if err := t.d.step(string(t.ops[i].Do)); err != nil {
			return err
		}
		if err := t.do(ctx, &t.ops[i]); err != nil {
			return err
		}
	}
	if err := t.flush(); err != nil {
		return err
	}
	return ctxError(ctx)
}

// flush makes the new files last, one call for each file system.
func (t *transaction) flush() error {
	seen, folders := map[uint64]bool{}, map[string]bool{}
	for _, o := range t.ops {
		dir := filepath.Dir(o.Path)
		if folders[dir] {
			continue
		}
		folders[dir] = true
		info, err := os.Stat(dir)
		if err != nil {
			continue // a folder that was removed
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok || seen[uint64(st.Dev)] {
			continue
		}
		seen[uint64(st.Dev)] = true
		if err := t.d.syncDisk(dir); err != nil {
			return fmt.Errorf("writing files to the disk: %w", bare(err))
		}
	}
	return nil
}

func ctxError(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// stagers is how many files are copied at a time.
const stagers = 2

// stage writes every new file beside its place, rights and all.
func (t *transaction) stage(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(stagers)
	for _, o := range t.ops {
		if o.Do != opPut {
			continue
		}
		g.Go(func() error {
			if err := ctxError(ctx); err != nil {
				return err
			}
			if err := t.d.step("stage"); err != nil {
				return err
			}
			if err := t.d.stageFile(ctx, o); err != nil {
				return fmt.Errorf("copying %s: %w", o.item.from, bare(err))
			}
			return nil
		})
	}
	return g.Wait()
}

// bare drops the paths of the state folder from an error of the file system.
func bare(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}

func (d *Deployer) stageFile(ctx context.Context, o op) error {
	now := entry{UID: -1} // not known: the folder may give its group
	if o.Want.Kind == kindLink {
		if err := os.Symlink(o.Want.Link, o.Temp); err != nil {
			return err
		}
		return d.setRights(ctx, o.Temp, now, o.Want, "")
	}
	written, err := archive.CopyFile(o.item.source, o.Temp)
	if err != nil {
		return err
	}
	if written.SHA256 != o.Want.SHA256 {
		return errors.New("it changed while it was installed")
	}
	return d.setRights(ctx, o.Temp, now, o.Want, o.Want.ACL)
}

func (t *transaction) do(ctx context.Context, o *op) error {
	switch o.Do {
	case opMkdir:
		if err := os.Mkdir(o.Path, 0o755); err != nil {
			return fmt.Errorf("making folder %s: %w", o.Want.Path, bare(err))
		}
		return t.d.setRights(ctx, o.Path, entry{UID: -1}, o.Want, o.Want.ACL)
	case opPut:
		return t.put(o)
	case opRemove:
		if o.Before.Context {
			if err := t.d.unlabel(ctx, o.Before.Path); err != nil {
				return err
			}
		}
		if err := os.Rename(o.Path, o.Backup); err != nil {
			return fmt.Errorf("removing %s: %w", o.Before.Path, bare(err))
		}
		return nil
	case opRmdir:
		t.rmdir(o)
		return nil
	case opRights:
		return t.d.setRights(ctx, o.Path, o.Before, o.Want, o.Want.ACL)
	case opLabel:
		return t.d.label(ctx, o.item)
	}
	return nil
}

// put keeps a second name of what is there and renames the new file over it,
// so that at every moment there is one or the other.
func (t *transaction) put(o *op) error {
	if o.Backup != "" {
		if err := os.Link(o.Path, o.Backup); err != nil {
			// No hard links here: there is nothing at the path for a moment.
			if err := os.Rename(o.Path, o.Backup); err != nil {
				return fmt.Errorf("replacing %s: %w", o.Want.Path, bare(err))
			}
		}
	}
	if err := t.d.step("put"); err != nil {
		return err
	}
	if err := syscall.Rename(o.Temp, o.Path); err != nil { // os.Rename looks first whether a folder is there
		return fmt.Errorf("replacing %s: %w", o.Want.Path, bare(err))
	}
	return nil
}

// rmdir removes a folder of the previous revision if nothing is left in it.
// Else it stays, and stays known as ours.
func (t *transaction) rmdir(o *op) {
	if err := syscall.Rmdir(o.Path); err == nil || missing(err) {
		return
	}
	if t.plan.byPath[o.Before.Path] == nil {
		t.left = append(t.left, o.Before)
	}
}

// undoAll takes back what was done, last first. It may be called any number
// of times, and after a crash.
func undoAll(ops []op) error {
	var errs []error
	for i := len(ops) - 1; i >= 0; i-- {
		if err := ops[i].undo(); err != nil {
			errs = append(errs, fmt.Errorf("%s %s: %w", ops[i].Do, ops[i].Path, bare(err)))
		}
	}
	return errors.Join(errs...)
}

func (o op) undo() error {
	switch o.Do {
	case opMkdir:
		// Not os.Remove, which takes files too: what is there may be the file
		// that the folder was to replace.
		switch err := syscall.Rmdir(o.Path); err {
		case syscall.ENOENT, syscall.ENOTDIR, syscall.ENOTEMPTY, syscall.EEXIST:
			return nil
		default:
			return err
		}
	case opPut:
		return o.undoPut()
	case opRemove:
		return restore(o.Backup, o.Path)
	case opRmdir:
		if _, there, err := look(o.Path); there || err != nil {
			return err
		}
		if err := os.Mkdir(o.Path, 0o755); err != nil {
			return err
		}
		return setBack(o.Path, o.Before)
	case opRights:
		return setBack(o.Path, o.Before)
	case opLabel: // the file context is harmless, and the next label replaces it
	}
	return nil
}

func (o op) undoPut() error {
	if o.Backup != "" {
		if err := restore(o.Backup, o.Path); err != nil {
			return err
		}
		return removeIfThere(o.Temp)
	}
	_, waiting, err := look(o.Temp)
	if err != nil {
		return err
	}
	if waiting {
		return os.Remove(o.Temp)
	}
	now, there, err := examine(o.Path, entry{})
	if err != nil || !there || !now.sameContent(o.Want) {
		return err
	}
	return os.Remove(o.Path)
}

// restore renames a backup back, if there is one. Renaming one name of a file
// to another name of it does nothing, hence the removal.
func restore(backup, path string) error {
	err := os.Rename(backup, path)
	if err != nil && missing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return removeIfThere(backup)
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !missing(err) {
		return err
	}
	return nil
}

// setBack gives a folder its former owner and mode.
func setBack(path string, before entry) error {
	return errors.Join(os.Lchown(path, before.UID, before.GID), os.Chmod(path, fs.FileMode(before.Mode)))
}

// forget removes the backups of an installation that holds. No new file waits
// any more: each was put in its place before.
func forget(ops []op) error {
	var errs []error
	for _, o := range ops {
		if o.Backup != "" {
			errs = append(errs, removeIfThere(o.Backup))
		}
	}
	return errors.Join(errs...)
}

// recover ends an installation that a crash cut off: it holds if the group's
// state says so, else it is undone.
func (g group) recover(w work) error {
	data, err := os.ReadFile(w.undo())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var log undoLog
	if err := json.Unmarshal(data, &log); err != nil {
		return fmt.Errorf("reading the install journal of %s: %w", w.id, err)
	}
	s, err := g.load()
	if err != nil {
		return err
	}
	if s.Installed.ID == w.id {
		err = forget(log.Ops)
	} else {
		err = errors.Join(undoAll(log.Ops), removeIfThere(g.manifest(w.id)))
	}
	if err != nil {
		return fmt.Errorf("recovering the installation of %s: %w", w.id, err)
	}
	return os.Remove(w.undo())
}
