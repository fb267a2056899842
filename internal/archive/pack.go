package archive

import (
	"archive/tar"
	"archive/zip"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Entry is one file, folder or link to be packed.
type Entry struct {
	Name string // slash-separated, relative: its name in the archive; empty means Path
	Path string // its path in the file system given to Pack, as fs.FS wants it
}

// PackOptions say how Pack writes. The zero value writes a zip in the given
// order with the files' own times.
type PackOptions struct {
	Format Format // empty means Zip
	// Reproducible sorts entries by name and gives all the same time, so that
	// equal content makes equal bytes.
	Reproducible bool
	// Follow packs the file behind a symbolic link instead of the link. Links
	// to folders stay links.
	Follow bool
}

// reproducibleTime is the earliest time that both zip and tar can hold.
var reproducibleTime = time.Date(1980, time.January, 1, 0, 0, 0, 0, time.UTC)

// List is every entry below root in the order of its name, folders included,
// ready for Pack.
func List(root fs.FS) ([]Entry, error) {
	var entries []Entry
	err := fs.WalkDir(root, ".", func(p string, _ fs.DirEntry, err error) error {
		if err == nil && p != "." {
			entries = append(entries, Entry{Path: p})
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing files to pack: %w", err)
	}
	return entries, nil
}

// Pack writes the given entries of root to w. Mode bits and symbolic links are
// kept, owners are not. Folders need not be listed; a listed folder is packed
// without its content. Two entries of one name are an error, a device, a
// socket or a fifo is ErrUnsafe. Pass os.Root's FS rather than os.DirFS where the files come from
// somebody else: it refuses to follow links out of the folder.
func Pack(w io.Writer, root fs.FS, entries []Entry, o PackOptions) (Summary, error) {
	entries, err := named(entries)
	if err != nil {
		return Summary{}, err
	}
	if o.Reproducible {
		slices.SortFunc(entries, func(a, b Entry) int { return cmp.Compare(a.Name, b.Name) })
	}
	m := &meter{hash: sha256.New()}
	out, err := newSink(io.MultiWriter(w, m), cmp.Or(o.Format, Zip))
	if err != nil {
		return Summary{}, err
	}
	p := packer{root: root, out: out, options: o}
	for _, e := range entries {
		if err := p.add(e); err != nil {
			_ = out.Close() // the archive is broken anyway
			return Summary{}, fmt.Errorf("packing %s: %w", e.Path, err)
		}
	}
	if err := out.Close(); err != nil {
		return Summary{}, fmt.Errorf("finishing archive: %w", err)
	}
	return Summary{SHA256: m.sum(), Bytes: m.n, Entries: len(entries), Content: p.content}, nil
}

// named fills in the names and refuses those that Unpack would refuse.
func named(entries []Entry) ([]Entry, error) {
	entries = slices.Clone(entries)
	seen := make(map[string]bool, len(entries))
	for i, e := range entries {
		name := path.Clean(cmp.Or(e.Name, e.Path))
		if name == "." || !fs.ValidPath(name) {
			return nil, fmt.Errorf("packing %s: %q is no name inside an archive", e.Path, e.Name)
		}
		if seen[name] {
			return nil, fmt.Errorf("packing %s: two files want the name %q", e.Path, name)
		}
		seen[name] = true
		entries[i].Name = name
	}
	return entries, nil
}

// item is one entry with all that a sink needs of it.
type item struct {
	name string
	mode fs.FileMode
	time time.Time
	link string // text of a symbolic link
	size int64
}

type packer struct {
	root    fs.FS
	out     sink
	options PackOptions
	content int64
}

func (p *packer) add(e Entry) error {
	info, err := fs.Lstat(p.root, e.Path)
	if err != nil {
		return err
	}
	if info.Mode().Type() == fs.ModeSymlink && p.options.Follow {
		target, err := fs.Stat(p.root, e.Path)
		if err != nil {
			return err
		}
		if !target.IsDir() {
			info = target
		}
	}
	it := item{name: e.Name, mode: info.Mode(), time: info.ModTime()}
	if p.options.Reproducible {
		it.time = reproducibleTime
	}
	switch info.Mode().Type() {
	case fs.ModeDir:
		return p.out.add(it, nil)
	case fs.ModeSymlink:
		return p.addLink(e, it)
	case 0:
		return p.addFile(e, it)
	}
	return fmt.Errorf("%w: a %s is neither file, folder nor symbolic link", ErrUnsafe, special(info.Mode()))
}

// special names what no archive holds.
func special(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeNamedPipe != 0:
		return "named pipe"
	case mode&fs.ModeSocket != 0:
		return "socket"
	}
	return "device"
}

func (p *packer) addLink(e Entry, it item) error {
	link, err := fs.ReadLink(p.root, e.Path)
	if err != nil {
		return err
	}
	if err := checkLink(e.Name, link); err != nil {
		return err
	}
	it.link = link
	return p.out.add(it, nil)
}

func (p *packer) addFile(e Entry, it item) error {
	f, err := p.root.Open(e.Path)
	if err != nil {
		return err
	}
	defer f.Close() // read only
	info, err := f.Stat()
	if err != nil {
		return err
	}
	it.size = info.Size()
	p.content += it.size
	return p.out.add(it, f)
}

// sink is an archive being written.
type sink interface {
	// add appends one item; r is nil but for regular files.
	add(it item, r io.Reader) error
	io.Closer
}

func newSink(w io.Writer, f Format) (sink, error) {
	switch f {
	case Zip:
		return zipSink{zip.NewWriter(w)}, nil
	case Tar:
		return &tarSink{Writer: tar.NewWriter(w)}, nil
	case TarGzip:
		z := gzip.NewWriter(w)
		return &tarSink{tar.NewWriter(z), z}, nil
	case TarZstd:
		// One worker: the bytes then don't depend on the number of cores.
		z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
		if err != nil {
			return nil, fmt.Errorf("starting zstd: %w", err)
		}
		return &tarSink{tar.NewWriter(z), z}, nil
	}
	return nil, fmt.Errorf("unknown archive format %q: want zip, tar, tar.gz or tar.zst", f)
}

type zipSink struct{ *zip.Writer }

func (s zipSink) add(it item, r io.Reader) error {
	h := &zip.FileHeader{Name: it.name, Modified: it.time.UTC(), Method: zip.Deflate}
	h.SetMode(it.mode)
	if it.mode.IsDir() {
		h.Name, h.Method = it.name+"/", zip.Store
	}
	w, err := s.CreateHeader(h)
	if err != nil || it.mode.IsDir() {
		return err
	}
	if it.mode.Type() == fs.ModeSymlink {
		r = strings.NewReader(it.link)
	}
	_, err = io.Copy(w, r)
	return err
}

// tarSink is a tar writer with the compressor below it, if any.
type tarSink struct {
	*tar.Writer
	below io.Closer
}

func (s *tarSink) add(it item, r io.Reader) error {
	h := &tar.Header{Name: it.name, Mode: tarMode(it.mode), ModTime: it.time.Truncate(time.Second), Size: it.size}
	switch it.mode.Type() {
	case fs.ModeDir:
		h.Typeflag, h.Name = tar.TypeDir, it.name+"/"
	case fs.ModeSymlink:
		h.Typeflag, h.Linkname = tar.TypeSymlink, it.link
	default:
		h.Typeflag = tar.TypeReg
	}
	if err := s.WriteHeader(h); err != nil || r == nil {
		return err
	}
	// The header has promised it.size bytes: more are cut, fewer are an error.
	_, err := io.CopyN(s.Writer, r, it.size)
	return err
}

func (s *tarSink) Close() error {
	err := s.Writer.Close()
	if s.below != nil {
		err = errors.Join(err, s.below.Close())
	}
	return err
}

// tarMode is a mode in tar's numbers: permissions, setuid, setgid and sticky.
func tarMode(m fs.FileMode) int64 {
	n := int64(m.Perm())
	for _, b := range []struct {
		bit fs.FileMode
		n   int64
	}{{fs.ModeSetuid, 0o4000}, {fs.ModeSetgid, 0o2000}, {fs.ModeSticky, 0o1000}} {
		if m&b.bit != 0 {
			n |= b.n
		}
	}
	return n
}
