package actors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/persistence/eventlog"
)

// Keys of the settings topic. A value is JSON, a tombstone deletes.
const (
	settingHub      = "hub"       // {"id": random}
	settingPipeline = "pipeline/" // + name: partition.Definition
)

// ErrForeignHub: the log belongs to another hub.
var ErrForeignHub = errors.New("the log belongs to another hub")

// settings is this node's copy of the settings topic, applied in its order.
type settings struct {
	log      *eventlog.Log
	appender *eventlog.Appender
	topic    string
	changed  chan struct{} // holds one token after a change
	turn     chan struct{} // holds one token while a setting is changed by what it was

	mu      sync.Mutex // guards the following; nothing is called while it is held
	values  map[string][]byte
	version uint64        // offset of the newest record applied, plus one
	moved   chan struct{} // closed and renewed when version grows
}

// openSettings reads the topic to its end.
func openSettings(ctx context.Context, log *eventlog.Log, appender *eventlog.Appender, topic string) (*settings, error) {
	s := &settings{log: log, appender: appender, topic: topic, changed: make(chan struct{}, 1), turn: make(chan struct{}, 1), values: map[string][]byte{}, moved: make(chan struct{})}
	o, err := log.Offsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	err = log.ReadRange(ctx, topic, 0, o[0].Start, o[0].High, func(r *eventlog.Record) error {
		s.apply(r)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	s.mu.Lock()
	s.version = uint64(o[0].High)
	s.mu.Unlock()
	return s, nil
}

func (s *settings) apply(r *eventlog.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if uint64(r.Offset) < s.version {
		return
	}
	if r.Value == nil {
		delete(s.values, string(r.Key))
	} else {
		s.values[string(r.Key)] = slices.Clone(r.Value)
	}
	s.version = uint64(r.Offset) + 1
	close(s.moved)
	s.moved = make(chan struct{})
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// follow applies what this and other nodes write, until ctx ends.
func (s *settings) follow(ctx context.Context, reader *eventlog.Reader) error {
	s.mu.Lock()
	from := int64(s.version)
	s.mu.Unlock()
	reader.Assign(s.topic, 0, from)
	for {
		batches, err := reader.Poll(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			// The log can't be reached for now.
			if !pause(ctx, 200*time.Millisecond) {
				return nil
			}
		}
		for _, b := range batches {
			if b.Err != nil {
				return fmt.Errorf("follow settings: %w", b.Err)
			}
			for _, r := range b.Records {
				s.apply(r)
			}
		}
	}
}

// put writes one setting (nil deletes) and returns when this node has applied
// it.
func (s *settings) put(ctx context.Context, key string, value []byte) error {
	type result struct {
		offset int64
		err    error
	}
	done := make(chan result, 1)
	s.appender.Append(ctx, &eventlog.Record{Topic: s.topic, Partition: 0, Key: []byte(key), Value: value}, func(r *eventlog.Record, err error) {
		done <- result{r.Offset, err}
	})
	var res result
	select {
	case res = <-done:
	case <-ctx.Done():
		return ctx.Err()
	}
	if res.err != nil {
		return fmt.Errorf("write setting %s: %w", key, res.err)
	}
	for {
		s.mu.Lock()
		applied, moved := s.version > uint64(res.offset), s.moved
		s.mu.Unlock()
		if applied {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *settings) get(key string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.values[key]
}

// pipelines returns the definitions by name and the version they are of.
func (s *settings) pipelines() ([]partition.Definition, uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []partition.Definition
	for _, k := range slices.Sorted(maps.Keys(s.values)) {
		if !strings.HasPrefix(k, settingPipeline) {
			continue
		}
		var d partition.Definition
		if err := json.Unmarshal(s.values[k], &d); err != nil {
			return nil, 0, fmt.Errorf("setting %s: %w", k, err)
		}
		list = append(list, d)
	}
	return list, s.version, nil
}
