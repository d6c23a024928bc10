package sim

import (
	"fmt"
	"time"
)

// query is a pipeline of the run with what the model needs to know of it.
type query struct {
	name      string
	size, hop time.Duration // of its windows (end-size, end]
	topic     bool          // reads the run's own topic, else the devices
	arrival   bool          // windows of arrival time
}

var queries = []query{
	{name: "tumbling", size: time.Minute, hop: time.Minute},
	{name: "hopping", size: 5 * time.Minute, hop: time.Minute},
	{name: "arrival", size: time.Second, hop: time.Second, arrival: true},
	{name: "topic_tumbling", size: time.Minute, hop: time.Minute, topic: true},
	{name: "topic_hopping", size: 3 * time.Minute, hop: time.Minute, topic: true},
}

// text is the query in SQL for a hub.
func (q *query) text(hub string) string {
	from, by, window := "devices", " TIMESTAMP BY t", fmt.Sprintf("TumblingWindow(second, %d)", int(q.size.Seconds()))
	if q.topic {
		from = inputTopic(hub)
	}
	if q.arrival {
		by = ""
	}
	if q.hop < q.size {
		window = fmt.Sprintf("HoppingWindow(second, %d, %d)", int(q.size.Seconds()), int(q.hop.Seconds()))
	}
	return fmt.Sprintf(`SELECT deviceId, COUNT(*) AS n, SUM(v) AS s, MIN(seq) AS lo, MAX(seq) AS hi, System.Timestamp() AS e
		INTO %s FROM %s%s GROUP BY deviceId, %s`, q.into(hub), from, by, window)
}

// spec is the pipeline for the admin API.
func (q *query) spec(hub string) map[string]string {
	return map[string]string{"name": q.name, "query": q.text(hub), "late": late.String(), "outOfOrder": outOfOrder.String()}
}

func (q *query) into(hub string) string { return hub + "_" + q.name }
func inputTopic(hub string) string      { return hub + "_input" }

// fact is one record of the log as the model sees it.
type fact struct {
	device string
	seq, v int64
	t      time.Time
}

// group is a result row's place, and row its content.
type (
	group struct {
		end    time.Time
		device string
	}
	row struct{ n, s, lo, hi int64 }
)

// expect computes the rows of a query from the facts: every window that a fact
// lies in, up to the last one that must have closed.
func (q *query) expect(facts []fact, until time.Time) map[group]row {
	rows := map[group]row{}
	for _, f := range facts {
		// The first end at or after the fact: windows hold their end.
		end := f.t.Truncate(q.hop)
		if end.Before(f.t) {
			end = end.Add(q.hop)
		}
		for ; end.Add(-q.size).Before(f.t); end = end.Add(q.hop) {
			if end.After(until) {
				break
			}
			g := group{end, f.device}
			r, ok := rows[g]
			if !ok {
				r = row{lo: f.seq, hi: f.seq}
			}
			r.n++
			r.s += f.v
			r.lo, r.hi = min(r.lo, f.seq), max(r.hi, f.seq)
			rows[g] = r
		}
	}
	return rows
}

// total adds up the facts of each device, which is what the rows of all windows
// of arrival time must add up to.
func total(facts []fact) map[string]row {
	sums := map[string]row{}
	for _, f := range facts {
		r, ok := sums[f.device]
		if !ok {
			r = row{lo: f.seq, hi: f.seq}
		}
		sums[f.device] = row{r.n + 1, r.s + f.v, min(r.lo, f.seq), max(r.hi, f.seq)}
	}
	return sums
}
