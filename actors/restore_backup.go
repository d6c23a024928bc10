package actors

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/persistence/backup"
	"github.com/gemello/gemello/persistence/eventlog"
	"github.com/gemello/gemello/windows"
)

// RestoreOptions say where a backup goes.
type RestoreOptions struct {
	Log    *eventlog.Log // empty
	Topics eventlog.HubTopicOptions
	// Begin makes an empty partition begin at an offset.
	Begin func(ctx context.Context, topic string, partition int32, at int64) error
	// File takes a file of the data directory.
	File func(name string, value []byte) error
	Now  time.Time
}

const (
	// restoreGap lies between the backup's end and the first offset of the
	// restored device log. Etags and generations are made of offsets, and the
	// hub went on giving them out after its backup.
	restoreGap = 1 << 32
	// restoreSlab and restoreSlabBytes bound one transaction.
	restoreSlab      = 2000
	restoreSlabBytes = 8 << 20
)

// Restore fills an empty log with a backup: state and twins of each partition,
// with a checkpoint from which its core goes on, and the settings.
func Restore(ctx context.Context, in *backup.Reader, o RestoreOptions) (backup.Summary, error) {
	h := &in.Header
	if err := o.Log.EnsureTopics(ctx, eventlog.HubTopics(h.Hub, h.Partitions, o.Topics)...); err != nil {
		return backup.Summary{}, fmt.Errorf("set up the hub's topics: %w", err)
	}
	topics := topicsOf(h.Hub)
	for p := range h.Partitions {
		if err := o.Begin(ctx, topics.deviceLog, p, h.Positions[p].End+restoreGap); err != nil {
			return backup.Summary{}, err
		}
	}
	appender, err := o.Log.NewAppender(eventlog.AppenderOptions{})
	if err != nil {
		return backup.Summary{}, err
	}
	defer appender.Close()
	r := &restore{o: o, header: h, topics: topics, appender: appender}
	defer r.end()
	for {
		e, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = r.entry(ctx, e)
		}
		if err != nil {
			return in.Summary(), err
		}
	}
	if err := r.advance(ctx, h.Partitions); err != nil {
		return in.Summary(), err
	}
	return in.Summary(), r.settle(ctx)
}

// restore is a restoration under way: partitions are filled one after the other.
type restore struct {
	o         RestoreOptions
	header    *backup.Header
	topics    topics
	partition int32          // being filled
	term      *eventlog.Term // of that partition; nil: not begun
	slab      []eventlog.Record
	bytes     int
	settings  []eventlog.Record
	appender  *eventlog.Appender
	begun     int64 // records of this partition's device log
	failed    atomic.Pointer[error]
}

func (r *restore) entry(ctx context.Context, e *backup.Entry) error {
	switch e.Kind {
	case backup.KindState:
		return r.state(ctx, e)
	case backup.KindSetting:
		r.settings = append(r.settings, eventlog.Record{Topic: r.topics.settings, Key: []byte(e.Key), Value: e.Value})
	case backup.KindFile:
		return r.o.File(e.Key, e.Value)
	}
	return nil
}

func (r *restore) state(ctx context.Context, e *backup.Entry) error {
	if e.Partition < r.partition {
		return fmt.Errorf("%w: partition %d after %d", backup.ErrCorrupt, e.Partition, r.partition)
	}
	if err := r.advance(ctx, e.Partition); err != nil {
		return err
	}
	view, entity, err := partition.View(e.Key, e.Value)
	if err != nil {
		return fmt.Errorf("%w: state of %q: %w", backup.ErrCorrupt, e.Key, err)
	}
	key := []byte(e.Key)
	r.slab = append(r.slab, eventlog.Record{Topic: r.topics.state, Partition: e.Partition, Key: key, Value: e.Value})
	r.bytes += len(e.Value) + len(view)
	if entity {
		ref := device.ParseKey(e.Key)
		r.slab = append(r.slab, eventlog.Record{Topic: r.topics.twins, Partition: e.Partition, Key: []byte(ref.String()), Value: view})
		r.begin(ctx, ref, e.Value)
	}
	if len(r.slab) >= restoreSlab || r.bytes >= restoreSlabBytes {
		return r.commit(ctx)
	}
	return nil
}

// begin appends what the history of a device or module begins with on the
// restored log.
func (r *restore) begin(ctx context.Context, ref device.Ref, state []byte) {
	h := append(controlHeaders(ref, device.Audit{Actor: "restore"}),
		eventlog.Header{Key: device.HeaderKind, Value: []byte(device.KindRestored)},
		eventlog.Header{Key: device.HeaderTaken, Value: strconv.AppendInt(nil, r.header.Created.UnixMilli(), 10)})
	r.begun++
	r.appender.Append(ctx, &eventlog.Record{Topic: r.topics.deviceLog, Partition: r.partition, Key: []byte(ref.Device), Value: state, Headers: h},
		func(_ *eventlog.Record, err error) {
			if err != nil {
				r.failed.CompareAndSwap(nil, &err)
			}
		})
}

// appended waits until what begin appended is durable.
func (r *restore) appended(ctx context.Context) error {
	err := r.appender.Flush(ctx)
	if failed := r.failed.Load(); failed != nil {
		err = *failed
	}
	if err != nil {
		return fmt.Errorf("restore the histories of partition %d: %w", r.partition, err)
	}
	return nil
}

// advance ends all partitions below p with their checkpoint, which lies behind
// the beginnings of their devices' histories.
func (r *restore) advance(ctx context.Context, p int32) error {
	for ; r.partition < p; r.partition++ {
		if err := r.appended(ctx); err != nil {
			return err
		}
		at := r.header.Positions[r.partition].End + restoreGap + r.begun
		r.begun = 0
		c := &eventlog.Checkpoint{
			Core: r.core(), Offset: at, Arrival: int64(windows.Unset), Watermark: int64(windows.Unset), RewindOffset: at,
			WrittenAt: r.o.Now.UnixMilli(), Released: true, Node: "restore",
		}
		r.slab = append(r.slab, eventlog.Record{Topic: r.topics.checkpoints, Partition: r.partition, Key: []byte(c.Core), Value: eventlog.AppendCheckpoint(nil, c)})
		err := r.commit(ctx)
		r.end()
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *restore) core() string { return fmt.Sprintf("%s.d.%d", r.header.Hub, r.partition) }

func (r *restore) commit(ctx context.Context) (err error) {
	if r.term == nil {
		if r.term, err = r.o.Log.NewTerm(ctx, r.core(), eventlog.TermOptions{Timeout: time.Minute}); err != nil {
			return err
		}
	}
	if err := r.term.Commit(ctx, r.slab); err != nil {
		return fmt.Errorf("restore partition %d: %w", r.partition, err)
	}
	r.slab, r.bytes = nil, 0
	return nil
}

func (r *restore) end() {
	if r.term != nil {
		r.term.Close()
		r.term = nil
	}
}

// settle writes the settings last: a hub whose settings are there is whole.
func (r *restore) settle(ctx context.Context) error {
	if len(r.settings) == 0 {
		return fmt.Errorf("%w: it has no settings", backup.ErrCorrupt)
	}
	term, err := r.o.Log.NewTerm(ctx, r.header.Hub+".restore", eventlog.TermOptions{})
	if err != nil {
		return err
	}
	defer term.Close()
	if err := term.Commit(ctx, r.settings); err != nil {
		return fmt.Errorf("restore settings: %w", err)
	}
	return nil
}
