package api

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/device/credential"
)

// Errors that a Hub and the other parties answer with, beside those of package
// device. Any other error is answered as a server error (500001).
var (
	ErrUnauthorized = errors.New("unauthorized")                  // 401002
	ErrUnavailable  = errors.New("unavailable for now")           // 503001
	ErrThrottled    = errors.New("too many requests")             // 429001
	ErrConflict     = errors.New("conflict")                      // 409, admin only
	ErrNoObject     = errors.New("no such object")                // 404, admin only: pipeline, topic, policy
	ErrSQL          = errors.New("invalid query")                 // 400, admin only: the text says where
	ErrNoHistory    = errors.New("not in the log any more")       // 410, admin only
	ErrNotYet       = errors.New("not available in this version") // 501
)

// Hub is the device hub as the API needs it. Its methods may be called from any
// goroutine, block until the log has the change and it is applied, and return
// errors that wrap those of package device or of this one. Keys in identities
// are sealed in both directions.
type Hub interface {
	// Identity returns one device or module, or ErrNotFound or ErrModuleNotFound.
	Identity(ctx context.Context, ref device.Ref) (device.Entry, error)
	// Modules returns the modules of a device in order of id, or ErrNotFound.
	Modules(ctx context.Context, deviceID string) ([]device.Entry, error)
	// Identities returns up to limit devices in the order of their ids, from
	// the first id above after on. Fewer than limit means that there are no more.
	Identities(ctx context.Context, after string, limit int) ([]device.Entry, error)
	// PutIdentity creates or updates a device or module by the rules of
	// device.Change.
	PutIdentity(ctx context.Context, c device.Change) (device.Entry, error)
	// DeleteIdentity deletes a module, or a device with its modules, and the
	// twins; ifMatch is "", "*" or an etag.
	DeleteIdentity(ctx context.Context, ref device.Ref, ifMatch string, a device.Audit) error
	// Twin returns a device or module with its twin.
	Twin(ctx context.Context, ref device.Ref) (device.Document, error)
	// PatchTwin changes tags and desired properties; the device is told of it.
	PatchTwin(ctx context.Context, c device.TwinChange) (device.Document, error)
	// Statistics counts devices.
	Statistics(ctx context.Context) (device.Statistics, error)
}

// Policies finds shared access policies. It must not block.
type Policies interface {
	Policy(name string) (credential.Policy, bool)
}

// Pipelines is the stream processor as the admin API needs it.
type Pipelines interface {
	List(ctx context.Context) ([]Pipeline, error)
	// Apply creates or changes a pipeline. It wraps ErrSQL when the query or a
	// setting is invalid; the text of the error names the place.
	Apply(ctx context.Context, s PipelineSpec, a device.Audit) (Pipeline, error)
	Delete(ctx context.Context, name string, a device.Audit) error
	// Explain says how the pipeline is computed and where it stands.
	Explain(ctx context.Context, name string) (Explanation, error)
	// Why says how the result row of a group key and window end came about, or
	// why there is none (yet).
	Why(ctx context.Context, name, key string, end time.Time) (Explanation, error)
}

// PipelineSpec is a pipeline as the user writes it; durations are texts like 5s
// and "" means the default.
type PipelineSpec struct {
	Name         string `json:"name"`
	Query        string `json:"query"`
	Late         string `json:"late,omitempty"`
	OutOfOrder   string `json:"outOfOrder,omitempty"`
	Early        string `json:"early,omitempty"`
	OnLate       string `json:"onLate,omitempty"`
	OnOutOfOrder string `json:"onOutOfOrder,omitempty"`
	OnEarly      string `json:"onEarly,omitempty"`
	Grace        string `json:"grace,omitempty"`
	Key          string `json:"key,omitempty"`
	Arrival      string `json:"arrival,omitempty"`
}

// Pipeline is a pipeline with its state.
type Pipeline struct {
	PipelineSpec
	ID         string              `json:"id,omitempty"`
	Source     string              `json:"source,omitempty"` // topic read from
	Into       []string            `json:"into,omitempty"`   // topics written to
	State      string              `json:"state"`            // running, starting, suspended
	Cause      string              `json:"cause,omitempty"`  // why it does not run
	Partitions []PipelinePartition `json:"partitions,omitempty"`
}

