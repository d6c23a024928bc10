// Package sql turns queries of the SQL dialect (semantics 13) into plans of
// package windows, and evaluates them over records.
//
// A text is parsed as a whole and compiled into a Query for each SELECT. A
// Query is immutable. A Scanner reads the JSON payloads of one source for all
// queries on it: one pass that checks the whole text and keeps the members
// that some query needs. An Env is what the expressions of one query see: the
// record scanned last, or one result of its window. Values alias the record
// until the next Scan.
//
// A record goes Scan, EventTime (TIMESTAMP BY); the timeline's policies decide
// its time, which becomes Env.Timestamp; then Accept (WHERE), AppendKey and
// AppendArgs into a window operator. A result goes SetResult, Keep (HAVING),
// AppendRow and AppendRowKey into an output. A projection goes from Accept to
// AppendRow at once. WHERE comes after the policies, so that records it drops
// move the watermark, too.
//
// Bad data never stops a query: a payload that can't be read is a DataError,
// an expression that fails is a RowError in Env.Errors and gives NULL, and
// what overflows is NULL and counted. Extensions of the dialect:
// System.WindowStart() and System.WindowEnd(), WINDOW BOUNDS START, GRACE, and
// aliases of SELECT in HAVING.
//
// The package never reads a clock, starts a goroutine, or depends on the
// order of a map.
package sql
