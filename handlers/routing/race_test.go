//go:build race

package routing_test

// configurations of the property test: the race detector makes each ten times as
// slow, and has seen enough after fewer.
const configurations = 10_000
