//go:build !linux

package main

// findPortOwner needs tools of the system's here; portOwner names them.
func findPortOwner(string, int) (pid int, name string) { return 0, "" }
