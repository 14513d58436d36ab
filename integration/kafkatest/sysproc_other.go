//go:build !linux

package kafkatest

import (
	"os"
	"syscall"
)

// dieWithParent does nothing here: only Linux can tie a child's life to its parent's. The child stays in the tests'
// process group, so that an interrupt from the terminal ends both.
func dieWithParent() *syscall.SysProcAttr { return nil }

func kill(p *os.Process) error { return p.Kill() }
