package actors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/gemello/gemello/persistence/backup"
	"github.com/gemello/gemello/persistence/eventlog"
)

// BackupFile is a file of the data directory that goes into a backup.
type BackupFile struct {
	Name  string // with /, relative to the directory
	Value []byte
}

// Backup writes the hub's state while it runs: for each partition what the core
// committed at one position, which is at or above the end of the device log when
// Backup was called, so that all that was acknowledged by then is contained; and
// the settings. files go along. withKey is noted in the header.
func (n *Node) Backup(ctx context.Context, w io.Writer, files []BackupFile, withKey bool) (backup.Summary, error) {
	header, ends, err := n.backupPoint(ctx)
	if err != nil {
		return backup.Summary{}, err
	}
	header.WithKey = withKey
	settings := n.settings.snapshot()
	var hub struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(settings[settingHub], &hub); err != nil {
		return backup.Summary{}, fmt.Errorf("setting %s: %w", settingHub, err)
	}
	header.HubID = hub.ID
	out, err := backup.NewWriter(w, header)
	if err != nil {
		return backup.Summary{}, err
	}
	for p := range header.Partitions {
		if err := n.backupState(ctx, out, p, ends[p]); err != nil {
			return backup.Summary{}, err
		}
	}
	for _, k := range slices.Sorted(maps.Keys(settings)) {
		if err := out.Add(&backup.Entry{Kind: backup.KindSetting, Key: k, Value: settings[k]}); err != nil {
			return backup.Summary{}, err
		}
	}
	for _, f := range files {
		if err := out.Add(&backup.Entry{Kind: backup.KindFile, Key: f.Name, Value: f.Value}); err != nil {
			return backup.Summary{}, err
		}
	}
	return out.Close()
}

// snapshot copies the settings as they are at one version.
func (s *settings) snapshot() map[string][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.values)
}

const (
	// backupWait bounds how long a backup waits for a core to commit what is in
	// the log: a node that recovers may take that long.
	backupWait = time.Minute
	backupPoll = 50 * time.Millisecond
)

// backupPoint waits until every core has committed what is in the device log now,
// and returns the bounds of the state topic's partitions that hold it.
func (n *Node) backupPoint(ctx context.Context) (*backup.Header, []eventlog.Range, error) {
	ctx, cancel := context.WithTimeout(ctx, backupWait)
	defer cancel()
	input, err := n.log.Offsets(ctx, n.topics.deviceLog)
	if err != nil {
		return nil, nil, err
	}
	h := &backup.Header{Hub: n.options.Hub, Partitions: n.options.Partitions, Created: n.now().UTC()}
	for p := range h.Partitions {
		if _, err := n.awaitCommit(ctx, p, input[p].High); err != nil {
			return nil, nil, err
		}
	}
	state, err := n.log.Offsets(ctx, n.topics.state)
	if err != nil {
		return nil, nil, err
	}
	ends := make([]eventlog.Range, h.Partitions)
	for p := range h.Partitions {
		// What is in the topic below its stable end was committed with a
		// checkpoint that is the newest one by now, or older.
		c, err := n.awaitCommit(ctx, p, input[p].High)
		if err != nil {
			return nil, nil, err
		}
		ends[p] = state[p]
		h.Positions = append(h.Positions, backup.Position{Begin: input[p].High, End: c.Offset})
	}
	return h, ends, nil
}

// awaitCommit returns the newest checkpoint of a devices core once it covers the
// input below at.
func (n *Node) awaitCommit(ctx context.Context, p int32, at int64) (*eventlog.Checkpoint, error) {
	for {
		rec, found, err := n.log.LastByKey(ctx, n.topics.checkpoints, n.bookPartition(p), []byte(n.devices[p].name))
		if err != nil {
			return nil, err
		}
		c := &eventlog.Checkpoint{}
		if found {
			if c, err = eventlog.DecodeCheckpoint(rec.Value); err != nil {
				return nil, err
			}
		}
		if c.Offset >= at {
			return c, nil
		}
		if !pause(ctx, backupPoll) {
			return nil, fmt.Errorf("backup: %s has committed up to %d of %d: %w", n.devices[p].name, c.Offset, at, ErrUnavailable)
		}
	}
}

// errCompacted says that records which were to be read have gone.
var errCompacted = errors.New("the state topic was compacted meanwhile; try again")

// backupState writes the newest record of each key below the end: first it
// learns which those are, one partition at a time, then it copies them.
func (n *Node) backupState(ctx context.Context, out *backup.Writer, p int32, r eventlog.Range) error {
	newest := map[string]int64{}
	err := n.log.ReadRange(ctx, n.topics.state, p, r.Start, r.Stable, func(rec *eventlog.Record) error {
		if rec.Value == nil {
			delete(newest, string(rec.Key))
		} else {
			newest[string(rec.Key)] = rec.Offset
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	copied := 0
	err = n.log.ReadRange(ctx, n.topics.state, p, r.Start, r.Stable, func(rec *eventlog.Record) error {
		if at, ok := newest[string(rec.Key)]; !ok || at != rec.Offset {
			return nil
		}
		copied++
		return out.Add(&backup.Entry{Kind: backup.KindState, Partition: p, Key: string(rec.Key), Value: rec.Value})
	})
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if copied != len(newest) {
		return fmt.Errorf("backup of partition %d: %w: %w", p, errCompacted, ErrUnavailable)
	}
	return nil
}
