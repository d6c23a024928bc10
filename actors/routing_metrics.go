package actors

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gemello/gemello/actors/partition"
)

// routingMetrics count messages by where they went. Routes and endpoints are
// few by their limits.
type routingMetrics struct {
	messages *prometheus.CounterVec
	copies   *prometheus.CounterVec
	matches  *prometheus.CounterVec

	mu   sync.Mutex // guards last; nothing is called while it is held
	last map[int32]map[string]int64
}

func newRoutingMetrics() *routingMetrics {
	return &routingMetrics{
		messages: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "routing_messages_total", Help: "Messages by what routing did with them."}, []string{"result"}),
		copies:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "routing_copies_total", Help: "Copies of messages by endpoint."}, []string{"endpoint"}),
		matches:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "routing_matches_total", Help: "Messages that a route matched."}, []string{"route"}),
		last:     map[int32]map[string]int64{},
	}
}

func (m *routingMetrics) register(r prometheus.Registerer) {
	r.MustRegister(m.messages, m.copies, m.matches)
}

// observe moves the counters by what a core added since the last time; a core
// counts from zero again when it starts anew.
func (m *routingMetrics) observe(p int32, f *partition.RoutingFigures) {
	m.mu.Lock()
	defer m.mu.Unlock()
	last := m.last[p]
	if last == nil {
		last = map[string]int64{}
		m.last[p] = last
	}
	count := func(v *prometheus.CounterVec, kind, label string, now int64) {
		before := last[kind+label]
		if now < before {
			before = 0
		}
		if now > before {
			v.WithLabelValues(label).Add(float64(now - before))
		}
		last[kind+label] = now
	}
	count(m.messages, "m", "routed", f.Routed)
	count(m.messages, "m", "fallback", f.Fallback)
	count(m.messages, "m", "unmatched", f.Unmatched)
	count(m.messages, "m", "too_large", f.TooLarge)
	count(m.messages, "m", "suspended", f.Suspended)
	for i := range f.Endpoints {
		count(m.copies, "e", f.Endpoints[i].Name, f.Endpoints[i].Count)
	}
	for i := range f.Routes {
		count(m.matches, "r", f.Routes[i].Name, f.Routes[i].Count)
	}
}
