package broker

import "github.com/prometheus/client_golang/prometheus"

// register has the groups counted whenever somebody looks.
func (g *groups) register(r prometheus.Registerer) error {
	if r == nil {
		return nil
	}
	gauge := func(name, help string, value func() int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "gemello_log_" + name, Help: help},
			func() float64 { return float64(value()) })
	}
	for _, c := range []prometheus.Collector{
		gauge("groups", "Groups with members, or that had some in the last ten minutes.", func() int { n, _ := g.counts(); return n }),
		gauge("group_members", "Members of groups.", func() int { _, n := g.counts(); return n }),
	} {
		if err := r.Register(c); err != nil {
			return err
		}
	}
	return nil
}
