package embedded

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"
)

// flusher holds back acknowledgements until what they promise is on disk. It
// flushes in rounds, all files of a round side by side: whoever comes while
// one is under way shares the next.
//
// Only segment files are flushed, and the log of producers when an owner
// begins: recovery makes the indexes anew, and finds later epochs in the
// segments.
type flusher struct {
	dir  string
	kick chan struct{}
	done chan struct{} // closed when run has ended

	mu        sync.Mutex // guards what follows
	names     map[[16]byte]string
	dirty     map[partitionKey]struct{}
	producers bool                                 // their log is dirty
	txns      map[string]map[partitionKey]struct{} // what open transactions wrote to
	waiting   []chan error
	closed    bool
	err       error // of the first flush that failed; nothing is acknowledged after it

	synced map[partitionKey]int64 // base of the newest segment that was flushed; run's own
}

type partitionKey struct {
	topic  string
	number int32
}

func newFlusher(dir string) *flusher {
	f := &flusher{
		dir:    dir,
		kick:   make(chan struct{}, 1),
		done:   make(chan struct{}),
		names:  make(map[[16]byte]string),
		dirty:  make(map[partitionKey]struct{}),
		txns:   make(map[string]map[partitionKey]struct{}),
		synced: make(map[partitionKey]int64),
	}
	go f.run()
	return f
}

// close ends the flusher after what waits, and returns the first error there
// was. A nil flusher does nothing.
func (f *flusher) close() error {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	if !f.closed {
		f.closed = true
		close(f.kick)
	}
	f.mu.Unlock()
	<-f.done
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// settle returns when what the response acknowledges is on disk.
func (f *flusher) settle(req request, response []byte) error {
	switch req.key {
	case keyProduce:
		parts, err := f.produced(req, response)
		if err != nil {
			return err
		}
		return f.wait(func() {
			for _, p := range parts {
				f.dirty[p] = struct{}{}
				if req.txn != "" {
					if f.txns[req.txn] == nil {
						f.txns[req.txn] = make(map[partitionKey]struct{})
					}
					f.txns[req.txn][p] = struct{}{}
				}
			}
		})
	case keyEndTxn:
		return f.wait(func() {
			for p := range f.txns[req.txn] {
				f.dirty[p] = struct{}{}
			}
			delete(f.txns, req.txn)
		})
	case keyInitProducerID:
		// The markers of a transaction that this aborted may be lost: recovery
		// aborts it again.
		return f.wait(func() {
			f.producers = f.producers || req.txn != ""
			delete(f.txns, req.txn)
		})
	}
	return nil
}

// produced lists the partitions that a response says were written to.
func (f *flusher) produced(req request, response []byte) ([]partitionKey, error) {
	var resp kmsg.ProduceResponse
	resp.SetVersion(req.version)
	skip := 8 // length and correlation
	if resp.IsFlexible() {
		skip++
	}
	if len(response) < skip {
		return nil, fmt.Errorf("produce response of %d bytes", len(response))
	}
	if err := resp.ReadFrom(response[skip:]); err != nil {
		return nil, fmt.Errorf("produce response: %w", err)
	}
	var parts []partitionKey
	for i := range resp.Topics {
		rt := &resp.Topics[i]
		name := rt.Topic
		if req.version >= 13 {
			var err error
			if name, err = f.name(rt.TopicID); err != nil {
				return nil, err
			}
		}
		for j := range rt.Partitions {
			if rt.Partitions[j].ErrorCode == 0 {
				parts = append(parts, partitionKey{name, rt.Partitions[j].Partition})
			}
		}
	}
	return parts, nil
}

// name returns the name of a topic. The broker writes
// its list of topics before it answers their creation. It is not asked itself,
// since it might be closing and never answer.
func (f *flusher) name(id [16]byte) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if name, ok := f.names[id]; ok {
		return name, nil
	}
	b, err := os.ReadFile(filepath.Join(f.dir, "topics.json"))
	if err != nil {
		return "", err
	}
	var list struct {
		Topics []struct {
			Name string `json:"name"`
			ID   []byte `json:"id"`
		} `json:"topics"`
	}
	if err := json.Unmarshal(b, &list); err != nil {
		return "", err
	}
	clear(f.names)
	for _, t := range list.Topics {
		if len(t.ID) == len(id) {
			f.names[[16]byte(t.ID)] = t.Name
		}
	}
	name, ok := f.names[id]
	if !ok {
		return "", fmt.Errorf("no topic has id %x; it was deleted meanwhile", id)
	}
	return name, nil
}

// wait notes what is dirty and returns after the round that flushes it.
func (f *flusher) wait(mark func()) error {
	done := make(chan error, 1)
	f.mu.Lock()
	if f.err != nil || f.closed {
		defer f.mu.Unlock()
		if f.err == nil {
			return os.ErrClosed
		}
		return f.err
	}
	mark()
	// Even if nothing is dirty: a response that repeats an earlier one must not
	// overtake the round that flushes for that.
	f.waiting = append(f.waiting, done)
	select {
	case f.kick <- struct{}{}:
	default:
	}
	f.mu.Unlock()
	return <-done
}

func (f *flusher) run() {
	defer close(f.done)
	for range f.kick {
		f.round()
	}
	f.round()
	// What was written and not acknowledged too, so that a directory that is
	// closed in order is what its files say even if the power fails now.
	all := make(map[partitionKey]struct{}, len(f.synced))
	for p := range f.synced {
		all[p] = struct{}{}
	}
	if err := f.sync(all, true); err != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.err = err
	}
}

func (f *flusher) round() {
	f.mu.Lock()
	waiting, dirty, producers, err := f.waiting, f.dirty, f.producers, f.err
	f.waiting, f.dirty, f.producers = nil, make(map[partitionKey]struct{}), false
	f.mu.Unlock()
	if len(waiting) == 0 {
		return
	}
	if err == nil {
		err = f.sync(dirty, producers)
	}
	if err != nil {
		f.mu.Lock()
		f.err = err
		f.mu.Unlock()
	}
	for _, w := range waiting {
		w <- err
	}
}

// maxSyncs is how many files are flushed at a time.
const maxSyncs = 32

func (f *flusher) sync(dirty map[partitionKey]struct{}, producers bool) error {
	var g errgroup.Group
	g.SetLimit(maxSyncs)
	if producers {
		g.Go(func() error { return syncFile(filepath.Join(f.dir, "pids.log")) })
	}
	for p := range dirty {
		path := partitionPath(f.dir, p.topic, p.number)
		segments, err := listSegments(path)
		if os.IsNotExist(err) {
			continue // the topic was deleted meanwhile
		}
		if err != nil {
			return err
		}
		last, seen := f.synced[p]
		if len(segments) > 0 && segments[len(segments)-1].base < last {
			seen = false // the topic was made anew
		}
		for _, seg := range segments {
			if seen && seg.base < last {
				continue
			}
			g.Go(func() error { return syncFile(filepath.Join(path, fmt.Sprintf("%d.dat", seg.base))) })
		}
		if len(segments) == 0 {
			continue
		}
		if newest := segments[len(segments)-1].base; !seen || newest != last {
			f.synced[p] = newest
			g.Go(func() error { return syncDir(path) })
			if !seen {
				g.Go(func() error { return syncDir(filepath.Dir(path)) })
			}
		}
	}
	return g.Wait()
}

// syncFile makes a file durable that the broker has open as well.
func syncFile(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if os.IsNotExist(err) {
		return nil // retention or a deletion was faster
	}
	if err != nil {
		return err
	}
	err = file.Sync()
	if cerr := file.Close(); err == nil {
		err = cerr
	}
	return err
}
