package deployer

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/slipway-ci/slipway/internal/archive"
)

// kind is what lies at a path.
type kind string

const (
	kindFile kind = "file"
	kindDir  kind = "dir"
	kindLink kind = "link"
	// kindRetained is a foreign file that a deployment kept under RETAIN: it is
	// remembered for messages, and never touched.
	kindRetained kind = "retained"
)

// entry is one line of a manifest: something that a deployment put there.
type entry struct {
	Path    string `json:"path"` // absolute, without the target root
	Kind    kind   `json:"type"`
	SHA256  string `json:"sha256,omitempty"`
	Mode    uint32 `json:"mode,omitempty"` // permissions, setuid, setgid, sticky as in fs.FileMode
	UID     int    `json:"uid"`
	GID     int    `json:"gid"`
	Link    string `json:"link,omitempty"`
	ACL     string `json:"acl,omitempty"`
	Context bool   `json:"context,omitempty"` // a file context was added
	// Stamp is the file's when it was put there, so that one that nobody touched
	// since need not be read to know its sum.
	Stamp archive.Stamp `json:"stamp,omitzero"`
	By    string        `json:"by,omitempty"` // deployment that retained it
}

// manifest is what is installed, by path.
type manifest map[string]entry

func (g group) loadManifest(id string) (manifest, error) {
	m := manifest{}
	if id == "" {
		return m, nil
	}
	data, err := os.ReadFile(g.manifest(id))
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading manifest: %w", err)
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e entry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, fmt.Errorf("reading manifest: %w", err)
		}
		m[e.Path] = e
	}
	return m, lines.Err()
}

func (g group) saveManifest(id string, entries []entry) error {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	for _, e := range entries {
		if err := enc.Encode(e); err != nil {
			return err
		}
	}
	if err := writeFile(g.manifest(id), out.Bytes()); err != nil {
		return fmt.Errorf("writing manifest: %w", err)
	}
	return nil
}

// owns reports whether the path is a file or link of the manifest.
func (m manifest) owns(path string) bool {
	e, has := m[path]
	return has && (e.Kind == kindFile || e.Kind == kindLink)
}

// look describes what lies at a path of the host; links are not followed. The
// result is false if there is nothing. A file's sum is left out.
func look(hostPath string) (entry, bool, error) {
	var st unix.Stat_t
	err := unix.Lstat(hostPath, &st)
	if err != nil && missing(err) {
		return entry{}, false, nil
	}
	if err != nil {
		return entry{}, false, &fs.PathError{Op: "lstat", Path: hostPath, Err: err}
	}
	e := entry{Mode: uint32(modeOf(uint32(st.Mode))), UID: int(st.Uid), GID: int(st.Gid)}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		e.Kind = kindDir
	case unix.S_IFLNK:
		e.Kind = kindLink
		e.Link, err = os.Readlink(hostPath)
	case unix.S_IFREG:
		e.Kind, e.Stamp = kindFile, archive.StampOf(&st)
	}
	return e, true, err
}

// examine is look with a file's sum, which is read unless the file is as it was
// when was was taken down.
func examine(hostPath string, was entry) (entry, bool, error) {
	e, there, err := look(hostPath)
	if err != nil || e.Kind != kindFile {
		return e, there, err
	}
	if was.SHA256 != "" && was.Stamp == e.Stamp {
		e.SHA256 = was.SHA256
		return e, true, nil
	}
	e.SHA256, err = sumFile(hostPath)
	return e, true, err
}

// modeOf is the part of a mode that an author can set.
func modeOf(m uint32) fs.FileMode {
	mode := fs.FileMode(m) & fs.ModePerm
	if m&unix.S_ISUID != 0 {
		mode |= fs.ModeSetuid
	}
	if m&unix.S_ISGID != 0 {
		mode |= fs.ModeSetgid
	}
	if m&unix.S_ISVTX != 0 {
		mode |= fs.ModeSticky
	}
	return mode
}

// sumBuffers are what files are read into; many small ones would each make one.
var sumBuffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// onlyReader hides that a file would copy itself, by a buffer of its own.
type onlyReader struct{ io.Reader }

func sumFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close() // read only
	buffer := sumBuffers.Get().(*[64 << 10]byte)
	defer sumBuffers.Put(buffer)
	h := sha256.New()
	if _, err := io.CopyBuffer(h, onlyReader{f}, buffer[:]); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// sameContent compares what lies there with what a manifest says.
func (e entry) sameContent(o entry) bool {
	return e.Kind == o.Kind && e.SHA256 == o.SHA256 && e.Link == o.Link
}

// same is sameContent and equal rights. A link has no mode of its own.
func (e entry) same(o entry) bool {
	return e.sameContent(o) && e.UID == o.UID && e.GID == o.GID && (e.Kind == kindLink || e.Mode == o.Mode)
}

// host is where a path of the appspec lies on this host.
func (d *Deployer) host(path string) string {
	return filepath.Join(d.target, path)
}
