package storage

import (
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// compactionGate lets no compaction begin before the database is open. One that
// runs while an opening fails finds the caches gone, which ends the process.
type compactionGate struct {
	*pebble.ConcurrencyLimitScheduler
	isOpen atomic.Bool
	db     pebble.DBForCompaction
}

func newCompactionGate() *compactionGate {
	return &compactionGate{ConcurrencyLimitScheduler: pebble.NewConcurrencyLimitSchedulerWithNoPeriodicGrantingForTest()}
}

func (g *compactionGate) Register(goroutines int, db pebble.DBForCompaction) {
	g.db = db
	g.ConcurrencyLimitScheduler.Register(goroutines, db)
}

func (g *compactionGate) TrySchedule() (bool, pebble.CompactionGrantHandle) {
	if !g.isOpen.Load() {
		return false, nil
	}
	return g.ConcurrencyLimitScheduler.TrySchedule()
}

func (g *compactionGate) UpdateGetAllowedWithoutPermission() {
	if g.isOpen.Load() {
		g.ConcurrencyLimitScheduler.UpdateGetAllowedWithoutPermission()
	}
}

// open lets compactions begin. The database asks once and then waits to be
// called, so that one which was refused has to be started here: without it no
// other would ever run, and writes stop when the first level is full.
func (g *compactionGate) open() {
	g.isOpen.Store(true)
	if waiting, _ := g.db.GetWaitingCompaction(); !waiting {
		return
	}
	if ok, handle := g.ConcurrencyLimitScheduler.TrySchedule(); ok && !g.db.Schedule(handle) {
		handle.Done()
	}
}
