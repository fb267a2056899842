package archive

import (
	"archive/zip"
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// unpackZip reads the archive from r itself if that is a file, else from a
// copy of it; head holds r's first bytes.
func (u *unpacker) unpackZip(r io.Reader, head *bufio.Reader) error {
	f, own := r.(*os.File)
	if !own {
		tmp, err := os.CreateTemp("", "slipway-zip-")
		if err != nil {
			return err
		}
		defer os.Remove(tmp.Name())
		defer tmp.Close()
		f = tmp
	}
	spool := io.Writer(io.Discard)
	if !own {
		spool = f
	}
	limit := u.limits.Bytes
	n, err := io.Copy(io.MultiWriter(spool, u.in), io.LimitReader(head, limit+1))
	if err != nil {
		return err
	}
	if n > limit {
		return fmt.Errorf("%w: more than %d bytes", ErrUnsafe, limit)
	}
	z, err := zip.NewReader(f, n)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	for _, e := range z.File {
		if err := u.zipEntry(e); err != nil {
			return err
		}
	}
	return nil
}

func (u *unpacker) zipEntry(e *zip.File) error {
	name, mode := e.Name, e.Mode()
	if e.CreatorVersion>>8 == 0 { // made on DOS or Windows: other slashes, no modes
		name = strings.ReplaceAll(name, `\`, "/")
		mode &^= 0o022
	}
	if strings.HasSuffix(name, "/") {
		return u.dir(name, fs.ModeDir|mode.Perm(), e.Modified)
	}
	switch mode.Type() {
	case fs.ModeDir:
		return u.dir(name, mode, e.Modified)
	case 0, fs.ModeSymlink:
	default:
		return fmt.Errorf("%w: %s is neither file, folder nor link", ErrUnsafe, quoted(name))
	}
	r, err := e.Open()
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrFormat, quoted(name), err)
	}
	defer r.Close() // read only
	if mode.Type() == 0 {
		return u.file(name, mode, e.Modified, r)
	}
	text, err := io.ReadAll(io.LimitReader(r, maxLinkBytes))
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrFormat, quoted(name), err)
	}
	return u.symlink(name, string(text))
}
