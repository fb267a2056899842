// Package archive packs files into zip and tar archives and unpacks archives
// that nobody vouches for. Packing keeps mode bits and symbolic links and can
// be made reproducible; unpacking writes below one folder and nowhere else.
// Both sum the archive's bytes with SHA-256 while they stream.
package archive

import (
	"bytes"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"strings"
)

// Format is a kind of archive.
type Format string

// The formats that Pack writes and Unpack reads.
const (
	Zip     Format = "zip"
	Tar     Format = "tar"
	TarGzip Format = "tar.gz"
	TarZstd Format = "tar.zst"
)

// ErrUnsafe marks archives that Unpack refuses: names or links that leave the
// folder, devices, more than the limits allow; and files that Pack refuses.
var ErrUnsafe = errors.New("unsafe archive")

// ErrFormat marks input that is no archive of a known format, or a broken one.
var ErrFormat = errors.New("not a readable archive")

// FormatOf is the format that a file name stands for, and false if its ending
// is none of .zip, .tar, .tar.gz, .tgz, .tar.zst and .tzst in any case.
func FormatOf(name string) (Format, bool) {
	name = strings.ToLower(name)
	for _, e := range []struct {
		ending string
		format Format
	}{
		{".zip", Zip}, {".tar", Tar},
		{".tar.gz", TarGzip}, {".tgz", TarGzip},
		{".tar.zst", TarZstd}, {".tzst", TarZstd},
	} {
		if strings.HasSuffix(name, e.ending) {
			return e.format, true
		}
	}
	return "", false
}

// magicBytes is how much of an archive detect looks at: one tar block.
const magicBytes = 512

// detect tells the format from an archive's first bytes. What has no other
// mark is taken for a tar, whose oldest form has none; the tar reader then
// checks the header's sum.
func detect(head []byte) Format {
	switch {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), bytes.HasPrefix(head, []byte("PK\x05\x06")):
		return Zip
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return TarGzip
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return TarZstd
	}
	return Tar
}

// Summary describes an archive that was packed or unpacked.
type Summary struct {
	SHA256  string // of the archive's own bytes, lower-case hexadecimal
	Bytes   int64  // size of the archive
	Entries int    // files, folders and links in it
	// Content is the size of the files in it, in bytes, uncompressed.
	Content int64
}

// meter counts and sums the bytes of an archive that pass by.
type meter struct {
	hash hash.Hash
	n    int64
}

func (m *meter) Write(p []byte) (int, error) {
	m.n += int64(len(p))
	return m.hash.Write(p)
}

func (m *meter) sum() string { return hex.EncodeToString(m.hash.Sum(nil)) }

var _ io.Writer = (*meter)(nil)
