package sql

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/gemello/gemello/windows"
)

// statePlan describes what the state of a query depends on: input, time,
// condition, keys, aggregates, window. Its first line is its version.
func (q *Query) statePlan() string {
	var b strings.Builder
	line := func(parts ...string) { fmt.Fprintln(&b, strings.Join(parts, " ")) }
	line("plan 1")
	if q.FromDevices {
		line("devices")
	} else {
		line("topic", quoteName(q.Source))
	}
	line("partition by", quoteName(q.partitionKey))
	if q.Timestamp != nil {
		line("timestamp", q.Timestamp.plan)
	}
	for _, x := range q.Over {
		line("over", x.plan)
	}
	if q.Where != nil {
		line("where", q.Where.plan)
	}
	if w := q.Window; w != nil {
		line(fmt.Sprintf("window size %d hop %d offset %d origin %d start-inclusive %t", w.Size, w.Hop, w.Offset, w.Origin, w.StartInclusive))
		for _, x := range q.Keys {
			line("key", x.plan)
		}
		for _, x := range q.Args {
			line("argument", x.plan)
		}
		for _, a := range q.Aggregates {
			line(fmt.Sprintf("aggregate %v argument %d overflow %d", a.Kind, a.Arg, a.Overflow))
		}
		line(fmt.Sprintf("grace %d", q.Grace))
	}
	return b.String()
}

// plan describes the whole query.
func (q *Query) plan() string {
	var b strings.Builder
	b.WriteString(q.statePlan())
	fmt.Fprintln(&b, "into", quoteName(q.Into))
	for _, out := range q.outputs {
		if out.star {
			fmt.Fprintln(&b, "select *")
			continue
		}
		fmt.Fprintln(&b, "select", quoteName(out.name), "=", out.expr.plan)
	}
	if q.Having != nil {
		fmt.Fprintln(&b, "having", q.Having.plan)
	}
	return b.String()
}

func hashOf(plan string) string {
	sum := sha256.Sum256([]byte(plan))
	return hex.EncodeToString(sum[:16])
}

// Hash identifies the plan: texts that mean the same, whatever their spacing,
// comments, keywords' case and source alias, have the same hash in every
// release.
func (q *Query) Hash() string { return hashOf(q.plan()) }

// StateHash identifies what state the query keeps: plans of one StateHash can
// go on from each other's windows (semantics 10.8).
func (q *Query) StateHash() string { return hashOf(q.statePlan()) }

// Explain describes in lines what the query does: stages, keys, slice edges
// and the fields that are read.
func (q *Query) Explain() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("query        %s", q.text)
	line("plan         %s (state %s)", q.Hash(), q.StateHash())
	if q.FromDevices {
		line("source       devices, partitioned by %s", q.partitionKey)
	} else {
		line("source       topic %s, partitioned by %s", quoteName(q.Source), q.partitionKey)
	}
	names := make([]string, 0, len(q.fields))
	for i := range q.fields {
		names = append(names, q.fields[i].text())
	}
	line("fields       %s", strings.Join(names, ", "))
	switch {
	case q.Timestamp == nil:
		line("time         arrival")
	case len(q.Over) == 0:
		line("time         %s, one timeline a partition", q.Timestamp)
	default:
		line("time         %s, a timeline for each (%s)", q.Timestamp, joinExprs(q.Over))
	}
	if q.Where != nil {
		line("filter       %s", q.Where)
	}
	if w := q.Window; w != nil {
		line("stages       1, no shuffle: every group lies in one partition")
		line("keys         %s", joinExprs(q.Keys))
		line("window       %s", describeWindow(w))
		line("slices       %s", describeSlices(w))
		aggregates := make([]string, len(q.Aggregates))
		for i, a := range q.Aggregates {
			if a.Kind == windows.CountAll {
				aggregates[i] = "COUNT(*)"
			} else {
				aggregates[i] = fmt.Sprintf("%v(%v)", a.Kind, q.Args[a.Arg])
			}
		}
		line("aggregates   %s", strings.Join(aggregates, ", "))
		line("retention    %s of event time", spanText(w.Size+q.Grace))
		if q.Grace > 0 {
			line("emit         final, then revisions for %s", spanText(q.Grace))
		} else {
			line("emit         final")
		}
		if q.Having != nil {
			line("having       %s", q.Having)
		}
	} else {
		line("stages       1, a row for each record, no state")
	}
	line("output       %s (%s)", quoteName(q.Into), q.outputNames())
	for _, w := range q.Warnings {
		line("warning      %s", w)
	}
	return b.String()
}

func (q *Query) outputNames() string {
	names := make([]string, len(q.outputs))
	for i, out := range q.outputs {
		if names[i] = "*"; !out.star {
			names[i] = quoteName(out.name)
		}
	}
	return strings.Join(names, ", ")
}

func joinExprs(xs []*Expr) string {
	parts := make([]string, len(xs))
	for i, x := range xs {
		parts[i] = x.text
	}
	return strings.Join(parts, ", ")
}

func describeWindow(w *windows.Window) string {
	edges := "start exclusive, end inclusive"
	if w.StartInclusive {
		edges = "start inclusive, end exclusive"
	}
	kind := "hopping " + spanText(w.Size) + " every " + spanText(w.Hop)
	if w.Hop == w.Size {
		kind = "tumbling " + spanText(w.Size)
	}
	if w.Offset != 0 {
		kind += " offset " + spanText(w.Offset)
	}
	return kind + ", " + edges
}

// describeSlices names the edges at which the timeline is cut (semantics 8.1).
func describeSlices(w *windows.Window) string {
	r := w.Size % w.Hop
	switch {
	case w.Hop > w.Size:
		return "one of " + spanText(w.Size) + " in every " + spanText(w.Hop) + ", records between belong to no window"
	case r == 0:
		return "edges every " + spanText(w.Hop) + ", " + decimal(int(w.Size/w.Hop)) + " slices a window"
	}
	return "edges in pairs, slices of " + spanText(r) + " and " + spanText(w.Hop-r) + " by turns"
}

// spanText writes a span in its largest whole unit.
func spanText(t windows.Tick) string {
	for _, u := range []unit{unitDay, unitHour, unitMinute, unitSecond, unitMillisecond, unitMicrosecond} {
		if f := u.fixed(); t != 0 && t%f == 0 {
			return plural(int(t/f), u.String())
		}
	}
	return decimal(int(t)) + "00 nanoseconds"
}
