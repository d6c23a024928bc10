//go:build unix

package actors_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/query"
	"github.com/gemello/gemello/persistence/store"
	"github.com/gemello/gemello/windows"
)

// storedDevices returns a core over a store on disk that holds n devices, none
// of them in memory.
func storedDevices(b *testing.B, n int) (*partition.Devices, *store.Store) {
	b.Helper()
	s, err := store.Open(store.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	open := func(position int64) *partition.Devices {
		core, err := partition.NewDevices(partition.DevicesOptions{State: s, StateTopic: "state", TwinsTopic: "twins", DeadLetter: "dead"}, position)
		if err != nil {
			b.Fatal(err)
		}
		return core
	}
	core := open(0)
	apply := func(kind, id string, body []byte) {
		r := partition.Record{Offset: core.Position(), Arrival: windows.Tick(core.Position()) * windows.Second, Key: []byte(id), Value: body}
		r.Headers = []partition.Header{{Key: device.HeaderKind, Value: []byte(kind)}}
		if err := core.Apply(&r); err != nil {
			b.Fatal(err)
		}
	}
	save := func() {
		core.Take(&partition.Effects{})
		batch := s.NewBatch()
		if err := core.Save(batch); err != nil {
			b.Fatal(err)
		}
		if err := s.Flush(batch, store.Applied{Offset: core.Position()}); err != nil {
			b.Fatal(err)
		}
	}
	for i := range n {
		id := fmt.Sprintf("device-%06d", i)
		c := device.Change{Wanted: device.Identity{DeviceID: id, Auth: device.Auth{Primary: make([]byte, 60), Secondary: make([]byte, 60)}}}
		body, err := c.AppendBinary(nil)
		if err != nil {
			b.Fatal(err)
		}
		apply(device.KindIdentity, id, body)
		apply(device.KindTwin, id, fmt.Appendf(nil, `{"tags":{"site":"s%02d","floor":%d,"owner":{"team":"t%d","mail":"team@example.org"}},"properties":{"desired":{"rate":%d,"fw":{"version":"1.2.%d"}}}}`, i%50, i%7, i%11, i%60, i%5))
		apply(device.KindReported, id, fmt.Appendf(nil, `{"battery":%d,"fw":{"version":"1.2.%d","state":"idle"},"net":{"rssi":-%d,"ip":"10.0.%d.%d"},"temperature":{"avg":%d.5,"max":31},"uptime":%d}`, i%100, i%4, i%90, i/250%250, i%250, i%40, i))
		if i%20_000 == 19_999 {
			save()
		}
	}
	save()
	return open(core.Position()), s
}

// cpu is the time that all threads of the process have computed.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// twins reports the rate, and what does not depend on who else uses the machine.
func twins(b *testing.B, n int, began time.Duration) {
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "twins/s")
	b.ReportMetric((cpu(b)-began).Seconds()/float64(n)/float64(b.N)*1e6, "cpu-s/Mtwins")
}

func BenchmarkScanOfStoredTwins(b *testing.B) {
	const devices = 100_000
	core, s := storedDevices(b, devices)
	// The floor: the same bytes are walked and not looked at.
	b.Run("floor", func(b *testing.B) {
		began, size := cpu(b), 0
		for b.Loop() {
			size = 0
			if err := s.Scan([]byte{0, 1, 'd'}, []byte{0, 1, 'd' + 1}, func(_, v []byte) error {
				size += len(v)
				return nil
			}); err != nil {
				b.Fatal(err)
			}
		}
		twins(b, devices, began)
		b.ReportMetric(float64(size)/devices, "bytes/twin")
	})
	for _, c := range []struct{ name, text string }{
		{"nested", "SELECT * FROM devices WHERE (tags.site = 's07' OR tags.owner.team = 't3') AND properties.reported.temperature.avg > 39 AND properties.reported.fw.version != properties.desired.fw.version"},
		{"one", "SELECT * FROM devices WHERE properties.reported.uptime = 77777"},
		{"count", "SELECT COUNT() AS n FROM devices"},
	} {
		q, err := query.Parse(c.text)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(c.name, func(b *testing.B) {
			began, matched := cpu(b), 0
			for b.Loop() {
				matched = 0
				after, more := "", true
				for more {
					var err error
					after, more, err = core.Scan(after, false, 256, func(r *partition.Row) error {
						if q.Match(r.Source()) {
							matched++
						}
						return nil
					})
					if err != nil {
						b.Fatal(err)
					}
				}
			}
			twins(b, devices, began)
			b.ReportMetric(float64(matched), "matched")
		})
	}
}
