package actors

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/persistence/eventlog"
	"github.com/gemello/gemello/persistence/store"
	"github.com/gemello/gemello/windows"
)

// Errors of a node's client calls.
var (
	// ErrUnavailable: the partition has no running core right now; try again.
	ErrUnavailable = errors.New("partition is not available")
	// ErrBusy: a bounded queue is full; slow down and try again.
	ErrBusy = errors.New("busy")
)

// Cluster says where device actors live and carries messages to them; errors
// say that a bounded queue was full, or that the actor can't be reached.
type Cluster interface {
	Request(ctx context.Context, deviceID string, msg any) (any, error)
	Send(deviceID string, msg any) error
	// Notify is Send to an actor that is there; without one nothing happens.
	Notify(deviceID string, msg any) error
	Stop(ctx context.Context) error
}

// ClusterNeeds are what a node gives to the cluster that it joins.
type ClusterNeeds struct {
	Node        string
	Partitions  func(deviceID string) int32 // negative: not a device id
	DeviceProps func(deviceID string) *actor.Props
	Now         func() time.Time
	Logger      *slog.Logger
	Registerer  prometheus.Registerer
}

// Options configure a Node. Log, Cluster, Hub and Data are required.
type Options struct {
	Log *eventlog.Log
	// Cluster joins the cluster, of one member or more.
	Cluster func(ClusterNeeds) (Cluster, error)

	Hub  string // prefix of topics and transactional ids
	Data string // directory of the stores
	Node string // this node's name in checkpoints; empty: "node"

	Partitions   int32         // of the device log; 0: 8
	CommitEvery  time.Duration // 0: 500 ms
	CommitBytes  int           // effects that force a commit, shared by the cores of the node; 0: 32 MiB
	IdleTick     time.Duration // 0: 1 s
	Heartbeat    time.Duration // an idle owner commits this often; 0: never, the log has no other owner
	StateBudget  int64         // bytes of window state in memory on this node; 0: 256 MiB
	CacheBytes   int64         // block cache that all stores share; 0: 32 MiB
	FlushRecords int64         // input that a restart may have to replay; 0: 200,000 records a core

	Appender eventlog.AppenderOptions // bounds of what is on its way into the device log
	Topics   eventlog.HubTopicOptions // retention of the hub's topics
	Reader   eventlog.ReaderOptions   // bounds of what is fetched ahead

	Routing  partition.RoutingLimits // zero values: Azure's
	Commands device.CommandRules     // zero values: Azure's
	Webhooks WebhookOptions
	Live     LiveOptions // bounds of live queries

	JobHistory time.Duration // how long a job is kept after its end; 0: device.JobHistory

	ReleaseTimeout time.Duration // for the last commit at a stop; 0: 10 s

	// Break plants a fault, so that the checker of gemello verify can be seen to
	// find it. Nothing else may set it.
	Break Fault
	// PipelineDelay makes every pipelines core wait before each record, so that
	// a slow query can be seen to delay nothing else. For tests and benchmarks.
	PipelineDelay time.Duration

	Logger     *slog.Logger          // nil discards
	Registerer prometheus.Registerer // nil: metrics are kept but not exposed
	Now        func() time.Time      // nil: time.Now
}

// EnsureDefaults returns o with zero values replaced.
func (o Options) EnsureDefaults() Options {
	set(&o.Node, "node")
	set(&o.Partitions, 8)
	set(&o.CommitEvery, 500*time.Millisecond)
	set(&o.CommitBytes, 32<<20)
	set(&o.IdleTick, time.Second)
	set(&o.StateBudget, 256<<20)
	set(&o.CacheBytes, 32<<20)
	set(&o.FlushRecords, 200_000)
	set(&o.Reader.MaxBytes, 4<<20)
	set(&o.Reader.MaxPartitionBytes, 512<<10)
	o.Webhooks = o.Webhooks.orDefaults()
	o.Commands = o.Commands.OrDefaults()
	set(&o.JobHistory, device.JobHistory)
	set(&o.ReleaseTimeout, 10*time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

func set[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}

// topics are the names of the hub's own topics (design 5).
type topics struct {
	deviceLog, checkpoints, journal, state, twins, settings, events, deadLetter, late string
}

func topicsOf(hub string) topics {
	return topics{
		deviceLog: hub + ".device-log", checkpoints: hub + ".checkpoints", journal: hub + ".journal",
		state: hub + ".state", twins: hub + ".twins", settings: hub + ".settings",
		events: hub + ".events", deadLetter: hub + ".dead-letter", late: hub + ".late",
	}
}

// storeOptions places the store of a core; the folder name is the core's name
// with what a file system may refuse escaped.
func (n *Node) storeOptions(h *host) store.Options {
	return store.Options{
		Dir:     filepath.Join(n.options.Data, "cores", fileName(h.name)),
		Cache:   n.cache,
		Metrics: n.metrics.stores,
		Logger:  n.logger,
	}
}

func fileName(core string) string {
	var b strings.Builder
	for _, c := range []byte(core) {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '.', c == '-', c == '_':
			b.WriteByte(c)
		default:
			const hex = "0123456789ABCDEF"
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}

func tickOf(r *eventlog.Record) windows.Tick { return windows.TickOf(r.Timestamp) }
