package actors

import "github.com/prometheus/client_golang/prometheus"

// liveMetrics tell how live queries fare.
type liveMetrics struct {
	queries prometheus.Gauge
	events  *prometheus.CounterVec // live_query_events_total{event}
	cuts    *prometheus.CounterVec // live_query_cuts_total{reason}
	resyncs prometheus.Counter
}

func newLiveMetrics() *liveMetrics {
	return &liveMetrics{
		queries: prometheus.NewGauge(prometheus.GaugeOpts{Name: "live_queries", Help: "Live queries that are followed."}),
		events:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "live_query_events_total", Help: "Events queued for the readers of live queries."}, []string{"event"}),
		cuts:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "live_query_cuts_total", Help: "Live queries that this node has ended."}, []string{"reason"}),
		resyncs: prometheus.NewCounter(prometheus.CounterOpts{Name: "live_query_resyncs_total", Help: "Times that a partition was read anew for a live query because changes had been missed."}),
	}
}

func (m *liveMetrics) register(r prometheus.Registerer, rows func() float64) {
	r.MustRegister(m.queries, m.events, m.cuts, m.resyncs,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "live_query_rows", Help: "Rows in the answers of all live queries, of which key and checksum are kept."}, rows))
}
