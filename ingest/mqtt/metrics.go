package mqtt

import (
	"github.com/gemello/gemello/ingest"
	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	connections prometheus.Gauge
	handshakes  prometheus.Gauge
	sessions    prometheus.Gauge
	connects    *prometheus.CounterVec
	disconnects *prometheus.CounterVec
	refused     *prometheus.CounterVec
	received    [2]prometheus.Counter // by QoS
	bytes       prometheus.Counter
	ack         prometheus.Histogram
	twin        *prometheus.CounterVec
	desired     *prometheus.CounterVec
	methods     *prometheus.CounterVec
	takeovers   prometheus.Counter
	flapping    prometheus.Counter
	evicted     prometheus.Counter
	delayed     prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "gemello_mqtt_" + name, Help: help})
	}
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gemello_mqtt_" + name, Help: help}, labels)
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "gemello_mqtt_" + name, Help: help})
	}
	received := vec("messages_received_total", "Telemetry received, by QoS.", "qos")
	m := &metrics{
		connections: gauge("connections", "Connections that are admitted and open."),
		handshakes:  gauge("pending_handshakes", "Connections between accept and CONNACK."),
		sessions:    gauge("stored_sessions", "Sessions kept without a connection."),
		connects:    vec("connects_total", "Connections that ended their handshake, by result and reason.", "result", "reason"),
		disconnects: vec("disconnects_total", "Admitted connections that ended, by reason.", "reason"),
		refused:     vec("refused_total", "Packets and messages refused, by reason.", "reason"),
		received:    [2]prometheus.Counter{received.WithLabelValues("0"), received.WithLabelValues("1")},
		bytes:       counter("received_bytes_total", "Bytes of telemetry bodies received."),
		ack: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "gemello_mqtt_publish_ack_seconds",
			Help:    "Time from the receipt of a message to its acknowledgement by the hub.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15),
		}),
		twin:      vec("twin_requests_total", "Twin requests answered, by status.", "status"),
		desired:   vec("desired_notifications_total", "Patches of desired properties from the hub, by outcome.", "outcome"),
		methods:   vec("method_requests_total", "Direct method requests from the hub, by outcome.", "outcome"),
		takeovers: counter("session_takeovers_total", "Connections closed by a newer one of the same identity."),
		flapping:  counter("session_flapping_total", "Minutes in which an identity was taken over too often."),
		evicted:   counter("sessions_evicted_total", "Sessions dropped because too many were kept."),
		delayed:   counter("refusals_delayed_total", "Refused connections whose answer was delayed."),
	}
	if r != nil {
		r.MustRegister(m.connections, m.handshakes, m.sessions, m.connects, m.disconnects, m.refused, received,
			m.bytes, m.ack, m.twin, m.desired, m.methods, m.takeovers, m.flapping, m.evicted, m.delayed)
	}
	return m
}

func (m *metrics) accepted()             { m.connects.WithLabelValues("accepted", "").Inc() }
func (m *metrics) rejected(why string)   { m.connects.WithLabelValues("refused", why).Inc() }
func (m *metrics) failed(why string)     { m.connects.WithLabelValues("failed", why).Inc() }
func (m *metrics) refuse(why string)     { m.refused.WithLabelValues(why).Inc() }
func (m *metrics) ended(r ingest.Reason) { m.disconnects.WithLabelValues(string(r)).Inc() }
