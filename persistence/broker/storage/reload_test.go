package storage

import (
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/twmb/franz-go/pkg/kerr"
)

func TestReadersDoNotSeeWhatOnlyAFailedSyncHasWritten(t *testing.T) {
	var broken atomic.Bool
	fs := inject(vfs.NewMem(), func(op errorfs.Op) error {
		switch op.Kind {
		case errorfs.OpFileSync, errorfs.OpFileSyncData:
			if broken.Load() && strings.HasSuffix(op.Path, ".log") {
				return errorfs.ErrInjected
			}
		case errorfs.OpCreate, errorfs.OpReuseForWrite:
			if broken.Load() {
				return syscall.ENOSPC // so that it stays open for reading only
			}
		}
		return nil
	})
	l := open(t, newClock().options(fs))
	defer l.Close()
	mustCreate(t, l, "a", 1)
	tp := at("a", 0)
	if r := appendOne(l, tp, data{values: []string{"before"}}, ""); r.Err != nil {
		t.Fatal(r)
	}
	broken.Store(true)
	if r := appendOne(l, tp, data{values: []string{"unsure"}}, ""); r.Err != kerr.KafkaStorageError {
		t.Fatalf("%+v", r)
	}
	if _, err := l.CreateTopic(ctx, Topic{Name: "b", Partitions: 1}); err == nil {
		t.Fatal("a topic was made")
	}
	for range 3 {
		// Each look passes the sequencer, and so comes after the loading.
		l.Groups()
		if _, stable, high, err := l.Offsets(tp); err != nil || stable != 1 || high != 1 {
			t.Errorf("stable %d, high %d, %v", stable, high, err)
		}
		if f := l.Read(Read{TopicPartition: tp, Offset: 1, MaxBytes: 1000}, nil); f.Err != nil || len(f.Batches) != 0 {
			t.Errorf("read %d bytes, %v", len(f.Batches), f.Err)
		}
	}
	broken.Store(false)
	eventually(t, func() bool { return appendOne(l, tp, data{values: []string{"after"}}, "").Err == nil })
	got, _ := readAll(t, l, tp, 0, false)
	if got[0].value != "before" || got[len(got)-1].value != "after" {
		t.Errorf("%v", got)
	}
}
