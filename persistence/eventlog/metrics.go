package eventlog

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	appendRecords, appendBytes, appendErrors, appendBlocked, appendRefused prometheus.Counter
	readRecords, readErrors                                                prometheus.Counter
	terms, commitRecords                                                   prometheus.Counter
	commitErrors                                                           *prometheus.CounterVec
	commitSeconds                                                          prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "gemello_eventlog_" + name, Help: help})
	}
	m := &metrics{
		appendRecords: counter("append_records_total", "Records acknowledged by the log outside transactions."),
		appendBytes:   counter("append_bytes_total", "Bytes of keys, values and headers of those records."),
		appendErrors:  counter("append_errors_total", "Records that the log refused or that were not acknowledged in time."),
		appendBlocked: counter("append_blocked_total", "Appends that had to wait for room."),
		appendRefused: counter("append_refused_total", "Appends whose caller gave up waiting for room."),
		readRecords:   counter("read_records_total", "Records handed out by readers."),
		readErrors:    counter("read_errors_total", "Partitions that readers stopped with an error."),
		terms:         counter("terms_total", "Terms begun."),
		commitRecords: counter("commit_records_total", "Records of committed transactions."),
		commitErrors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gemello_eventlog_commit_errors_total",
			Help: "Commits that ended their term, by what the error asked for.",
		}, []string{"class"}),
		commitSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "gemello_eventlog_commit_seconds",
			Help:    "Duration of successful commits.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{
		m.appendRecords, m.appendBytes, m.appendErrors, m.appendBlocked, m.appendRefused,
		m.readRecords, m.readErrors, m.terms, m.commitRecords, m.commitErrors, m.commitSeconds,
	} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
