package deployer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// group is the folder of one deployment group on this host:
//
//	state.json                      the pointers
//	manifest-<deployment>.jsonl     what is installed
//	deployments/<deployment>/       one folder each, see deployment
type group struct{ dir string }

// work is the folder of one deployment:
//
//	archive/        the unpacked revision
//	events.jsonl    the journal of its lifecycle events
//	install.json    the journal of an installation under way
//	scripts.log     what its scripts wrote
type work struct {
	dir string
	id  string
}

func (w work) archive() string { return filepath.Join(w.dir, "archive") }
func (w work) journal() string { return filepath.Join(w.dir, "events.jsonl") }
func (w work) undo() string    { return filepath.Join(w.dir, "install.json") }
func (w work) log() string     { return filepath.Join(w.dir, "scripts.log") }

func (g group) work(id string) work {
	return work{filepath.Join(g.dir, "deployments", id), id}
}

func (g group) manifest(id string) string {
	return filepath.Join(g.dir, "manifest-"+id+".jsonl")
}

func (d *Deployer) groups() string { return filepath.Join(d.root, "groups") }

func (d *Deployer) group(id string) group {
	return group{filepath.Join(d.groups(), url.PathEscape(id))}
}

// validID is what a deployment may be called: it names a folder.
var validID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$`)

// pointer names a deployment whose revision matters later.
type pointer struct {
	ID      string `json:"id,omitempty"`
	AppSpec string `json:"appspec,omitempty"` // path of its appspec in the archive
}

// state is what a host knows of a group. The three pointers are those of the
// CodeDeploy reference 2.2.
type state struct {
	V          int     `json:"v"`
	Name       string  `json:"name"`
	Installed  pointer `json:"installed"`  // its Install finished: it is on disk
	Succeeded  pointer `json:"succeeded"`  // all of its events finished
	Downloaded pointer `json:"downloaded"` // its DownloadBundle finished
	// StopFailures counts deployments in a row whose events of the previous
	// revision failed.
	StopFailures int `json:"stop_failures,omitempty"`
}

const stateVersion = 1

func (g group) load() (state, error) {
	s := state{V: stateVersion}
	data, err := os.ReadFile(filepath.Join(g.dir, "state.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("reading state of the group: %w", err)
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("reading state of the group: %w", err)
	}
	if s.V > stateVersion {
		return s, fmt.Errorf("state of the group is of version %d: want at most %d", s.V, stateVersion)
	}
	return s, nil
}

func (g group) save(s state) error {
	if err := writeJSON(filepath.Join(g.dir, "state.json"), s); err != nil {
		return fmt.Errorf("writing state of the group: %w", err)
	}
	return nil
}

// writeJSON replaces a file by v in one step that a crash can't halve.
func writeJSON(name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return writeFile(name, append(data, '\n'))
}

func writeFile(name string, data []byte) error {
	tmp := name + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, name); err != nil {
		return err
	}
	return syncDir(filepath.Dir(name))
}

// syncDir makes what happened to the names in a folder last.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// lockPause is how often a busy host is asked again.
const lockPause = 100 * time.Millisecond

// lock takes the host for one deployment at a time, over all groups and
// processes. The returned function lets it go.
func (d *Deployer) lock(ctx context.Context) (func(), error) {
	f, err := os.OpenFile(filepath.Join(d.root, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the host: %w", err)
	}
	tick := time.NewTicker(lockPause)
	defer tick.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil // closing unlocks
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errors.Join(fmt.Errorf("locking the host: %w", err), f.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("waiting for another deployment on this host: %w", context.Cause(ctx)), f.Close())
		case <-tick.C:
		}
	}
}

// lastPart reduces the ARN of a deployment or group to its last part.
func lastPart(id string) string {
	if strings.HasPrefix(id, "arn:") {
		id = id[strings.LastIndexAny(id, ":/")+1:]
	}
	return id
}
