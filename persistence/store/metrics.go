package store

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics counts over all stores of a process.
type Metrics struct {
	flushes     *prometheus.CounterVec
	flushBytes  prometheus.Counter
	flushTime   prometheus.Histogram
	corruptions prometheus.Counter
}

// NewMetrics registers the metrics at reg; nil counts nothing.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	if reg == nil {
		return nil
	}
	f := promauto.With(reg)
	return &Metrics{
		flushes: f.NewCounterVec(prometheus.CounterOpts{
			Name: "gemello_store_flushes_total",
			Help: "Flushes of core state to local disk by result: ok, disk_full, failed.",
		}, []string{"result"}),
		flushBytes: f.NewCounter(prometheus.CounterOpts{
			Name: "gemello_store_flush_bytes_total",
			Help: "Bytes of keys and values flushed.",
		}),
		flushTime: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "gemello_store_flush_seconds",
			Help:    "Time that a flush of core state took.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 8),
		}),
		corruptions: f.NewCounter(prometheus.CounterOpts{
			Name: "gemello_store_corruptions_total",
			Help: "Damaged blocks or files found in stores.",
		}),
	}
}

func (m *Metrics) flushed(bytes int64, took time.Duration, err error) {
	if m == nil {
		return
	}
	m.flushTime.Observe(took.Seconds())
	switch {
	case err == nil:
		m.flushes.WithLabelValues("ok").Inc()
		m.flushBytes.Add(float64(bytes))
	case errors.Is(err, ErrDiskFull):
		m.flushes.WithLabelValues("disk_full").Inc()
	default:
		m.flushes.WithLabelValues("failed").Inc()
	}
}

func (m *Metrics) corruption() {
	if m != nil {
		m.corruptions.Inc()
	}
}
