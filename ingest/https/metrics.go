package https

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests  *prometheus.CounterVec
	seconds   *prometheus.HistogramVec
	messages  prometheus.Counter
	bytes     prometheus.Counter
	delivered prometheus.Counter
	settled   *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "gemello_https_" + name, Help: help})
	}
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gemello_https_" + name, Help: help}, labels)
	}
	m := &metrics{
		requests: vec("requests_total", "Requests of devices answered, by operation and status.", "operation", "status"),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gemello_https_request_seconds", Help: "Time of a device's request, by operation.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15),
		}, []string{"operation"}),
		messages:  counter("messages_received_total", "Telemetry received."),
		bytes:     counter("received_bytes_total", "Bytes of telemetry bodies received."),
		delivered: counter("commands_delivered_total", "Commands given to devices that polled."),
		settled:   vec("commands_settled_total", "Commands that devices settled, by outcome.", "outcome"),
	}
	if r != nil {
		r.MustRegister(m.requests, m.seconds, m.messages, m.bytes, m.delivered, m.settled)
	}
	return m
}

func (m *metrics) observe(operation string, status int, took time.Duration) {
	m.requests.WithLabelValues(operation, strconv.Itoa(status)).Inc()
	m.seconds.WithLabelValues(operation).Observe(took.Seconds())
}
