package archive

import (
	"archive/tar"
	"bufio"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// Limits bound what an archive may unpack to. Zero fields mean the default.
type Limits struct {
	Entries int   // files, folders and links [200,000]
	Bytes   int64 // of all files together, uncompressed [20 GiB]
	// Ratio is how many bytes one byte of the archive may become [200]. It
	// counts from the first 64 MiB on.
	Ratio int64
}

const (
	ratioFreeBytes = 64 << 20
	maxLinkBytes   = 4096    // PATH_MAX
	maxWindowBytes = 1 << 27 // of zstd: what its command line tool accepts
)

func (l Limits) filled() Limits {
	return Limits{
		Entries: cmp.Or(l.Entries, 200_000),
		Bytes:   cmp.Or(l.Bytes, 20<<30),
		Ratio:   cmp.Or(l.Ratio, 200),
	}
}

// Unpack writes the content of the archive r below the folder dest, which is
// made if missing. The format is found out from the first bytes.
//
// The archive is not trusted. Absolute names, names with "..", links that
// leave dest, files written through links, devices, fifos and sockets are
// refused with ErrUnsafe, and so is more than the limits allow. Setuid, setgid and sticky bits
// are dropped, owners are ignored: all belongs to the caller. Folders always
// stay writable for their owner. Of two entries of one name the later wins,
// but a folder is never replaced.
//
// Input that is no archive is ErrFormat. After an error dest holds what was
// unpacked so far. A zip is read at random: unless r is an *os.File at its
// start, it is copied to a temporary file first.
//
// It tells record, unless that is nil, of each regular file that it wrote. One
// that a later entry replaces is told of again.
func Unpack(r io.Reader, dest string, l Limits, record func(File)) (Summary, error) {
	if err := os.MkdirAll(dest, 0o755); err != nil {
		return Summary{}, err
	}
	root, err := os.OpenRoot(dest)
	if err != nil {
		return Summary{}, err
	}
	defer root.Close() // a handle for reading
	u := &unpacker{root: root, limits: l.filled(), in: &meter{hash: sha256.New()}, record: record, sum: sha256.New(), dirs: map[string]dir{}, buffer: make([]byte, copyBytes)}
	defer u.leave()
	if err := u.unpack(r); err != nil {
		return Summary{}, fmt.Errorf("unpacking: %w", err)
	}
	return Summary{SHA256: u.in.sum(), Bytes: u.in.n, Entries: u.entries, Content: u.written}, nil
}

type unpacker struct {
	root    *os.Root
	limits  Limits
	in      *meter
	record  func(File) // may be nil
	sum     hash.Hash  // of the file being written, if that is recorded
	entries int
	written int64
	dirs    map[string]dir // met so far
	buffer  []byte         // for copying
	// within is the folder named at, open: archives list folder by folder, and a
	// file then takes no walk from the root. Nil: none is.
	within *os.Root
	at     string
}

const copyBytes = 64 << 10

// dir is what a folder gets once everything is in it.
type dir struct {
	listed bool // by the archive, so that mode and time are its own
	mode   fs.FileMode
	time   time.Time
}

func (u *unpacker) unpack(r io.Reader) error {
	head := bufio.NewReaderSize(r, 64<<10)
	magic, err := head.Peek(magicBytes)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if len(magic) == 0 {
		return fmt.Errorf("%w: no bytes at all", ErrFormat)
	}
	if f := detect(magic); f == Zip {
		err = u.unpackZip(r, head)
	} else {
		err = u.unpackTar(io.TeeReader(head, u.in), f)
	}
	if err != nil {
		return err
	}
	return u.finishDirs()
}

func (u *unpacker) unpackTar(in io.Reader, f Format) error {
	plain := in
	switch f {
	case TarGzip:
		z, err := gzip.NewReader(in)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrFormat, err)
		}
		plain = z
	case TarZstd:
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindowBytes))
		if err != nil {
			return fmt.Errorf("%w: %w", ErrFormat, err)
		}
		defer z.Close()
		plain = z
	}
	t := tar.NewReader(plain)
	for {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrFormat, err)
		}
		if err := u.tarEntry(h, t); err != nil {
			return err
		}
	}
	return u.drain(plain, in)
}

