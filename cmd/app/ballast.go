package app

import "runtime"

// ballastBytes are counted as live by the garbage collector and never touched, so
// that they take address space and no memory. A worker's live heap is small, often
// below 20 MiB, and the collector runs whenever it has doubled: many times a second
// under load. With the ballast that much garbage may gather first, which saves a
// tenth of a worker's processor time. The resident set grows by up to as much.
const ballastBytes = 64 << 20

// ballast returns a function that ends the ballast's life.
func ballast() (drop func()) {
	b := make([]byte, ballastBytes)
	return func() { runtime.KeepAlive(b) }
}
