//go:build !unix

package avro

import "os"

// lockFile does nothing where there is no flock: there, see to it yourself that
// one process at a time uses the folder.
func lockFile(*os.File) error { return nil }