// drain reads what follows the end mark, so that the sum covers every byte
// and a compressor's check sum is checked.
func (u *unpacker) drain(plain, in io.Reader) error {
	if _, err := io.Copy(counted{io.Discard, u}, unreliable{plain}); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, in)
	return err
}

func (u *unpacker) tarEntry(h *tar.Header, r io.Reader) error {
	mode := h.FileInfo().Mode()
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse:
		return u.file(h.Name, mode, h.ModTime, r)
	case tar.TypeDir:
		return u.dir(h.Name, mode, h.ModTime)
	case tar.TypeSymlink:
		return u.symlink(h.Name, h.Linkname)
	case tar.TypeLink:
		return u.link(h.Name, h.Linkname)
	case tar.TypeXGlobalHeader: // git writes the commit there
		return nil
	}
	return fmt.Errorf("%w: %s is neither file, folder nor link", ErrUnsafe, quoted(h.Name))
}

// place checks an entry's name, counts it and makes the folders above it. It
// returns the name to use below the root, "." for the root itself.
func (u *unpacker) place(name string) (string, error) {
	if u.entries++; u.entries > u.limits.Entries {
		return "", fmt.Errorf("%w: more than %d entries", ErrUnsafe, u.limits.Entries)
	}
	clean := path.Clean(strings.TrimSuffix(name, "/"))
	if name == "" || strings.ContainsRune(name, 0) || path.IsAbs(name) || leaves(name) {
		return "", fmt.Errorf("%w: the name %s leaves the folder", ErrUnsafe, quoted(name))
	}
	if clean == "." {
		return clean, nil
	}
	return clean, u.parents(path.Dir(clean))
}

// parents makes the folder p and those above it. All of them must be real
// folders: nothing is ever written through a link, so that "..", in the text
// of a link made below, means what it says.
func (u *unpacker) parents(p string) error {
	if _, known := u.dirs[p]; known || p == "." {
		return nil
	}
	if err := u.parents(path.Dir(p)); err != nil {
		return err
	}
	info, err := u.root.Lstat(p)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := u.root.Mkdir(p, 0o755); err != nil {
			return err
		}
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%w: %s is used as a folder but is none", ErrUnsafe, quoted(p))
	}
	u.dirs[p] = dir{}
	return nil
}

func (u *unpacker) dir(name string, mode fs.FileMode, at time.Time) error {
	p, err := u.place(name)
	if err != nil || p == "." {
		return err
	}
	if err := u.parents(p); err != nil {
		return err
	}
	u.dirs[p] = dir{listed: true, mode: mode.Perm() | 0o700, time: at}
	return nil
}

func (u *unpacker) file(name string, mode fs.FileMode, at time.Time, r io.Reader) error {
	p, err := u.place(name)
	if err != nil {
		return err
	}
	f, err := u.create(p, name)
	if err != nil {
		return err
	}
	w := io.Writer(f)
	if u.record != nil {
		u.sum.Reset()
		w = io.MultiWriter(f, u.sum)
	}
	_, err = io.CopyBuffer(counted{w, u}, unreliable{r}, u.buffer)
	if err == nil {
		err = f.Chmod(cmp.Or(mode.Perm(), 0o644)) // some zip writers leave 0
	}
	if err == nil && at.Unix() > 0 {
		err = u.within.Chtimes(path.Base(p), at, at)
	}
	if err == nil {
		err = u.tell(p, f)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("%s: %w", quoted(name), err)
	}
	return nil
}