// PipelinePartition is where a pipeline stands in one partition.
type PipelinePartition struct {
	Partition   int32     `json:"partition"`
	Offset      int64     `json:"offset"` // next to read
	Lag         int64     `json:"lag"`    // records
	Watermark   time.Time `json:"watermark,omitzero"`
	OpenWindows int64     `json:"openWindows"`
	Keys        int64     `json:"keys"`
	Late        int64     `json:"late"`
	DeadLetters int64     `json:"deadLetters"`
}

// Explanation is an answer for people, with the same facts for programs.
type Explanation struct {
	Text   string          `json:"text"`
	Detail json.RawMessage `json:"detail,omitempty"`
}

// Topics reads records for the admin API.
type Topics interface {
	// Tail calls visit with the records of a topic in the order of each
	// partition, until Limit, the end (unless Follow), ctx or an error of visit.
	// visit is called from one goroutine and must not keep the record.
	Tail(ctx context.Context, r TailRequest, visit func(*TopicRecord) error) error
}

// TailRequest says which records to read.
type TailRequest struct {
	Topic     string
	Partition int32 // -1: all
	FromStart bool  // from the oldest record, else from the end
	// Since, when not zero, is FromStart from the first record on that is not older.
	Since time.Time
	// From names the first offset of some partitions and goes before the others.
	From   map[int32]int64
	Limit  int  // records; 0: no limit
	Follow bool // go on at the end
}

// TopicRecord is one record of a topic.
type TopicRecord struct {
	Topic     string
	Partition int32
	Offset    int64
	Timestamp time.Time
	Key       []byte
	Value     []byte
	Headers   []RecordHeader
}

// RecordHeader is one header of a record.
type RecordHeader struct {
	Key   string
	Value []byte
}

// Health tells how the components of the node fare.
type Health interface {
	Components() []Component
}

// Condition is the health of a component.
type Condition string

// The conditions of a component.
const (
	Available   Condition = "available"
	Degraded    Condition = "degraded"    // works, with a loss worth a look
	Unavailable Condition = "unavailable" // does not work
	Unknown     Condition = "unknown"
)

// Component is one part of the node.
type Component struct {
	Name   string    `json:"name"`
	State  Condition `json:"state"`
	Since  time.Time `json:"since,omitzero"`
	Cause  string    `json:"cause,omitempty"`  // in words
	Impact string    `json:"impact,omitempty"` // what does not work because of it
	Next   string    `json:"next,omitempty"`   // what to do about it
	// Critical says that the node should get no traffic (readyz) while this
	// component is unavailable.
	Critical bool `json:"critical,omitempty"`
}

// Status is what GET /api/v1/status shows of the node.
type Status struct {
	Version   string            `json:"version"`
	Node      string            `json:"node"`
	Hub       string            `json:"hub"`
	Started   time.Time         `json:"started"`
	Hostnames []string          `json:"hostnames"`
	Listeners map[string]string `json:"listeners"` // name to address
	Topics    []TopicStatus     `json:"topics,omitempty"`
	Members   []MemberStatus    `json:"members,omitempty"`
	Cores     []CoreStatus      `json:"cores,omitempty"`
}

// TopicStatus is a topic with its extent.
type TopicStatus struct {
	Topic      string `json:"topic"`
	Partitions int32  `json:"partitions"`
	Records    int64  `json:"records"` // newest minus oldest offset, all partitions
}

// MemberStatus is a node of the cluster.
type MemberStatus struct {
	Node       string  `json:"node"`
	Address    string  `json:"address"`
	State      string  `json:"state"`
	Partitions []int32 `json:"partitions"`
}

// CoreStatus is one core on its partition.
type CoreStatus struct {
	Core      string    `json:"core"` // transactional id
	Topic     string    `json:"topic"`
	Partition int32     `json:"partition"`
	Offset    int64     `json:"offset"` // next to read, committed
	Lag       int64     `json:"lag"`    // records
	Owner     string    `json:"owner,omitempty"`
	Committed time.Time `json:"committed,omitzero"`
	State     string    `json:"state"`
	Cause     string    `json:"cause,omitempty"`
}

// NodeStatus tells the state of the node.
type NodeStatus interface {
	Status(ctx context.Context) (Status, error)
}
