package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// housekeep applies retention and compaction until ctx ends.
func (s *Server) housekeep(ctx context.Context) {
	defer close(s.stopped)
	tick := time.NewTicker(s.opts.Housekeeping)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if err := s.retain(now); err != nil {
				s.opts.Logger.Warn("embedded log: retention", "err", err)
			}
			if err := s.compact(); err != nil {
				s.opts.Logger.Warn("embedded log: compaction", "err", err)
			}
		}
	}
}

// quiesceTime is how long writers are kept waiting for a moment without an open
// transaction.
const quiesceTime = 2 * time.Second

// compact rewrites compacted topics once they have doubled.
func (s *Server) compact() error {
	ps, err := listPartitions(s.dir)
	if err != nil {
		return err
	}
	var compacted []partitionDir
	var size int64
	for _, p := range ps {
		info := s.cluster.TopicInfo(p.topic)
		if info == nil || !compacts(info.Configs) {
			continue
		}
		compacted = append(compacted, p)
		for _, seg := range p.segments {
			size += seg.size
		}
	}
	if size < 2*s.compacted+s.opts.CompactBytes {
		return nil
	}
	ok, err := s.compactNow(compacted)
	if err != nil || !ok {
		return err
	}
	if ps, err = listPartitions(s.dir); err != nil {
		return err
	}
	s.compacted = 0
	for _, p := range ps {
		if info := s.cluster.TopicInfo(p.topic); info != nil && compacts(info.Configs) {
			for _, seg := range p.segments {
				s.compacted += seg.size
			}
		}
	}
	s.opts.Logger.Info("embedded log: compacted", "before", size, "after", s.compacted)
	return nil
}

// compactNow reports false if no moment was found that is fit for it. The
// broker's compaction takes the newest record of a key even if its transaction
// is open, and so loses the one before if that transaction is aborted; it must
// not run while there is one. It also removes the old files before it writes
// the new ones; links to them are kept until it is done, for recovery.
func (s *Server) compactNow(ps []partitionDir) (bool, error) {
	defer s.gate.writes.open()
	if !s.gate.writes.close(quiesceTime) {
		return false, nil
	}
	for _, p := range ps {
		info := s.cluster.PartitionInfo(p.topic, p.number)
		if info == nil || info.LastStableOffset < info.HighWatermark {
			return false, nil
		}
	}
	if err := saveSegments(s.dir, ps); err != nil {
		return false, err
	}
	s.cluster.Compact()
	return true, dropSaved(s.dir)
}

const (
	savedDir = "compacting"
	// savedFile stands in savedDir once it is complete.
	savedFile = "complete"
)

// saveSegments links the segments of the partitions under savedDir.
func saveSegments(dir string, ps []partitionDir) error {
	if err := dropSaved(dir); err != nil {
		return err
	}
	for _, p := range ps {
		// Listed again, since writing went on since then; now it does not.
		segments, err := listSegments(p.path)
		if err != nil {
			return err
		}
		to := filepath.Join(dir, savedDir, filepath.Base(p.path))
		if err := os.MkdirAll(to, 0o700); err != nil {
			return err
		}
		for _, seg := range segments {
			for _, name := range []string{fmt.Sprintf("%d.dat", seg.base), fmt.Sprintf("%d.idx", seg.base)} {
				if err := os.Link(filepath.Join(p.path, name), filepath.Join(to, name)); err != nil {
					return err
				}
			}
		}
		if err := syncDir(to); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, savedDir), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, savedDir, savedFile), nil, 0o600); err != nil {
		return err
	}
	return syncDir(filepath.Join(dir, savedDir))
}

// dropSaved removes what saveSegments made; the mark of completeness first, so
// that half of it is never restored.
func dropSaved(dir string) error {
	if err := dropSavedMark(dir); err != nil {
		return err
	}
	return os.RemoveAll(filepath.Join(dir, savedDir))
}

func dropSavedMark(dir string) error {
	err := os.Remove(filepath.Join(dir, savedDir, savedFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// restoreSaved brings back the segments of an unfinished compaction.
func restoreSaved(dir string) error {
	saved := filepath.Join(dir, savedDir)
	if _, err := os.Stat(filepath.Join(saved, savedFile)); errors.Is(err, os.ErrNotExist) {
		return dropSaved(dir)
	} else if err != nil {
		return err
	}
	entries, err := os.ReadDir(saved)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		from, to := filepath.Join(saved, e.Name()), filepath.Join(dir, "partitions", e.Name())
		if err := clearSegments(to); err != nil {
			return err
		}
		files, err := os.ReadDir(from)
		if err != nil {
			return err
		}
		for _, f := range files {
			if err := os.Link(filepath.Join(from, f.Name()), filepath.Join(to, f.Name())); err != nil {
				return err
			}
		}
		if err := syncDir(to); err != nil {
			return err
		}
	}
	return dropSaved(dir)
}

func clearSegments(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch filepath.Ext(e.Name()) {
		case ".dat", ".idx":
			if err := os.Remove(filepath.Join(path, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
