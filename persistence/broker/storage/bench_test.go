package storage

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	dto "github.com/prometheus/client_model/go"
)

// slowSync takes as long for a sync as a disk in a data centre.
func slowSync(fs vfs.FS, d time.Duration) vfs.FS {
	return inject(fs, func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData {
			<-time.After(d)
		}
		return nil
	})
}

// BenchmarkAppend is of records of 150 bytes. An op is one batch.
func BenchmarkAppend(b *testing.B) {
	for _, disk := range []struct {
		name string
		fs   func() vfs.FS
	}{
		{"disk", func() vfs.FS { return vfs.Default }},
		{"sync=5ms", func() vfs.FS { return slowSync(vfs.NewMem(), 5*time.Millisecond) }},
	} {
		for _, records := range []int{1, 100} {
			for _, callers := range []int{1, 8, 64, 1000} {
				if callers == 1000 && records > 1 {
					continue
				}
				b.Run(fmt.Sprintf("%s/records=%d/callers=%d", disk.name, records, callers), func(b *testing.B) {
					benchAppend(b, disk.fs(), records, callers)
				})
			}
		}
	}
}

func benchAppend(b *testing.B, fs vfs.FS, records, callers int) {
	l := open(b, Options{Dir: b.TempDir(), FS: fs, Housekeeping: -1})
	defer l.Close()
	const parts = 8
	mustCreate(b, l, "a", parts)
	values := make([]string, records)
	for i := range values {
		values[i] = strings.Repeat("v", 140)
	}
	raw := data{values: values}.bytes()
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	var wg sync.WaitGroup
	start := time.Now()
	b.ResetTimer()
	for c := range callers {
		n := b.N / callers
		if c < b.N%callers {
			n++
		}
		wg.Go(func() {
			own := append([]byte(nil), raw...)
			done := make(chan error, 1)
			for range n {
				l.Append([]Append{{TopicPartition: at("a", int32(c%parts)), Batch: own}}, func(r []Appended) { done <- r[0].Err })
				if err := <-done; err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N*records)/time.Since(start).Seconds(), "records/s")
	var commits dto.Metric
	if err := l.metrics.commits.Write(&commits); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/commits.GetCounter().GetValue(), "ops/commit")
}
