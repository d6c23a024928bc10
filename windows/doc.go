// Package windows is the event-time half of the stream processor: values, the
// clock of a partition, window arithmetic, mergeable aggregates, and the
// operator that keeps windows and closes them by watermark.
//
// The nouns: a Tick is an instant; a Timeline applies the late, out-of-order
// and early policies of a Policy and keeps the watermark; a Window cuts the
// timeline into slices; an Operator holds, for each slice and group key, the
// partials of the aggregates, and merges slices into a Result when the
// watermark passes a window. A record touches one slice, however many windows
// hold it.
//
// Rows depend on the calls alone: not on memory, on saves and loads, on the
// order in maps, or on what else the process did. The order in which partials
// are merged follows from a window's end, so sums of floats repeat to the last
// bit wherever a recovery began.
//
// The package never reads a clock, starts a goroutine or uses randomness, and
// reaches storage only through the interfaces it declares.
package windows
