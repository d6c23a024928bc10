package actors

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/persistence/eventlog"
	"github.com/gemello/gemello/windows"
)

// ErrNoHistory says that an answer would need records that are no longer in the
// log; the text says from when on answers are possible.
var ErrNoHistory = errors.New("the log no longer holds this part of the device's history")

// TwinStep is one record that changed a device or was refused, with the device
// after it: nil when it does not exist.
type TwinStep struct {
	Partition int32
	Offset    int64
	Time      time.Time
	Kind      string
	Audit     device.Audit
	Body      []byte // of the change; empty for identities, whose keys are sealed
	Refused   error
	Document  *device.Document
}

// TwinHistory calls visit for every change of a device that is in the log, the
// oldest first, from its creation on. It is computed by a replay of the device's
// records through the core. An error of visit ends it. ErrNoHistory says that
// the creation is not in the log any more: no state could be told without a
// guess. whole says that the log is there from its first record on, so that before
// the first step there was no such device.
func (n *Node) TwinHistory(ctx context.Context, id string, visit func(*TwinStep) error) (whole bool, err error) {
	if err := device.ValidID(id); err != nil {
		return false, err
	}
	p := n.partitionOf(id)
	ranges, err := n.log.Offsets(ctx, n.topics.deviceLog)
	if err != nil {
		return false, err
	}
	from, err := n.historyStart(ctx, id, p, ranges[p].Start)
	if err != nil {
		return false, err
	}
	h, err := partition.NewHistory(p, id)
	if err != nil {
		return false, err
	}
	err = n.log.ReadRange(ctx, n.topics.deviceLog, p, from, ranges[p].High, func(rec *eventlog.Record) error {
		if !bytes.Equal(rec.Key, []byte(id)) {
			return nil
		}
		return followRecord(h, p, rec, visit)
	})
	if errors.Is(err, eventlog.ErrOffsetOutOfRange) {
		return false, fmt.Errorf("%w: retention has passed its beginning while it was read", ErrNoHistory)
	}
	return from == 0, err
}

// historyStart is an offset below which the device, as it is now, did not exist.
// The generation of an identity names the record that made it.
func (n *Node) historyStart(ctx context.Context, id string, p int32, start int64) (int64, error) {
	if start == 0 {
		return 0, nil
	}
	doc, err := n.Twin(ctx, device.Ref{Device: id})
	if err != nil {
		return 0, err
	}
	parts := strings.Split(doc.Identity.GenerationID, "-")
	if len(parts) == 3 && parts[1] == strconv.Itoa(int(p)) {
		if made, err := strconv.ParseInt(parts[2], 10, 64); err == nil && made >= start {
			return made, nil
		}
	}
	return 0, fmt.Errorf("%w: device %s is older than the log, which starts at offset %d of partition %d; its history can be told once it was deleted and made again, or with a longer log.retention", ErrNoHistory, id, start, p)
}

func followRecord(h *partition.History, p int32, rec *eventlog.Record, visit func(*TwinStep) error) error {
	s := &TwinStep{Partition: p, Offset: rec.Offset, Time: rec.Timestamp.UTC()}
	r := partition.Record{Offset: rec.Offset, Arrival: windows.TickOf(rec.Timestamp), Key: rec.Key, Value: rec.Value}
	for _, head := range rec.Headers {
		r.Headers = append(r.Headers, partition.Header{Key: head.Key, Value: head.Value})
		v := string(head.Value)
		switch head.Key {
		case device.HeaderKind:
			s.Kind = v
		case device.HeaderActor:
			s.Audit.Actor = v
		case device.HeaderCredential:
			s.Audit.Credential = v
		case device.HeaderAddress:
			s.Audit.Address = v
		case device.HeaderAudit:
			s.Audit.RequestID = v
		case device.HeaderModule:
			return nil // a module's twin is another one
		}
	}
	var err error
	if s.Refused, err = h.Apply(&r); err != nil {
		return err
	}
	switch s.Kind {
	case device.KindTwin, device.KindReported:
		s.Body = rec.Value
	case device.KindIdentity, device.KindDelete:
	default:
		return nil
	}
	if s.Document, err = h.Document(); err != nil {
		return err
	}
	return visit(s)
}
