//go:build unix

package actors_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/gemello/gemello/actors"
	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/query"
	"github.com/gemello/gemello/persistence/broker"
	"github.com/gemello/gemello/persistence/eventlog"
)

// BenchmarkReportedPatchesUnderLiveQueries patches twins, durable and answered,
// while live queries are followed of which every tenth holds the patched row.
func BenchmarkReportedPatchesUnderLiveQueries(b *testing.B) {
	for _, queries := range []int{0, 1, 10, 60} {
		b.Run(fmt.Sprint(queries), func(b *testing.B) {
			server, err := broker.Start(b.Context(), broker.Options{Dir: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			defer server.Close()
			log, err := eventlog.Open(b.Context(), eventlog.Options{Seeds: []string{server.Addr()}})
			if err != nil {
				b.Fatal(err)
			}
			defer log.Close()
			n, err := actors.Start(b.Context(), actors.Options{Log: log, Cluster: joinCluster, Hub: "hub", Data: b.TempDir(), Partitions: 2}, false)
			if err != nil {
				b.Fatal(err)
			}
			defer n.Stop(b.Context())
			const devices = 1000
			for i := range devices {
				for { // the first ones wait for the cores
					c := device.Change{Wanted: device.Identity{DeviceID: fmt.Sprintf("d%03d", i), Auth: device.Auth{Type: device.AuthCA}}}
					if _, err := n.PutIdentity(b.Context(), c); err == nil {
						break
					}
				}
			}
			done := make(chan struct{})
			defer close(done)
			var told atomic.Int64
			for i := range queries {
				q, err := query.Parse(fmt.Sprintf("SELECT deviceId, properties.reported.v FROM devices WHERE properties.reported.v >= 0 AND ENDSWITH(deviceId, '%d')", i%10))
				if err != nil {
					b.Fatal(err)
				}
				s, err := n.Follow(b.Context(), q, nil)
				if err != nil {
					b.Fatal(err)
				}
				go func() {
					defer s.Close()
					for {
						select {
						case <-done:
							return
						case <-s.Ready():
							events, _, _ := s.Take()
							told.Add(int64(len(events)))
						}
					}
				}()
			}
			before := cpu(b)
			answered := make(chan error, 512)
			b.ResetTimer()
			started := 0
			for finished := 0; finished < b.N; {
				for started < b.N && started-finished < cap(answered) {
					n.PatchReported(b.Context(), device.Ref{Device: fmt.Sprintf("d%03d", started%devices)}, fmt.Appendf(nil, `{"v":%d}`, started), device.Audit{}, func(_ int64, err error) { answered <- err })
					started++
				}
				if err := <-answered; err != nil {
					b.Fatal(err)
				}
				finished++
			}
			b.StopTimer()
			b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-µs/patch")
			b.ReportMetric(float64(told.Load())/float64(b.N), "events/patch")
		})
	}
}
