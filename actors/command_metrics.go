package actors

import (
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gemello/gemello/actors/partition"
)

// commandMetrics count what happens to commands.
type commandMetrics struct {
	events *prometheus.CounterVec
	queued *prometheus.GaugeVec

	mu   sync.Mutex // guards last; nothing is called while it is held
	last map[int32]partition.CommandFigures
}

func newCommandMetrics() *commandMetrics {
	return &commandMetrics{
		events: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "command_events_total", Help: "What happened to cloud-to-device messages."}, []string{"event"}),
		queued: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "command_queued", Help: "Cloud-to-device messages that have not ended."}, []string{"partition"}),
		last:   map[int32]partition.CommandFigures{},
	}
}

func (m *commandMetrics) register(r prometheus.Registerer) { r.MustRegister(m.events, m.queued) }

// observe moves the counters by what a core added since the last time; a core
// counts from zero again when it starts anew.
func (m *commandMetrics) observe(p int32, f *partition.CommandFigures) {
	m.mu.Lock()
	old := m.last[p]
	m.last[p] = *f
	m.mu.Unlock()
	m.queued.WithLabelValues(strconv.Itoa(int(p))).Set(float64(f.Queued))
	for _, c := range [...]struct {
		event       string
		now, before int64
	}{
		{"enqueued", f.Enqueued, old.Enqueued},
		{"refused", f.Refused, old.Refused},
		{"delivered", f.Delivered, old.Delivered},
		{"completed", f.Completed, old.Completed},
		{"abandoned", f.Abandoned, old.Abandoned},
		{"returned", f.Returned, old.Returned},
		{"rejected", f.Rejected, old.Rejected},
		{"expired", f.Expired, old.Expired},
		{"delivery_count_exceeded", f.Exceeded, old.Exceeded},
		{"purged", f.Purged, old.Purged},
		{"dead_lettered", f.DeadLetters(), old.DeadLetters()},
	} {
		if c.now < c.before {
			c.before = 0
		}
		if c.now > c.before {
			m.events.WithLabelValues(c.event).Add(float64(c.now - c.before))
		}
	}
}
