package sql

import (
	"strings"

	"github.com/gemello/gemello/windows"
)

// Envelope is what is known of a record besides its payload: the built-in
// columns of a source.
type Envelope struct {
	// DeviceID and ModuleID name the sender; of a record that no device sent
	// they are empty.
	DeviceID, ModuleID string
	// GenerationID, MessageID, CorrelationID and StreamID are members of the
	// IoTHub record; empty ones are NULL.
	GenerationID, MessageID, CorrelationID, StreamID string
	// Enqueued is the arrival time of the record, EventEnqueuedUtcTime.
	Enqueued windows.Tick
	// Processed is EventProcessedUtcTime. A core that must give the same rows
	// again passes a time that is in the log, such as the arrival time.
	Processed windows.Tick
	// Partition is the partition that the record was read from.
	Partition int32
	// Key is the key of the source record; rows of a projection keep it.
	Key []byte
}

// builtin is a column that comes from the Envelope.
type builtin uint8

const (
	noBuiltin builtin = iota
	builtinDevice
	builtinModule
	builtinEnqueued
	builtinProcessed
	builtinPartition
	builtinHub
	builtinHubDevice
	builtinHubGeneration
	builtinHubEnqueued
	builtinHubMessage
	builtinHubCorrelation
	builtinHubStream
)

var builtinNames = map[builtin]string{
	builtinDevice:         "deviceId",
	builtinModule:         "moduleId",
	builtinEnqueued:       "EventEnqueuedUtcTime",
	builtinProcessed:      "EventProcessedUtcTime",
	builtinPartition:      "PartitionId",
	builtinHub:            "IoTHub",
	builtinHubDevice:      "ConnectionDeviceId",
	builtinHubGeneration:  "ConnectionDeviceGenerationId",
	builtinHubEnqueued:    "EnqueuedTime",
	builtinHubMessage:     "MessageId",
	builtinHubCorrelation: "CorrelationId",
	builtinHubStream:      "StreamId",
}

// builtinOf finds the built-in column of a name in any case: those of every
// source, and of devices those of the session too.
func builtinOf(name string, devices bool) builtin {
	first, last := builtinEnqueued, builtinPartition
	if devices {
		first, last = builtinDevice, builtinHub
	}
	return builtinAmong(name, first, last)
}

func builtinAmong(name string, first, last builtin) builtin {
	for b := first; b <= last; b++ {
		if strings.EqualFold(builtinNames[b], name) {
			return b
		}
	}
	return noBuiltin
}

// column gives the value of a built-in column.
func (e *Envelope) column(b builtin) windows.Value {
	switch b {
	case builtinDevice, builtinHubDevice:
		return textOrNull(e.DeviceID)
	case builtinModule:
		return textOrNull(e.ModuleID)
	case builtinEnqueued, builtinHubEnqueued:
		return windows.DatetimeOf(e.Enqueued)
	case builtinProcessed:
		return windows.DatetimeOf(e.Processed)
	case builtinPartition:
		return windows.BigintOf(int64(e.Partition))
	case builtinHubGeneration:
		return textOrNull(e.GenerationID)
	case builtinHubMessage:
		return textOrNull(e.MessageID)
	case builtinHubCorrelation:
		return textOrNull(e.CorrelationID)
	case builtinHubStream:
		return textOrNull(e.StreamID)
	case builtinHub:
		o := &windows.Object{}
		for _, m := range [...]builtin{builtinHubMessage, builtinHubCorrelation, builtinHubDevice,
			builtinHubGeneration, builtinHubEnqueued, builtinHubStream} {
			o.Fields = append(o.Fields, windows.Field{Name: builtinNames[m], Value: e.column(m)})
		}
		return windows.RecordOf(o)
	}
	return windows.Value{}
}

func textOrNull(s string) windows.Value {
	if s == "" {
		return windows.Value{}
	}
	return windows.StringOf(s)
}
