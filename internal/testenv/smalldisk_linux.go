package testenv

import (
	"os"
	"strconv"
	"syscall"
	"testing"
)

// SmallDisk is an empty folder that holds so many bytes and no more. It takes
// the right to mount; without it the test skips, or fails with
// SLIPWAY_TEST_ALL=1.
func SmallDisk(t testing.TB, limitBytes int64) string {
	t.Helper()
	dir := t.TempDir()
	err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, "size="+strconv.FormatInt(limitBytes, 10)+",mode=700")
	switch {
	case err != nil && os.Getenv(All) == "1":
		t.Fatalf("missing component: the right to mount (%s=1): %v", All, err)
	case err != nil:
		t.Skipf("missing component: the right to mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}
