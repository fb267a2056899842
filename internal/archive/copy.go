package archive

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Copy writes the content of the folder from below the folder dest, which is
// made if missing, as Pack and Unpack would by the way of an archive: it keeps,
// drops, refuses and bounds the same. Two files are copied at a time. No link
// below from is followed, so that its content may be somebody else's.
//
// It tells record, unless that is nil, of each file that it wrote, of one at a
// time and in no particular order.
func Copy(from, dest string, l Limits, record func(File)) (Summary, error) {
	if err := os.MkdirAll(dest, 0o755); err != nil {
		return Summary{}, err
	}
	c := &copier{limits: l.filled(), record: record}
	c.group.SetLimit(copiers)
	top, err := openPair(unix.AT_FDCWD, from, unix.AT_FDCWD, dest, 0)
	if err != nil {
		return Summary{}, fmt.Errorf("copying folder: %w", err)
	}
	defer top.done()
	err = c.folder(top, ".", from)
	if err := cmp.Or(c.group.Wait(), err); err != nil {
		return Summary{}, fmt.Errorf("copying folder: %w", err)
	}
	return Summary{Entries: c.entries, Content: c.written.Load()}, c.finish(top)
}

const (
	copiers = 2  // files that are copied at a time
	handful = 32 // files of one folder that are copied in one go
)

// copier is one call of Copy.
type copier struct {
	limits  Limits
	group   errgroup.Group
	entries int
	written atomic.Int64
	failed  atomic.Bool
	folders []finishedFolder // those above before those within
	mu      sync.Mutex       // held while record is called
	record  func(File)
}

// finishedFolder gets its mode and time once everything is in it.
type finishedFolder struct {
	name string
	mode uint32
	at   unix.Timespec
}

// pair is a folder and its copy, open as long as somebody copies from it.
type pair struct {
	from, to int
	users    atomic.Int32
}

func openPair(fromAt int, from string, toAt int, to string, flags int) (*pair, error) {
	flags |= unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC
	p := &pair{}
	p.users.Store(1)
	var err error
	if p.from, err = openAt(fromAt, from, flags, 0); err != nil {
		return nil, err
	}
	if p.to, err = openAt(toAt, to, flags, 0); err != nil {
		return nil, errors.Join(err, unix.Close(p.from))
	}
	return p, nil
}

func (p *pair) done() {
	if p.users.Add(-1) == 0 {
		_, _ = unix.Close(p.from), unix.Close(p.to) // handles of folders
	}
}

