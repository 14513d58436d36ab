package embedded

import (
	"fmt"
	"os"
)

// LockedError says that the folder of the data is in use.
type LockedError struct {
	Dir string
	// PID is the process that has it open, or 0 if the lock file does not tell.
	PID int
}

// Error names the process to stop.
func (e *LockedError) Error() string {
	switch e.PID {
	case 0:
		return e.Dir + " is open in another process: stop it, or give this one a folder of its own"
	case os.Getpid():
		return e.Dir + " is already open in this process: close that engine first"
	}
	return fmt.Sprintf("%s is open in another process (pid %d): stop it, or give this one a folder of its own", e.Dir, e.PID)
}
