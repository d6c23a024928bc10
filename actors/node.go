package actors

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/persistence/eventlog"
	"github.com/gemello/gemello/persistence/store"
	"github.com/gemello/gemello/windows"
)

// requestTimeout bounds a request whose caller set no deadline.
const requestTimeout = 30 * time.Second

// Node hosts the cores of this node's partitions and the device actors, and is
// the client that api and ingest call.
type Node struct {
	options  Options
	log      *eventlog.Log
	topics   topics
	logger   *slog.Logger
	metrics  *metrics
	cache    *store.Cache
	budget   *windows.Budget
	appender *eventlog.Appender
	settings *settings
	waiters  *waiters
	life     string // this process among those of the same node name
	buffers  buffers
	cores    atomic.Int64 // hosts that run
	// feedbackNext is the partition that is asked first for feedback.
	feedbackNext atomic.Int64
	cluster      Cluster

	configsWake chan struct{} // holds one token when a configuration was changed
	indexing    indexing
	jobsWake    chan struct{} // holds one token when a job was made or changed
	methodBase  uint64        // a random start for the ids of method calls
	methodSeq   atomic.Uint64 // calls so far
	methodBytes atomic.Int64  // of the payloads of calls under way

	intakeErr  atomic.Pointer[error] // why the newest append failed, nil after one that did not
	deviceFeed *feed
	pipeFeed   *feed
	devices    []*host // by partition of the device log

	routing routing
	live    liveQueries

	mu      sync.Mutex         // guards the following; nothing blocks while it is held
	sources map[string]*source // running pipelines by input topic
	problem map[string]string  // pipelines that can't run, by name
	stopped bool               // no more cores begin

	ctx    context.Context // ends when hosts must stop
	cancel context.CancelFunc
	feeds  context.CancelFunc // ends the feeds, after the hosts
	group  *errgroup.Group
	failed context.Context // ends with the cause when one of the group fails
	hosts  sync.WaitGroup
}

// Start prepares the hub's topics and settings and starts all cores; adopt
// lets an empty node join a log that already carries a hub.
func Start(ctx context.Context, o Options, adopt bool) (*Node, error) {
	o = o.EnsureDefaults()
	n := &Node{
		options: o, log: o.Log, topics: topicsOf(o.Hub), logger: o.Logger,
		metrics: newMetrics(o.Registerer, o.Now), sources: map[string]*source{}, problem: map[string]string{}, jobsWake: make(chan struct{}, 1), configsWake: make(chan struct{}, 1),
		indexing: newIndexing(),
	}
	var base [8]byte
	rand.Read(base[:])
	n.methodBase = binary.BigEndian.Uint64(base[:])
	n.ctx, n.cancel = context.WithCancel(context.Background())
	specs := eventlog.HubTopics(o.Hub, o.Partitions, o.Topics)
	if err := n.log.EnsureTopics(ctx, specs...); err != nil {
		return nil, fmt.Errorf("set up the hub's topics: %w", err)
	}
	info, err := n.log.Topic(ctx, n.topics.deviceLog)
	if err != nil {
		return nil, err
	}
	n.options.Partitions = info.Partitions
	if o.Break == FaultAck {
		o.Appender.Linger = faultLinger
	}
	if n.appender, err = n.log.NewAppender(o.Appender); err != nil {
		return nil, err
	}
	if n.settings, err = openSettings(ctx, n.log, n.appender, n.topics.settings); err != nil {
		n.appender.Close()
		return nil, err
	}
	feedsCtx, feeds := context.WithCancel(context.Background())
	n.feeds = feeds
	n.group, feedsCtx = errgroup.WithContext(feedsCtx)
	n.failed = feedsCtx
	if err := n.start(ctx, feedsCtx, adopt); err != nil {
		n.cancel()
		feeds()
		return nil, errors.Join(err, n.group.Wait())
	}
	return n, nil
}

func (n *Node) start(ctx, feeds context.Context, adopt bool) error {
	follower, err := n.log.NewReader(eventlog.ReaderOptions{})
	if err != nil {
		return err
	}
	n.group.Go(func() error {
		defer follower.Close()
		return n.settings.follow(feeds, follower)
	})
	if err := n.claim(ctx, adopt); err != nil {
		return err
	}
	n.life = newLife(n.options.Node, n.now())
	n.waiters = newWaiters(n.life)
	n.cache = store.NewCache(n.options.CacheBytes)
	n.budget = windows.NewBudget(n.options.StateBudget)
	if n.cluster, err = n.options.Cluster(ClusterNeeds{
		Node:        n.options.Node,
		Partitions:  func(entity string) int32 { return n.partitionOf(device.ParseRef(entity).Device) },
		DeviceProps: n.deviceProps,
		Now:         n.options.Now,
		Logger:      n.logger,
		Registerer:  n.options.Registerer,
	}); err != nil {
		return err
	}
	for _, f := range []**feed{&n.deviceFeed, &n.pipeFeed} {
		reader, err := n.log.NewReader(n.options.Reader)
		if err != nil {
			return err
		}
		*f = newFeed(reader, n.logger)
		n.group.Go(func() error {
			defer reader.Close()
			return (*f).run(feeds)
		})
	}
	// Devices cores have no idle clock.
	n.group.Go(func() error { return n.pipeFeed.watch(feeds, n.log, n.options.IdleTick, n.now) })
	if err := n.openRouting(); err != nil {
		return err
	}
	for p := range n.options.Partitions {
		h := newHost(n.devicesHost(p))
		n.devices = append(n.devices, h)
	}
	n.openLive()
	for _, h := range n.devices {
		n.run(h)
	}
	n.group.Go(func() error { return n.reconcileLoop(feeds) })
	n.group.Go(func() error { return n.publishOffsets(feeds) })
	n.group.Go(func() error { return n.driveJobs(n.ctx) })
	n.group.Go(func() error { return n.driveConfigurations(n.ctx) })
	n.group.Go(func() error { return n.driveIndexes(n.ctx) })
	return nil
}