func (u *unpacker) tell(p string, f *os.File) error {
	if u.record == nil {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	u.record(fileOf(p, u.sum.Sum(nil), &st))
	return nil
}

// create makes the file p, in place of what is there, and leaves its folder
// open.
func (u *unpacker) create(p, name string) (*os.File, error) {
	if err := u.enter(path.Dir(p)); err != nil {
		return nil, err
	}
	const fresh = os.O_WRONLY | os.O_CREATE | os.O_EXCL
	f, err := u.within.OpenFile(path.Base(p), fresh, 0o600)
	if err == nil || !errors.Is(err, fs.ErrExist) && p != "." {
		return f, err
	}
	if err := u.clear(p, name); err != nil {
		return nil, err
	}
	return u.within.OpenFile(path.Base(p), fresh, 0o600)
}

// enter opens a folder that parents has made. It can't be replaced as long as
// the archive is unpacked: no entry replaces a folder.
func (u *unpacker) enter(dir string) error {
	if u.within != nil && u.at == dir {
		return nil
	}
	u.leave()
	within, err := u.root.OpenRoot(dir)
	if err != nil {
		return err
	}
	u.within, u.at = within, dir
	return nil
}

func (u *unpacker) leave() {
	if u.within != nil {
		_ = u.within.Close() // a handle of a folder
		u.within = nil
	}
}

// stamp sets a time if the archive has one.
func (u *unpacker) stamp(p string, at time.Time) error {
	if at.Unix() <= 0 {
		return nil
	}
	return u.root.Chtimes(p, at, at)
}

func (u *unpacker) symlink(name, text string) error {
	p, err := u.free(name)
	if err != nil {
		return err
	}
	if err := checkLink(p, text); err != nil {
		return err
	}
	return u.root.Symlink(text, p)
}

// link makes a hard link to a regular file that came earlier.
func (u *unpacker) link(name, target string) error {
	p, err := u.free(name)
	if err != nil {
		return err
	}
	if path.IsAbs(target) || leaves(target) {
		return fmt.Errorf("%w: the link %s leaves the folder", ErrUnsafe, quoted(name))
	}
	target = path.Clean(target)
	for d := path.Dir(target); d != "."; d = path.Dir(d) {
		if _, made := u.dirs[d]; !made {
			return fmt.Errorf("%w: the link %s has no target in the archive", ErrUnsafe, quoted(name))
		}
	}
	info, err := u.root.Lstat(target)
	if err != nil || !info.Mode().IsRegular() {
		return fmt.Errorf("%w: the link %s has no target in the archive", ErrUnsafe, quoted(name))
	}
	return u.root.Link(target, p)
}

// free is place for what is no folder; it removes what an earlier entry, or
// somebody before us, left under that name.
func (u *unpacker) free(name string) (string, error) {
	p, err := u.place(name)
	if err != nil {
		return "", err
	}
	return p, u.clear(p, name)
}

func (u *unpacker) clear(p, name string) error {
	info, err := u.root.Lstat(p)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("%w: %s is a folder already", ErrUnsafe, quoted(name))
	}
	return u.root.Remove(p)
}

func (u *unpacker) finishDirs() error {
	for p, d := range u.dirs {
		if !d.listed {
			continue
		}
		if err := errors.Join(u.root.Chmod(p, d.mode), u.stamp(p, d.time)); err != nil {
			return err
		}
	}
	return nil
}

// counted writes to w while the limits allow it.
type counted struct {
	w io.Writer
	u *unpacker
}

func (c counted) Write(p []byte) (int, error) {
	u := c.u
	u.written += int64(len(p))
	if u.written > u.limits.Bytes {
		return 0, fmt.Errorf("%w: more than %d bytes unpacked", ErrUnsafe, u.limits.Bytes)
	}
	if u.written > ratioFreeBytes && u.written/u.limits.Ratio > u.in.n {
		return 0, fmt.Errorf("%w: %d bytes unpack to more than %d times as many", ErrUnsafe, u.in.n, u.limits.Ratio)
	}
	return c.w.Write(p)
}

// unreliable marks what goes wrong while an archive is decoded.
type unreliable struct{ r io.Reader }

func (r unreliable) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return n, err
}

// leaves reports whether a relative name has a part "..".
func leaves(name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return true
		}
	}
	return false
}

// checkLink refuses the text of a symbolic link at name that may leave the
// folder. ".." may only come first: behind another part it would start from
// wherever that part, a link perhaps, leads.
func checkLink(name, text string) error {
	rest, ups := text, 0
	for rest == ".." || strings.HasPrefix(rest, "../") {
		rest = strings.TrimLeft(strings.TrimPrefix(rest, ".."), "/")
		ups++
	}
	if text == "" || strings.ContainsRune(text, 0) || path.IsAbs(text) || leaves(rest) || ups > strings.Count(name, "/") {
		return fmt.Errorf("%w: the link %s to %s leaves the folder", ErrUnsafe, quoted(name), quoted(text))
	}
	return nil
}

// quoted is an archive's word in an error: escaped, and not endless.
func quoted(s string) string {
	const most = 200
	if len(s) > most {
		s = s[:most] + "…"
	}
	return fmt.Sprintf("%q", s)
}
