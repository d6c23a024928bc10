package actors

import "github.com/prometheus/client_golang/prometheus"

// methodMetrics are those of direct methods.
type methodMetrics struct {
	calls    *prometheus.CounterVec
	dropped  *prometheus.CounterVec
	inFlight prometheus.Gauge
	seconds  prometheus.Histogram
}

func newMethodMetrics() *methodMetrics {
	return &methodMetrics{
		calls:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "method_calls_total", Help: "Calls of direct methods that ended, by result."}, []string{"result"}),
		dropped:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "method_answers_dropped_total", Help: "Answers of devices that nobody waited for."}, []string{"reason"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "method_calls_in_flight", Help: "Calls of direct methods that wait for a device or its answer."}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "method_seconds", Help: "Time of answered calls of direct methods.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 18)}),
	}
}

func (m *methodMetrics) register(r prometheus.Registerer) {
	r.MustRegister(m.calls, m.dropped, m.inFlight, m.seconds)
}