func (n *Node) run(h *host) {
	ctx, cancel := context.WithCancel(n.ctx)
	h.cancel = cancel
	n.cores.Add(1)
	n.hosts.Go(func() {
		defer n.cores.Add(-1)
		h.run(ctx)
	})
}

// leastCommit keeps a node with many cores from committing every few rows.
const leastCommit = 1 << 20

// commitShare is a core's part of the effects that force a commit, so that the
// node's memory does not grow with the number of its partitions. What is under
// way exists four times: as bytes of rows that fill and that are committed, as
// the client's records, and as its encoded batches.
func (n *Node) commitShare() int {
	return max(leastCommit, n.options.CommitBytes/4/max(1, int(n.cores.Load())))
}

// claim checks that this node's data directory and the log carry the same hub
// id, and gives both one when neither has.
func (n *Node) claim(ctx context.Context, adopt bool) error {
	file := filepath.Join(n.options.Data, "hub.id")
	raw, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("read hub id: %w", err)
	}
	local := strings.TrimSpace(string(raw))
	var remote struct {
		ID string `json:"id"`
	}
	if v := n.settings.get(settingHub); v != nil {
		if err := json.Unmarshal(v, &remote); err != nil {
			return fmt.Errorf("setting %s: %w", settingHub, err)
		}
	}
	switch {
	case remote.ID == "" && local != "":
		return fmt.Errorf("%w: data directory %s belongs to hub %s and the log at prefix %q is empty; use the log it was made with or another data directory", ErrForeignHub, n.options.Data, local, n.options.Hub)
	case remote.ID != "" && local != "" && local != remote.ID:
		return fmt.Errorf("%w: data directory %s belongs to hub %s, the log to hub %s; choose another --hub prefix or data directory", ErrForeignHub, n.options.Data, local, remote.ID)
	case remote.ID != "" && local == "" && !adopt:
		return fmt.Errorf("%w: the log carries hub %s and data directory %s is new; start with --adopt to join it", ErrForeignHub, remote.ID, n.options.Data)
	case remote.ID == "":
		id := make([]byte, 16)
		rand.Read(id)
		remote.ID = hex.EncodeToString(id)
		v, err := json.Marshal(&remote)
		if err != nil {
			return err
		}
		if err := n.settings.put(ctx, settingHub, v); err != nil {
			return err
		}
	}
	if local == "" {
		if err := os.WriteFile(file, []byte(remote.ID+"\n"), 0o600); err != nil {
			return fmt.Errorf("write hub id: %w", err)
		}
	}
	return nil
}

// Stop ends the node politely: every core commits, flushes and releases its
// partition. Ingest must have stopped before.
func (n *Node) Stop(ctx context.Context) error {
	n.StopLiveQueries()
	err := n.appender.Flush(ctx)
	n.cancel()
	n.mu.Lock()
	n.stopped = true // else a core could begin that nobody waits for
	n.mu.Unlock()
	n.hosts.Wait()
	n.feeds()
	err = errors.Join(err, n.cluster.Stop(ctx), n.group.Wait())
	n.appender.Close()
	n.cache.Close()
	return err
}

// Wait returns when ctx ends, or with the error of a part of the node that all
// others need.
func (n *Node) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-n.failed.Done():
		return context.Cause(n.failed)
	}
}

func (n *Node) now() time.Time { return n.options.Now() }

// partitionOf is the partition of a device id, negative for an invalid id.
func (n *Node) partitionOf(deviceID string) int32 {
	if deviceID == "" {
		return -1
	}
	return eventlog.Partition([]byte(deviceID), n.options.Partitions)
}

// bookPartition is where a core of an input partition writes its checkpoints and
// journal: the same number, folded where a user's topic has more partitions than
// the hub's. Records of several cores in one partition differ by their key.
func (n *Node) bookPartition(p int32) int32 { return p % n.options.Partitions }

// deviceHost returns the host of the devices core that owns an id.
func (n *Node) deviceHost(deviceID string) (*host, error) {
	p := n.partitionOf(deviceID)
	if p < 0 {
		return nil, ErrUnavailable
	}
	return n.devices[p], nil
}

// devicesDo runs fn on the devices core that owns the id.
func (n *Node) devicesDo(ctx context.Context, deviceID string, fn func(*partition.Devices)) error {
	h, err := n.deviceHost(deviceID)
	if err != nil {
		return err
	}
	return h.do(ctx, func(c core) {
		n.reflects(ctx, h.partition, c)
		fn(c.(*devicesCore).Devices)
	})
}

// Statuses returns what every host is doing.
func (n *Node) Statuses() []HostStatus {
	hosts := n.allHosts()
	all := make([]HostStatus, len(hosts))
	for i, h := range hosts {
		all[i] = *h.status.Load()
	}
	return all
}

// allHosts lists the devices hosts, then those of the pipelines.
func (n *Node) allHosts() []*host {
	all := slices.Clone(n.devices)
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, topic := range slices.Sorted(maps.Keys(n.sources)) {
		all = append(all, n.sources[topic].hosts...)
	}
	return all
}

// IntakeError says why the log takes nothing, nil while it does.
func (n *Node) IntakeError() error {
	if err := n.intakeErr.Load(); err != nil {
		return *err
	}
	return nil
}
