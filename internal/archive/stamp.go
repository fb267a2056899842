package archive

import (
	"encoding/hex"
	"fmt"

	"golang.org/x/sys/unix"
)

// Stamp is what tells whether a file was touched since somebody looked, without
// reading it: nothing that changes a file, its times or its rights leaves the
// time of its last change as it was.
type Stamp struct {
	Inode            uint64
	Size             int64 // bytes
	Modified, Change int64 // ns since 1970
}

// StampOf is the stamp of what st describes.
func StampOf(st *unix.Stat_t) Stamp {
	return Stamp{Inode: st.Ino, Size: st.Size, Modified: st.Mtim.Nano(), Change: st.Ctim.Nano()}
}

// MarshalText writes a stamp as its four numbers in hexadecimal.
func (s Stamp) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%x.%x.%x.%x", s.Inode, s.Size, s.Modified, s.Change), nil
}

// UnmarshalText reads what MarshalText wrote.
func (s *Stamp) UnmarshalText(text []byte) error {
	var read Stamp
	if _, err := fmt.Sscanf(string(text), "%x.%x.%x.%x", &read.Inode, &read.Size, &read.Modified, &read.Change); err != nil {
		return fmt.Errorf("reading the stamp of a file: %w", err)
	}
	*s = read
	return nil
}

// File is a regular file as it was written.
type File struct {
	Name   string // below the folder, slash-separated
	SHA256 string // of its content, lower-case hexadecimal
	Stamp  Stamp
}

func fileOf(name string, sum []byte, st *unix.Stat_t) File {
	return File{Name: name, SHA256: hex.EncodeToString(sum), Stamp: StampOf(st)}
}
