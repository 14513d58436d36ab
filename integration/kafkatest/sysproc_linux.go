package kafkatest

import (
	"errors"
	"os"
	"syscall"
)

// dieWithParent has the kernel kill the child when the test process dies, however that happens. The child has a process
// group of its own, so that an interrupt from the terminal reaches the tests first.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// kill ends the process and whatever it started.
func kill(p *os.Process) error {
	err := syscall.Kill(-p.Pid, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}
