package doctor

import (
	"fmt"
	"syscall"
)

// diskSpace returns the bytes that we may still write to a folder's disk, and its
// size.
func diskSpace(dir string) (free, size uint64, err error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, 0, fmt.Errorf("reading the size of the disk of %s: %w", dir, err)
	}
	return s.Bavail * uint64(s.Bsize), s.Blocks * uint64(s.Bsize), nil
}

// fileLimit returns how many files a process of this user may have open. Go raises
// its own soft limit to the hard one.
func fileLimit() (uint64, error) {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0, fmt.Errorf("reading the limit of open files: %w", err)
	}
	return l.Max, nil
}
