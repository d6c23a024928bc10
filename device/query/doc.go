// Package query is the hub's query language: text to a checked tree, and the
// tree's value over twins, modules, job rows and messages (azure-iot-wire 7, 8
// and 9.2).
//
// A Query is parsed once and may be used from many goroutines. It never builds
// a document of what it reads: a Source resolves a path to a Value, and what
// implements it walks the twin's own tree or a JSON text in place.
//
// The logic has three values. A path that leads nowhere is undefined, and so is
// a comparison of values of different types or of an object or array; AND and
// OR are decided by what is defined where that suffices, and NOT keeps
// undefined. A row passes when its condition is exactly true.
//
// Rows of one page are rendered by Row; aggregates are kept as Groups, whose
// partial states merge, so that partitions can be counted apart.
//
// The second dialect, ParseRoute, is that of message routing: without case
// everywhere, with $body, $twin and the system properties of a message.
package query
