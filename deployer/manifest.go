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
	"syscall"
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
	By      string `json:"by,omitempty"`      // deployment that retained it
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

// modeBits are the bits of a mode that an author can set.
const modeBits = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky

// look describes what lies at a path of the host; links are not followed. The
// result is false if there is nothing. Sums are computed only if asked for.
func look(hostPath string, sum bool) (entry, bool, error) {
	info, err := os.Lstat(hostPath)
	if err != nil && missing(err) {
		return entry{}, false, nil
	}
	if err != nil {
		return entry{}, false, err
	}
	e := entry{Mode: uint32(info.Mode() & modeBits)}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		e.UID, e.GID = int(st.Uid), int(st.Gid)
	}
	switch {
	case info.IsDir():
		e.Kind = kindDir
	case info.Mode().Type() == fs.ModeSymlink:
		e.Kind = kindLink
		e.Link, err = os.Readlink(hostPath)
	case info.Mode().IsRegular():
		e.Kind = kindFile
		if sum {
			e.SHA256, err = sumFile(hostPath)
		}
	}
	return e, true, err
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
