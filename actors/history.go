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
// oldest first, from its creation on, or in a restored hub from what the backup
// had, whose time is that of the backup. It is computed by a replay of the device's
// records through the core. An error of visit ends it. ErrNoHistory says that
// neither is in the log any more: no state could be told without a guess. whole says that the log is there from its first record on, so that before
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
	start := ranges[p].Start
	from, begun, err := n.historyStart(ctx, id, p, start)
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
		s, err := followRecord(h, p, rec)
		if err != nil || s == nil {
			return err
		}
		if begun = begun || s.Kind == device.KindRestored; !begun {
			return tooOld(id, p, start)
		}
		return visit(s)
	})
	if err == nil && !begun {
		err = tooOld(id, p, start)
	}
	if errors.Is(err, eventlog.ErrOffsetOutOfRange) {
		return false, fmt.Errorf("%w: retention has passed its beginning while it was read", ErrNoHistory)
	}
	return from == 0, err
}

// historyStart is the offset to read from. begun says that the device, as it is
// now, did not exist below it; else it is the log's first, and a history only
// begins if a restore has written its beginning. The generation of an identity
// names the record that made it.
func (n *Node) historyStart(ctx context.Context, id string, p int32, start int64) (from int64, begun bool, err error) {
	if start == 0 {
		return 0, true, nil
	}
	doc, err := n.Twin(ctx, device.Ref{Device: id})
	if err != nil {
		return 0, false, err
	}
	parts := strings.Split(doc.Identity.GenerationID, "-")
	if len(parts) == 3 && parts[1] == strconv.Itoa(int(p)) {
		if made, err := strconv.ParseInt(parts[2], 10, 64); err == nil && made >= start {
			return made, true, nil
		}
	}
	return start, false, nil
}

func tooOld(id string, p int32, start int64) error {
	return fmt.Errorf("%w: device %s is older than the log, which starts at offset %d of partition %d; its history can be told once it was deleted and made again, or with a longer log.retention", ErrNoHistory, id, start, p)
}

// followRecord applies a record; nil when it changes no twin.
func followRecord(h *partition.History, p int32, rec *eventlog.Record) (*TwinStep, error) {
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
			return nil, nil // a module's twin is another one
		case device.HeaderTaken:
			if ms, err := strconv.ParseInt(v, 10, 64); err == nil {
				s.Time = time.UnixMilli(ms).UTC()
			}
		}
	}
	var err error
	if s.Kind == device.KindRestored {
		err = h.Restore(rec.Value)
	} else {
		s.Refused, err = h.Apply(&r)
	}
	if err != nil {
		return nil, err
	}
	switch s.Kind {
	case device.KindTwin, device.KindReported:
		s.Body = rec.Value
	case device.KindIdentity, device.KindDelete, device.KindRestored:
	default:
		return nil, nil
	}
	s.Document, err = h.Document()
	return s, err
}
