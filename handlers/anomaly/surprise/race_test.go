//go:build race

package surprise

const race = true
