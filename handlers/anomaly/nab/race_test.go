//go:build race

package nab

const race = true
