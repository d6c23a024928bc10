package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// recoverDir repairs the directory of a server that was not closed in order.
//
// The broker itself would abort a transaction in each partition where it finds
// no end marker, although others may have theirs; it would keep whole
// partitions in memory to find out; and it would cut a segment at any damage,
// with all that follows. So this is done before it loads, and it finds
// partitions that look as if it had been closed in order.
//
// A transaction is committed if at least one of its partitions has the commit
// marker: the broker answers the commit when all have it, and writes the first
// one after all data is there. The other partitions get theirs here. All other
// open transactions get abort markers, and their producers a later epoch, so
// that a client that still lives is fenced rather than left to commit the rest.
func recoverDir(ctx context.Context, dir string, log *slog.Logger) error {
	if _, err := os.Stat(filepath.Join(dir, "meta.json")); errors.Is(err, os.ErrNotExist) {
		return nil // nothing was ever served from it
	}
	refused := func(err error) error {
		return fmt.Errorf("log data directory %s is damaged: %w; restore it from a backup", dir, err)
	}
	if err := restoreSaved(dir); err != nil {
		return refused(err)
	}
	ps, err := listPartitions(dir)
	if err != nil {
		return refused(err)
	}
	var scans []*partitionScan
	for _, p := range ps {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("recovery of log data directory %s: %w", dir, err)
		}
		snap := readSnapshot(p.path)
		if snap.matches(p.segments) {
			continue // not written to since it was closed in order
		}
		scan, err := scanPartition(p, snap, log)
		if err != nil {
			return refused(err)
		}
		scans = append(scans, scan)
	}
	producers, err := openProducers(dir)
	if err != nil {
		return refused(err)
	}
	committed := committedOnes(scans)
	for _, scan := range scans {
		for id, last := range scan.markers {
			producers.seen(id, last)
		}
	}
	for _, scan := range scans {
		for _, open := range scan.openInOrder() {
			commit := committed[open.producer] && !scan.ended[open.producer]
			if err := scan.endTransaction(open, commit, time.Now().UnixMilli()); err != nil {
				return refused(err)
			}
			producers.ended(open.producer, commit)
			log.Info("embedded log: ended a transaction that was open when the log was killed",
				"topic", scan.topic, "partition", scan.number, "commit", commit)
		}
		if err := scan.writeSnapshot(); err != nil {
			return refused(err)
		}
	}
	if err := producers.append(); err != nil {
		return refused(err)
	}
	if err := trimEntries(filepath.Join(dir, "groups.log")); err != nil {
		return refused(err)
	}
	// What the broker knew of sequences and sessions when it was last closed in
	// order is older than the data.
	for _, name := range []string{"seq_windows.json", "session_state.json"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return refused(err)
		}
	}
	return syncDir(dir)
}

// producer is one epoch of one producer id. Current clients get a new epoch
// with each transaction, so it names a transaction.
type producer struct {
	id    int64
	epoch int16
}

// openTxn is a transaction that has data and no end in a partition.
type openTxn struct {
	producer
	first int64 // offset of its first record
}

// committedOnes are the producers with a commit marker somewhere. One that has
// several in a partition uses its epoch for more than one transaction, as old
// clients do; nothing can be said about its open one then.
func committedOnes(scans []*partitionScan) map[producer]bool {
	committed := make(map[producer]bool)
	for _, scan := range scans {
		for p, n := range scan.commits {
			before, seen := committed[p]
			committed[p] = n == 1 && (!seen || before)
		}
	}
	return committed
}

// partitionScan is what the files of a partition hold.
type partitionScan struct {
	partitionDir
	snap    snapshot
	open    map[int64]openTxn // by producer id
	commits map[producer]int  // commit markers
	ended   map[producer]bool // has a marker of either kind
	markers map[int64]marker  // the last one, by producer id
}

// marker is the end of a transaction.
type marker struct {
	epoch  int16
	commit bool
}

