package embedded

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// snapshot is how the broker stores what it knows of a partition that was
// closed in order.
type snapshot struct {
	Version          int           `json:"version"`
	HighWatermark    int64         `json:"high_watermark"`
	LastStableOffset int64         `json:"last_stable_offset"`
	LogStartOffset   int64         `json:"log_start_offset"`
	Epoch            int32         `json:"epoch"`
	LeaderNode       int32         `json:"leader_node,omitempty"`
	MaxTimestamp     int64         `json:"max_timestamp"`
	CreatedAt        time.Time     `json:"created_at"`
	AbortedTxns      []abortedTxn  `json:"aborted_txns,omitempty"`
	Segments         []snapSegment `json:"segments"`
}

type abortedTxn struct {
	ProducerID  int64 `json:"producer_id"`
	FirstOffset int64 `json:"first_offset"`
	LastOffset  int64 `json:"last_offset"`
}

type snapSegment struct {
	BaseOffset int64 `json:"base_offset"`
	Size       int64 `json:"size"`
	MinEpoch   int32 `json:"min_epoch,omitempty"`
	MaxEpoch   int32 `json:"max_epoch,omitempty"`
}

// readSnapshot returns the zero value if there is none that can be read: it
// only ever saves work.
func readSnapshot(path string) (snap snapshot) {
	b, err := os.ReadFile(filepath.Join(path, "snapshot.json"))
	if err != nil || json.Unmarshal(b, &snap) != nil || snap.Version != 1 {
		return snapshot{}
	}
	return snap
}

func (s snapshot) matches(segments []segmentFile) bool {
	return s.Version == 1 && slices.EqualFunc(s.Segments, segments, func(a snapSegment, b segmentFile) bool {
		return a.BaseOffset == b.base && a.Size == b.size
	})
}

func (s *partitionScan) writeSnapshot() error {
	s.snap.LastStableOffset = s.snap.HighWatermark
	for _, seg := range s.segments {
		s.snap.Segments = append(s.snap.Segments, snapSegment{BaseOffset: seg.base, Size: seg.size, MaxEpoch: s.snap.Epoch})
	}
	b, err := json.Marshal(s.snap)
	if err != nil {
		return err
	}
	path := filepath.Join(s.path, "snapshot.json")
	if err := writeSynced(path+".tmp", b); err != nil {
		return err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return err
	}
	return syncDir(s.path)
}

func writeSynced(path string, b []byte) error {
	return withFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, b)
}

func appendSynced(path string, b []byte) error {
	return withFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, b)
}

func withFile(path string, flag int, b []byte) error {
	f, err := os.OpenFile(path, flag, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
