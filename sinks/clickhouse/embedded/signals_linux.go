package embedded

import (
	"syscall"
	"unsafe"
)

const (
	signals = 64
	// sigsetSize is the size of the kernel's signal mask, which rt_sigaction(2) wants to be told.
	sigsetSize = 8
)

// signalActions holds the kernel's struct sigaction of every signal, unread. The calls bypass libc, so that what is put back is
// to the bit what was there, restorer included.
type signalActions [signals + 1][8]uint64

func saveSignals() *signalActions {
	var a signalActions
	for sig := 1; sig <= signals; sig++ {
		_, _, _ = syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(sig), 0, uintptr(unsafe.Pointer(&a[sig])), sigsetSize, 0, 0)
	}
	return &a
}

// restore puts the saved actions back. SIGKILL and SIGSTOP cannot be set, and need not be.
func (a *signalActions) restore() {
	for sig := 1; sig <= signals; sig++ {
		_, _, _ = syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&a[sig])), 0, sigsetSize, 0, 0)
	}
}
