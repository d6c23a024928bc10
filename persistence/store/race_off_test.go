//go:build !race

package store

const exhaustive = true
