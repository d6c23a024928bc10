package main

import "github.com/prometheus/client_golang/prometheus"

// throttledCounter counts what limiters refuse and delay; never by device.
func throttledCounter() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gemello_throttled_total", Help: "Operations over a rate, by class, whose rate it was and what came of it.",
	}, []string{"class", "scope", "outcome"})
}
