package deployer

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/slipway-ci/slipway/deployer/appspec"
)

// sharedFolder is where revisions are whose scripts run as other users, if
// those can't enter the state folder, unless Options say otherwise.
const sharedFolder = "/var/lib/slipway-revisions"

// place makes an unpacked revision the deployment's archive. Where the state
// folder is private to root, as one below /root is, and scripts run as others,
// the revision goes to a folder that they can enter, and a link leads there.
func (a *attempt) place(unpacked string) error {
	archive := a.work.archive()
	if err := os.Remove(archive); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err // nothing but a link that leads nowhere can be there
	}
	if os.Geteuid() != 0 || enterable(a.work.dir) || !a.runsAsOthers(unpacked) {
		return os.Rename(unpacked, archive)
	}
	shared := a.d.sharedArchive(a.work.dir)
	if err := errors.Join(os.RemoveAll(shared), os.MkdirAll(filepath.Dir(shared), 0o755)); err != nil {
		return err
	}
	if err := move(unpacked, shared); err != nil {
		return err
	}
	return os.Symlink(shared, archive)
}

// sharedArchive is the folder of a deployment's revision outside of the state
// folder, of which dir is the deployment's part.
func (d *Deployer) sharedArchive(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return filepath.Join(d.shared, hex.EncodeToString(sum[:12]))
}

// runsAsOthers reports whether scripts of the revision want to run as somebody
// else than root. An appspec that can't be read is reported later.
func (a *attempt) runsAsOthers(dir string) bool {
	name, err := findSpec(dir, a.dep.AppSpec)
	if err != nil {
		return false
	}
	spec, _, err := readSpec(dir, name, a.specOptions())
	if err != nil {
		return false
	}
	for _, scripts := range spec.Hooks {
		for _, s := range scripts {
			if other(s) {
				return true
			}
		}
	}
	return false
}

func other(s appspec.Script) bool { return s.RunAs != "" && s.RunAs != "root" }

// enterable reports whether every user can enter the folder.
func enterable(dir string) bool {
	for {
		info, err := os.Stat(dir)
		if err != nil || info.Mode()&0o001 == 0 {
			return false
		}
		up := filepath.Dir(dir)
		if up == dir {
			return true
		}
		dir = up
	}
}

// move renames a folder, or copies it to another disk.
func move(from, to string) error {
	err := os.Rename(from, to)
	if !errors.Is(err, syscall.EXDEV) {
		return err
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return fmt.Errorf("copying the revision to %s: %w", to, err)
	}
	return nil
}

// files is the folder in which the revision really is, free of links.
func (w work) files() string {
	if real, err := filepath.EvalSymlinks(w.archive()); err == nil {
		return real
	}
	return w.archive()
}
