package broker

import "github.com/prometheus/client_golang/prometheus"

// metrics of a server. What the storage does is counted there.
type metrics struct {
	connections prometheus.Gauge
	accepted    prometheus.Counter
	requests    *prometheus.CounterVec // by name of the request
	received    prometheus.Counter
	sent        prometheus.Counter
	appends     prometheus.Counter
	appended    prometheus.Counter
	fetched     prometheus.Counter
	throttled   prometheus.Counter
	refused     prometheus.Counter
	panics      prometheus.Counter
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "gemello_log_" + name, Help: help})
	}
	m := &metrics{
		connections: prometheus.NewGauge(prometheus.GaugeOpts{Name: "gemello_log_connections", Help: "Open connections."}),
		accepted:    counter("connections_accepted_total", "Connections since the start."),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gemello_log_requests_total", Help: "Requests served, by name.",
		}, []string{"request"}),
		received:  counter("received_bytes_total", "Bytes of requests."),
		sent:      counter("sent_bytes_total", "Bytes of responses."),
		appends:   counter("append_batches_total", "Record batches that producers sent."),
		appended:  counter("append_bytes_total", "Bytes of record batches that producers sent."),
		fetched:   counter("fetch_bytes_total", "Bytes of record batches sent to consumers."),
		throttled: counter("requests_throttled_total", "Requests that waited for room in memory, and fetches that were cut short for want of it."),
		refused:   counter("connections_refused_total", "Connections ended for what they sent or did not read."),
		panics:    counter("request_panics_total", "Requests whose handler panicked."),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{
		m.connections, m.accepted, m.requests, m.received, m.sent, m.appends, m.appended, m.fetched, m.throttled, m.refused, m.panics,
	} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
