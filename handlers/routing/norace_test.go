//go:build !race

package routing_test

// configurations of the property test.
const configurations = 100_000
