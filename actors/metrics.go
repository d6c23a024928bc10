package actors

import (
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/persistence/store"
	"github.com/gemello/gemello/windows"
)

// metrics of the cores of a node. Labels are bounded: class of core, pipeline,
// partition; never a device.
type metrics struct {
	recordsIn     *prometheus.CounterVec
	bytesIn       *prometheus.CounterVec
	rowsOut       *prometheus.CounterVec
	commitSeconds *prometheus.HistogramVec
	replayed      *prometheus.CounterVec
	terms         *prometheus.CounterVec
	fences        *prometheus.CounterVec
	stateBytes    *prometheus.GaugeVec
	retention     *prometheus.GaugeVec
	busy          prometheus.Counter
	pipeCounters  *prometheus.CounterVec // pipe_records_total{pipeline,partition,result}
	pipeRows      *prometheus.CounterVec
	pipeDelay     *prometheus.GaugeVec
	pipeWindows   *prometheus.GaugeVec
	pipeKeys      *prometheus.GaugeVec
	pipeState     *prometheus.GaugeVec
	pipeSuspended *prometheus.GaugeVec
	stores        *store.Metrics // nil counts nothing
	methods       *methodMetrics
	routing       *routingMetrics
	commands      *commandMetrics
	jobSteps      *prometheus.CounterVec // job_devices_total{status}
	webhooks      *webhookMetrics
	live          *liveMetrics
	queryRows     *prometheus.CounterVec // query_rows_read_total{access}

	now func() time.Time

	mu   sync.Mutex // guards last; nothing is called while it is held
	last map[string]partition.PipelineFigures
}

func newMetrics(r prometheus.Registerer, now func() time.Time) *metrics {
	kind := []string{"core"}
	pipe := []string{"pipeline", "partition"}
	m := &metrics{
		recordsIn:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "core_records_in_total", Help: "Records applied by partition cores."}, kind),
		bytesIn:       prometheus.NewCounterVec(prometheus.CounterOpts{Name: "core_in_bytes_total", Help: "Bytes of keys and values applied by partition cores."}, kind),
		rowsOut:       prometheus.NewCounterVec(prometheus.CounterOpts{Name: "core_records_out_total", Help: "Records committed by partition cores."}, kind),
		commitSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "core_commit_seconds", Help: "Time from taking the effects to the end of their transaction.", Buckets: prometheus.ExponentialBuckets(0.002, 2, 14)}, kind),
		replayed:      prometheus.NewCounterVec(prometheus.CounterOpts{Name: "core_replayed_records_total", Help: "Committed records replayed with effects suppressed at a start."}, kind),
		terms:         prometheus.NewCounterVec(prometheus.CounterOpts{Name: "core_terms_total", Help: "Terms begun; each fences the one before."}, kind),
		fences:        prometheus.NewCounterVec(prometheus.CounterOpts{Name: "core_fences_total", Help: "Terms that another owner ended."}, kind),
		stateBytes:    prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "core_store_bytes", Help: "Size of a core's store after its last flush."}, []string{"core", "partition"}),
		retention:     prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "core_input_retention_broken", Help: "1 while the log no longer holds the input that a lost store would be rebuilt from."}, []string{"core", "partition"}),
		busy:          prometheus.NewCounter(prometheus.CounterOpts{Name: "core_requests_refused_total", Help: "Requests refused because a bounded queue was full."}),
		pipeCounters:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pipe_records_total", Help: "Records by what a pipeline did with them."}, append(pipe, "result")),
		pipeRows:      prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pipe_records_out_total", Help: "Rows that a pipeline made."}, pipe),
		pipeDelay:     prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "pipe_watermark_lag_seconds", Help: "Wall clock less watermark."}, pipe),
		pipeWindows:   prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "pipe_open_windows", Help: "Windows with content that have not closed."}, pipe),
		pipeKeys:      prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "pipe_state_keys", Help: "Group keys with live state."}, pipe),
		pipeState:     prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "pipe_state_bytes", Help: "Bytes of window state in memory and spilled."}, pipe),
		pipeSuspended: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "pipe_suspended", Help: "1 while a pipeline is suspended by its sink."}, pipe),
		methods:       newMethodMetrics(),
		routing:       newRoutingMetrics(),
		commands:      newCommandMetrics(),
		jobSteps:      prometheus.NewCounterVec(prometheus.CounterOpts{Name: "job_devices_total", Help: "Devices of jobs that this node's driver has brought to an outcome."}, []string{"status"}),
		webhooks:      newWebhookMetrics(),
		live:          newLiveMetrics(),
		queryRows:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "query_rows_read_total", Help: "Devices and modules that conditions of queries were evaluated for, by the way to them."}, []string{"access"}),
		now:           now,
		last:          map[string]partition.PipelineFigures{},
	}
	if r != nil {
		m.stores = store.NewMetrics(r)
		r = prometheus.WrapRegistererWithPrefix("gemello_", r)
		m.methods.register(r)
		m.routing.register(r)
		m.commands.register(r)
		m.webhooks.register(r)
		r.MustRegister(m.recordsIn, m.bytesIn, m.rowsOut, m.commitSeconds, m.replayed, m.terms, m.fences, m.stateBytes, m.retention,
			m.busy, m.pipeCounters, m.pipeRows, m.pipeDelay, m.pipeWindows, m.pipeKeys, m.pipeState, m.pipeSuspended, m.jobSteps, m.queryRows)
	}
	return m
}

