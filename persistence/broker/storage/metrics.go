package storage

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	batches  prometheus.Counter
	bytes    prometheus.Counter
	commits  prometheus.Counter
	failures prometheus.Counter
	damaged  prometheus.Counter
	sync     prometheus.Histogram
	grouped  prometheus.Histogram
	ends     *prometheus.CounterVec
	open     prometheus.Gauge
}

// newMetrics makes the metrics and registers them; undo takes them back.
func newMetrics(r prometheus.Registerer, l *Log) (m *metrics, undo func(), err error) {
	const ns = "gemello_log_"
	m = &metrics{
		batches:  prometheus.NewCounter(prometheus.CounterOpts{Name: ns + "appended_batches_total", Help: "Record batches that were made durable."}),
		bytes:    prometheus.NewCounter(prometheus.CounterOpts{Name: ns + "appended_bytes_total", Help: "Bytes of record batches that were made durable."}),
		commits:  prometheus.NewCounter(prometheus.CounterOpts{Name: ns + "commits_total", Help: "Group commits."}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{Name: ns + "commit_failures_total", Help: "Group commits that failed, after which the log was loaded again."}),
		damaged:  prometheus.NewCounter(prometheus.CounterOpts{Name: ns + "damaged_batches_total", Help: "Stored record batches that were not given out because of a wrong checksum."}),
		sync: prometheus.NewHistogram(prometheus.HistogramOpts{Name: ns + "commit_seconds", Help: "Time of a group commit with its sync.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16)}),
		grouped: prometheus.NewHistogram(prometheus.HistogramOpts{Name: ns + "commit_requests", Help: "Requests in one group commit.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 14)}),
		ends: prometheus.NewCounterVec(prometheus.CounterOpts{Name: ns + "transactions_total", Help: "Transactions that ended."}, []string{"end"}),
		open: prometheus.NewGauge(prometheus.GaugeOpts{Name: ns + "transactions_open", Help: "Transactions under way."}),
	}
	if r == nil {
		return m, func() {}, nil
	}
	var done []prometheus.Collector
	undo = func() {
		for _, c := range done {
			r.Unregister(c)
		}
	}
	for _, c := range []prometheus.Collector{m.batches, m.bytes, m.commits, m.failures, m.damaged, m.sync, m.grouped, m.ends, m.open,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: ns + "unstable_records", Help: "Records behind the last stable offset in the partition that has most of them."}, l.unstable),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: ns + "disk_bytes", Help: "Size of the log on disk."}, l.diskBytes),
	} {
		if err := r.Register(c); err != nil {
			undo()
			return nil, nil, fmt.Errorf("register metrics of the log: %w", err)
		}
		done = append(done, c)
	}
	return m, undo, nil
}

func (m *metrics) commit(b *build, took time.Duration) {
	m.commits.Inc()
	m.batches.Add(float64(b.records))
	m.bytes.Add(float64(b.recordBytes))
	m.sync.Observe(took.Seconds())
	m.grouped.Observe(float64(len(b.ops)))
	for _, committed := range b.ended {
		end := "abort"
		if committed {
			end = "commit"
		}
		m.ends.WithLabelValues(end).Inc()
	}
	m.open.Set(float64(b.ongoing))
}

func (l *Log) unstable() float64 {
	var most int64
	for _, t := range l.directory.Load().topics {
		for _, p := range t.partitions {
			pos := p.published.Load()
			most = max(most, pos.high-pos.stable)
		}
	}
	return float64(most)
}

func (l *Log) diskBytes() float64 { return float64(l.Bytes()) }
