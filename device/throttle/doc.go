// Package throttle counts what clients do against rates (azure-iot-wire 11). It
// reads no clock: callers say what time it is. A bucket is one word and may be
// used from many goroutines; the table of buckets by device is bounded, and
// forgets only those that have nothing against their device.
package throttle