// observe publishes a core's figures; counters move by what was added since the
// last time, and start anew with each core.
func (m *metrics) observe(kind string, p int32, f *partition.Figures) {
	part := strconv.Itoa(int(p))
	if kind == "devices" {
		m.routing.observe(p, &f.Routing)
		m.commands.observe(p, &f.Commands)
	}
	for i := range f.Pipelines {
		n := &f.Pipelines[i]
		m.mu.Lock()
		id := n.Name + "/" + part
		old := m.last[id]
		m.last[id] = *n
		m.mu.Unlock()
		count := func(result string, now, before int64) {
			if now < before {
				before = 0
			}
			if now > before {
				m.pipeCounters.WithLabelValues(n.Name, part, result).Add(float64(now - before))
			}
		}
		count("in", n.In, old.In)
		count("late", n.Late, old.Late)
		count("out_of_order", n.OutOfOrder, old.OutOfOrder)
		count("early", n.Early, old.Early)
		count("adjusted", n.Adjusted, old.Adjusted)
		count("dropped", n.Dropped, old.Dropped)
		count("past_grace", n.PastGrace, old.PastGrace)
		count("ts_invalid", n.TsInvalid, old.TsInvalid)
		count("row_error", n.RowErrors, old.RowErrors)
		count("dead_letter", n.DeadLetters, old.DeadLetters)
		count("key_mismatch", n.KeyMismatch, old.KeyMismatch)
		count("no_window", n.NoWindow, old.NoWindow)
		count("idle_advance", n.IdleTicks, old.IdleTicks)
		rows := n.Out - old.Out
		if rows < 0 {
			rows = n.Out
		}
		m.pipeRows.WithLabelValues(n.Name, part).Add(float64(rows))
		if n.Watermark != windows.Unset {
			m.pipeDelay.WithLabelValues(n.Name, part).Set(m.now().Sub(n.Watermark.Time()).Seconds())
		}
		m.pipeWindows.WithLabelValues(n.Name, part).Set(float64(n.OpenWindows))
		m.pipeKeys.WithLabelValues(n.Name, part).Set(float64(n.OpenKeys))
		m.pipeState.WithLabelValues(n.Name, part).Set(float64(n.StateBytes))
		suspended := 0.0
		if n.Suspended {
			suspended = 1
		}
		m.pipeSuspended.WithLabelValues(n.Name, part).Set(suspended)
	}
}

// forget drops the series of a pipeline that is gone.
func (m *metrics) forget(pipeline string) {
	labels := prometheus.Labels{"pipeline": pipeline}
	for _, v := range []interface {
		DeletePartialMatch(prometheus.Labels) int
	}{m.pipeCounters, m.pipeRows, m.pipeDelay, m.pipeWindows, m.pipeKeys, m.pipeState, m.pipeSuspended} {
		v.DeletePartialMatch(labels)
	}
}
