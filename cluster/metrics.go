package cluster

import "github.com/prometheus/client_golang/prometheus"

// Values of the label reason of refused messages.
const (
	refusedMailbox     = "mailbox"     // the actor's mailbox was full
	refusedHeld        = "held"        // too many messages held for the next activation
	refusedActivations = "activations" // MaxActivations reached
)

type metrics struct {
	members    prometheus.Gauge
	actors     prometheus.Gauge
	started    prometheus.Counter
	passivated prometheus.Counter
	failed     prometheus.Counter
	dropped    prometheus.Counter
	refused    *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		members: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gemello_cluster_members", Help: "Live members in this node's view."}),
		actors: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gemello_cluster_device_actors", Help: "Device actors that live on this node."}),
		started: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gemello_cluster_device_actors_activated_total", Help: "Device actors activated."}),
		passivated: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gemello_cluster_device_actors_passivated_total", Help: "Device actors stopped because they were idle."}),
		failed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gemello_cluster_device_actors_failed_total", Help: "Device actors stopped because they panicked or could not start."}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gemello_cluster_messages_dropped_total", Help: "Messages taken by Send that no actor has seen, because it failed to start or the node stopped."}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gemello_cluster_messages_refused_total", Help: "Messages refused with busy, by the bound that was reached."}, []string{"reason"}),
	}
	for _, reason := range []string{refusedMailbox, refusedHeld, refusedActivations} {
		m.refused.WithLabelValues(reason)
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.members, m.actors, m.started, m.passivated, m.failed, m.dropped, m.refused} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
