//go:build !linux

package deployer

import "syscall"

// syncDisk writes out all file systems.
func syncDisk(string) error { return syscall.Sync() }