// openAt is openat, repeated when a signal interrupts it.
func openAt(dir int, name string, flags int, mode uint32) (int, error) {
	for {
		fd, err := unix.Openat(dir, name, flags, mode)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// folder copies what is in a folder: the one called name below the outermost.
func (c *copier) folder(p *pair, name, full string) error {
	children, err := list(p.from, full)
	if err != nil {
		return fmt.Errorf("%s: %w", quoted(name), err)
	}
	var files []string
	for _, child := range children {
		if c.failed.Load() {
			return nil // which the group will tell
		}
		if c.entries++; c.entries > c.limits.Entries {
			return fmt.Errorf("%w: more than %d entries", ErrUnsafe, c.limits.Entries)
		}
		below := path.Join(name, child.Name())
		switch child.Type() {
		case 0:
			files = append(files, child.Name())
			continue
		case fs.ModeDir:
			err = c.within(p, child.Name(), below, filepath.Join(full, child.Name()))
		case fs.ModeSymlink:
			err = copyLink(p, child.Name(), below)
		default:
			err = fmt.Errorf("%w: %s is neither file, folder nor link", ErrUnsafe, quoted(below))
		}
		if err != nil {
			return err
		}
	}
	for some := range slices.Chunk(files, handful) {
		c.files(p, name, some)
	}
	return nil
}

// list is what is in an open folder by name; full is for file systems that
// don't tell what things are.
func list(fd int, full string) ([]fs.DirEntry, error) {
	own, err := openAt(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(own), full)
	children, err := f.ReadDir(-1)
	slices.SortFunc(children, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return children, errors.Join(err, f.Close())
}

// within makes a folder and copies what is in it.
func (c *copier) within(p *pair, child, name, full string) error {
	if err := unix.Mkdirat(p.to, child, 0o700); err != nil {
		return fmt.Errorf("%s: %w", quoted(name), err)
	}
	inner, err := openPair(p.from, child, p.to, child, unix.O_NOFOLLOW)
	if err != nil {
		return fmt.Errorf("%s: %w", quoted(name), err)
	}
	defer inner.done()
	var st unix.Stat_t
	if err := unix.Fstat(inner.from, &st); err != nil {
		return fmt.Errorf("%s: %w", quoted(name), err)
	}
	c.folders = append(c.folders, finishedFolder{name, uint32(st.Mode)&0o777 | 0o700, st.Mtim})
	return c.folder(inner, name, full)
}

// finish works from the innermost folder out: what is set within may change
// the time of the one above.
func (c *copier) finish(top *pair) error {
	for _, f := range slices.Backward(c.folders) {
		err := unix.Fchmodat(top.to, f.name, f.mode, 0)
		if err == nil {
			err = unix.UtimesNanoAt(top.to, f.name, []unix.Timespec{f.at, f.at}, 0)
		}
		if err != nil {
			return fmt.Errorf("copying folder: %s: %w", quoted(f.name), err)
		}
	}
	return nil
}

func copyLink(p *pair, child, name string) error {
	text := make([]byte, maxLinkBytes+1)
	n, err := unix.Readlinkat(p.from, child, text)
	if err != nil {
		return fmt.Errorf("%s: %w", quoted(name), err)
	}
	if err := checkLink(name, string(text[:n])); err != nil {
		return err
	}
	if err := unix.Symlinkat(string(text[:n]), p.to, child); err != nil {
		return fmt.Errorf("%s: %w", quoted(name), err)
	}
	return nil
}

// files copies some files of a folder beside everything else.
func (c *copier) files(p *pair, name string, some []string) {
	p.users.Add(1)
	c.group.Go(func() error {
		defer p.done()
		w := writers.Get().(*writer)
		defer writers.Put(w)
		w.spend = c.spend
		for _, child := range some {
			if c.failed.Load() {
				return nil
			}
			if err := c.file(p, child, path.Join(name, child), w); err != nil {
				c.failed.Store(true)
				return fmt.Errorf("%s: %w", quoted(path.Join(name, child)), err)
			}
		}
		return nil
	})
}

func (c *copier) file(p *pair, child, name string, w *writer) error {
	st, err := w.copy(p.from, child, p.to, child, 0)
	if err != nil {
		return err
	}
	if c.record != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.record(fileOf(name, w.hash.Sum(w.sum[:0]), &st))
	}
	return nil
}

func (c *copier) spend(n int) error {
	if c.written.Add(int64(n)) > c.limits.Bytes {
		return fmt.Errorf("%w: more than %d bytes", ErrUnsafe, c.limits.Bytes)
	}
	return nil
}

// CopyFile copies a regular file to one that must not be there yet, with its
// times, and makes it readable for its owner, who is the caller, alone. It
// doesn't follow a link.
func CopyFile(from, to string) (File, error) {
	w := writers.Get().(*writer)
	defer writers.Put(w)
	w.spend = func(int) error { return nil }
	st, err := w.copy(unix.AT_FDCWD, from, unix.AT_FDCWD, to, 0o600)
	if err != nil {
		return File{}, err
	}
	return fileOf(to, w.hash.Sum(w.sum[:0]), &st), nil
}

// writer is what copying a file takes.
type writer struct {
	spend  func(bytes int) error // may refuse
	buffer [copyBytes]byte
	hash   hash.Hash // of the content
	sum    [sha256.Size]byte
}

var writers = sync.Pool{New: func() any { return &writer{hash: sha256.New()} }}

// copy copies a file. The mode 0 means that of the file, or 0o644 if that has
// none.
func (w *writer) copy(fromAt int, from string, toAt int, to string, mode uint32) (st unix.Stat_t, err error) {
	// A fifo that took the file's place is not waited for.
	in, err := openAt(fromAt, from, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return st, err
	}
	defer unix.Close(in) // read only
	if err := unix.Fstat(in, &st); err != nil {
		return st, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return st, fmt.Errorf("%w: it is no file any more", ErrUnsafe)
	}
	out, err := openAt(toAt, to, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return st, err
	}
	err = w.content(out, in)
	if mode := cmp.Or(mode, uint32(st.Mode)&0o777, 0o644); err == nil && mode != 0o600 {
		err = unix.Fchmod(out, mode)
	}
	if err == nil && st.Mtim.Sec > 0 {
		err = unix.UtimesNanoAt(toAt, to, []unix.Timespec{st.Mtim, st.Mtim}, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err == nil {
		err = unix.Fstat(out, &st)
	}
	return st, errors.Join(err, unix.Close(out))
}

// content copies and sums until the end of a file.
func (w *writer) content(to, from int) error {
	w.hash.Reset()
	for {
		n, err := unix.Read(from, w.buffer[:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			return err
		}
		if err := w.spend(n); err != nil {
			return err
		}
		w.hash.Write(w.buffer[:n])
		if err := writeAll(to, w.buffer[:n]); err != nil {
			return err
		}
	}
}

func writeAll(fd int, data []byte) error {
	for len(data) > 0 {
		n, err := unix.Write(fd, data)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		data = data[max(n, 0):]
	}
	return nil
}
