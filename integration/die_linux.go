package integration

import "syscall"

// dieWithParent keeps a cut-off test run from leaving processes behind.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
