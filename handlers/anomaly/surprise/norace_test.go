//go:build !race

package surprise

const race = false
