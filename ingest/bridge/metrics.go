package bridge

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	connected prometheus.Gauge
	connects  prometheus.Counter
	failures  prometheus.Counter
	inflight  prometheus.Gauge
	appended  prometheus.Counter
	bytes     prometheus.Counter
	retried   prometheus.Counter
	refused   *prometheus.CounterVec
}

func newMetrics(name string, r prometheus.Registerer) (*metrics, error) {
	labels := prometheus.Labels{"bridge": name}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "gemello_bridge_" + name, Help: help, ConstLabels: labels})
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "gemello_bridge_" + name, Help: help, ConstLabels: labels})
	}
	m := &metrics{
		connected: gauge("connected", "1 while the bridge is subscribed at its broker."),
		connects:  counter("connections_total", "Connections made to the broker."),
		failures:  counter("connection_failures_total", "Connections or subscriptions that failed."),
		inflight:  gauge("inflight_messages", "Messages between broker and log."),
		appended:  counter("messages_total", "Messages that the log has acknowledged."),
		bytes:     counter("message_bytes_total", "Bytes of their bodies."),
		retried:   counter("retries_total", "Messages left to the broker to send again, because the log could not take them."),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gemello_bridge_refused_messages_total",
			Help: "Messages refused for good, by reason.", ConstLabels: labels}, []string{"reason"}),
	}
	for _, reason := range reasons {
		m.refused.WithLabelValues(string(reason))
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.connected, m.connects, m.failures, m.inflight, m.appended, m.bytes, m.retried, m.refused} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
