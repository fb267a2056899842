package deployer

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/slipway-ci/slipway/internal/archive"
	"github.com/slipway-ci/slipway/pipeline"
)

// Predecessor is what CodeDeploy's own agent left of a deployment group on this
// host.
type Predecessor struct {
	Application string
	Group       string
	// Cleanup is the agent's GROUP-cleanup file: the paths that it installed.
	Cleanup io.Reader
	// Deployment is the ID of the last successful deployment and Archive the
	// folder of its revision, whose ApplicationStop is to run next. Empty: none.
	Deployment string
	Archive    string
}

// Adopted is what Adopt took over.
type Adopted struct {
	Files   int // links included
	Folders int
	Gone    int  // listed, but no longer there
	Cut     bool // the last line had no end and was left out, as the agent does
}

// cleanupLineBytes is more than a path of Linux has.
const cleanupLineBytes = 8 << 10

// cleanupLimit bounds how many paths a cleanup file may list.
const cleanupLimit = 1 << 20

// Adopt makes the group's own what CodeDeploy's agent installed, so that the
// next deployment replaces and removes it instead of failing on files that
// exist (CodeDeploy reference 3.1 and 3.6). A group that was deployed to by us
// is a *pipeline.UserError, and so is a file that is no cleanup file.
func (d *Deployer) Adopt(ctx context.Context, p Predecessor) (Adopted, error) {
	id := cmp.Or(p.Deployment, "codedeploy")
	dep, _, err := normalise(Deployment{ID: id, Application: p.Application, Group: p.Group, Revision: cmp.Or(p.Archive, ".")})
	if err != nil {
		return Adopted{}, err
	}
	unlock, err := d.lock(ctx)
	if err != nil {
		return Adopted{}, err
	}
	defer unlock()
	g := d.group(dep.GroupID)
	s, err := g.load()
	if err != nil {
		return Adopted{}, err
	}
	if s.Installed.ID != "" {
		return Adopted{}, &pipeline.UserError{Code: "GROUP_EXISTS", Msg: fmt.Sprintf("the deployment group %s has deployment %s on this host already: nothing is taken over", p.Group, s.Installed.ID)}
	}
	entries, adopted, err := d.readCleanup(p.Cleanup)
	if err != nil {
		return Adopted{}, err
	}
	if err := os.MkdirAll(filepath.Join(g.dir, "deployments"), 0o755); err != nil {
		return Adopted{}, fmt.Errorf("making folder of the group: %w", err)
	}
	s.Name, s.Installed = p.Group, pointer{ID: id}
	if p.Archive != "" {
		if s.Installed.AppSpec, err = g.keepArchive(id, p.Archive); err != nil {
			return Adopted{}, err
		}
	}
	s.Succeeded, s.Downloaded = s.Installed, s.Installed
	if err := g.saveManifest(id, entries); err != nil {
		return Adopted{}, err
	}
	return adopted, g.save(s)
}

// keepArchive copies the revision and answers the name of its appspec.
func (g group) keepArchive(id, from string) (string, error) {
	name, err := findSpec(from, "")
	if err != nil {
		return "", err
	}
	to := g.work(id).archive()
	if err := os.RemoveAll(to); err != nil {
		return "", err
	}
	if _, err := archive.Copy(from, to, archive.Limits{}, nil); err != nil {
		return "", fmt.Errorf("keeping the revision of %s: %w", id, err)
	}
	return name, os.Chmod(to, 0o755)
}

// readCleanup reads a cleanup file: a path in each line, or semanage, a zero
// byte and the path whose file context goes. A last line without an end was cut
// off and doesn't count.
func (d *Deployer) readCleanup(r io.Reader) ([]entry, Adopted, error) {
	var adopted Adopted
	found := manifest{}
	in := bufio.NewReaderSize(r, cleanupLineBytes)
	for n := 1; n <= cleanupLimit; n++ {
		line, err := in.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			adopted.Cut = len(line) > 0
			return found.count(&adopted), adopted, nil
		}
		if err != nil {
			return nil, adopted, fmt.Errorf("reading line %d of the cleanup file: %w", n, err)
		}
		text, labelled := strings.CutPrefix(string(bytes.TrimSpace(line)), "semanage\x00")
		at, ok := d.below(text)
		if !ok {
			return nil, adopted, &pipeline.UserError{Code: "CLEANUP_INVALID", Msg: fmt.Sprintf("want the full path of something that was deployed, have %.100q", text), File: "the cleanup file", Line: n, Column: 1}
		}
		if err := d.adoptPath(found, at, labelled); err != nil {
			return nil, adopted, err
		}
	}
	return nil, adopted, &pipeline.UserError{Code: "CLEANUP_INVALID", Msg: fmt.Sprintf("the cleanup file lists more than %d paths", cleanupLimit)}
}

// below is a path of the host as one of the appspec, and false if it is none
// below the target root.
func (d *Deployer) below(hostPath string) (string, bool) {
	if !path.IsAbs(hostPath) {
		return "", false
	}
	hostPath = path.Clean(hostPath)
	if d.target == "/" {
		return hostPath, hostPath != "/"
	}
	rest, ok := strings.CutPrefix(hostPath, d.target+"/")
	return "/" + rest, ok
}

// adoptPath notes what lies at a path now, as if we had put it there; nothing
// has no kind.
func (d *Deployer) adoptPath(found manifest, at string, labelled bool) error {
	e, _, err := examine(d.host(at), entry{})
	if err != nil {
		return fmt.Errorf("looking at %s: %w", at, bare(err))
	}
	e.Path, e.Context = at, labelled || found[at].Context
	found[at] = e
	return nil
}

// count drops what is gone and counts the rest.
func (m manifest) count(adopted *Adopted) []entry {
	var entries []entry
	for _, e := range m {
		switch e.Kind {
		case kindDir:
			adopted.Folders++
		case kindFile, kindLink:
			adopted.Files++
		default: // gone, or a device that nobody deployed
			adopted.Gone++
			continue
		}
		entries = append(entries, e)
	}
	return entries
}
