package storage

import (
	"context"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func TestGenerationsAreGivenOutOnceThroughRestarts(t *testing.T) {
	fs := vfs.NewCrashableMem()
	for life, want := range [][]int32{{0, 100}, {200, 300}, {400, 500}} {
		l := open(t, newClock().options(fs))
		for _, w := range want {
			got, err := l.ReserveGenerations(context.Background(), 100)
			if err != nil || got != w {
				t.Fatalf("life %d: reserved from %d, want %d: %v", life, got, w, err)
			}
		}
		fs = fs.CrashClone(vfs.CrashCloneCfg{})
		l.Close()
	}
}

func TestGenerationsBeginAgainBeforeTheyOverflow(t *testing.T) {
	l := open(t, newClock().options(vfs.NewMem()))
	defer l.Close()
	for _, want := range []int32{0, 1 << 29, 1 << 30, 0} {
		got, err := l.ReserveGenerations(context.Background(), 1<<29)
		if err != nil || got != want {
			t.Fatalf("reserved from %d, want %d: %v", got, want, err)
		}
	}
}