func scanPartition(p partitionDir, old snapshot, log *slog.Logger) (*partitionScan, error) {
	scan := &partitionScan{
		partitionDir: p,
		open:         make(map[int64]openTxn),
		commits:      make(map[producer]int),
		ended:        make(map[producer]bool),
		markers:      make(map[int64]marker),
	}
	scan.snap = snapshot{
		Version: 1, Epoch: old.Epoch, CreatedAt: old.CreatedAt,
		HighWatermark: old.LogStartOffset, LogStartOffset: old.LogStartOffset,
	}
	next := int64(-1)
	for i := range p.segments {
		seg := &p.segments[i]
		path := filepath.Join(p.path, fmt.Sprintf("%d.dat", seg.base))
		var index []byte
		whole, err := scanSegment(path, func(b batch) error {
			if b.base < next {
				return fmt.Errorf("offset %d after %d", b.base, next-1)
			}
			if next < 0 {
				scan.snap.LogStartOffset = max(scan.snap.LogStartOffset, b.base)
			}
			next = b.end()
			index = append(index, indexEntry(b)...)
			scan.take(b)
			return nil
		})
		if errors.Is(err, errTorn) && i == len(p.segments)-1 {
			log.Warn("embedded log: cut off a torn write", "topic", p.topic, "partition", p.number, "bytes", seg.size-whole)
			if err := os.Truncate(path, whole); err != nil {
				return nil, err
			}
			seg.size = whole
		} else if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		// Anew, since it may lack the end or be zeros there: it is not flushed
		// before an acknowledgement. A batch without entry may be the only copy.
		if err := writeSynced(filepath.Join(p.path, fmt.Sprintf("%d.idx", seg.base)), index); err != nil {
			return nil, err
		}
	}
	scan.snap.HighWatermark = max(next, scan.snap.LogStartOffset)
	return scan, nil
}

func (s *partitionScan) take(b batch) {
	s.snap.MaxTimestamp = max(s.snap.MaxTimestamp, b.maxTimestamp)
	s.snap.Epoch = max(s.snap.Epoch, b.leaderEpoch)
	if s.snap.CreatedAt.IsZero() {
		s.snap.CreatedAt = time.UnixMilli(b.maxTimestamp)
	}
	p := producer{b.producerID, b.producerEpoch}
	switch {
	case b.control():
		open, ok := s.open[b.producerID]
		if ok && !b.commit {
			s.snap.AbortedTxns = append(s.snap.AbortedTxns, abortedTxn{b.producerID, open.first, b.base})
		}
		delete(s.open, b.producerID)
		s.ended[p] = true
		s.markers[b.producerID] = marker{b.producerEpoch, b.commit}
		if b.commit {
			s.commits[p]++
		}
	case b.transactional():
		open, ok := s.open[b.producerID]
		if !ok {
			open.first = b.base
		}
		open.producer = p
		s.open[b.producerID] = open
	}
}

func (s *partitionScan) openInOrder() []openTxn {
	var open []openTxn
	for _, o := range s.open {
		open = append(open, o)
	}
	slices.SortFunc(open, func(a, b openTxn) int { return cmp.Compare(a.first, b.first) })
	return open
}

// endTransaction appends the marker that is missing.
func (s *partitionScan) endTransaction(open openTxn, commit bool, nowMilli int64) error {
	last := &s.segments[len(s.segments)-1]
	raw := markerBatch(s.snap.HighWatermark, s.snap.Epoch, open.id, open.epoch, commit, nowMilli)
	b, err := parseBatch(raw)
	if err != nil {
		return err
	}
	if err := appendSynced(filepath.Join(s.path, fmt.Sprintf("%d.dat", last.base)), raw); err != nil {
		return err
	}
	if err := appendSynced(filepath.Join(s.path, fmt.Sprintf("%d.idx", last.base)), indexEntry(b)); err != nil {
		return err
	}
	last.size += b.size
	s.snap.HighWatermark = b.end()
	s.take(b)
	return nil
}
