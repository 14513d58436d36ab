//go:build race

package incident

const race = true
