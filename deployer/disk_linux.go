package deployer

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// syncDisk writes out the file system that holds dir.
func syncDisk(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(f.Fd())), f.Close())
}
