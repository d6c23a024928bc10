package storage

import (
	"errors"
	"sync"
	"time"
)

// upkeep is what retention, compaction and DeleteRecords have in common.
type upkeep struct {
	sync.Mutex
	// maxKeys is how many keys a pass of compaction remembers; 0 means
	// defaultCompactKeys.
	maxKeys int
}

func (u *upkeep) keys() int {
	if u.maxKeys > 0 {
		return u.maxKeys
	}
	return defaultCompactKeys
}

// upkeepLoop runs retention and compaction by the clock, apart from the other
// housekeeping: a pass over a large partition takes minutes.
func (l *Log) upkeepLoop() {
	if l.opts.Housekeeping < 0 {
		return
	}
	rounds := time.NewTicker(l.opts.Housekeeping)
	defer rounds.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-rounds.C:
		}
		err := l.keepUp(l.now())
		if err != nil && !errors.Is(err, ErrClosed) && !errors.Is(err, errStorage) && !errors.Is(err, errNoDatabase) {
			l.opts.Logger.Error("retention and compaction of the log", "err", err)
		}
	}
}

// keepUp is one round at the time now (ms).
func (l *Log) keepUp(now int64) error {
	return errors.Join(l.retain(now), l.compact(now))
}
