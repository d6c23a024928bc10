package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/persistence/eventlog"
)

// account is what the log holds at the end: facts, patches and rows.
type account struct {
	facts   []fact // telemetry of the device log
	input   []fact // records of the run's own topic
	patches map[string][]patchRecord
	twins   map[string]json.RawMessage // newest record of the twins topic, by device
	rows    map[string][]result        // by query name
	refused []string                   // rows of the late and dead-letter topics
}

type patchRecord struct {
	n    int64
	body []byte
}

// result is a committed row.
type result struct {
	group
	row
	at string // topic, partition and offset
}

// readTopic visits what is committed of a topic, partition by partition.
func readTopic(ctx context.Context, log *eventlog.Log, topic string, visit func(*eventlog.Record) error) error {
	ranges, err := log.Offsets(ctx, topic)
	if err != nil {
		return err
	}
	for p, r := range ranges {
		if err := log.ReadRange(ctx, topic, p, r.Start, r.Stable, visit); err != nil {
			return fmt.Errorf("read %s: %w", topic, err)
		}
	}
	return nil
}

type payload struct {
	DeviceID string
	Seq, V   int64
	T        time.Time
}

func factOf(rec *eventlog.Record) (fact, error) {
	var p payload
	if err := json.Unmarshal(rec.Value, &p); err != nil {
		return fact{}, fmt.Errorf("record %s/%d@%d: %w", rec.Topic, rec.Partition, rec.Offset, err)
	}
	return fact{device: string(rec.Key), seq: p.Seq, v: p.V, t: p.T}, nil
}

// readInputs reads what the senders brought into the log.
func readInputs(ctx context.Context, log *eventlog.Log, hub string) (*account, error) {
	a := &account{patches: map[string][]patchRecord{}, twins: map[string]json.RawMessage{}}
	err := readTopic(ctx, log, eventlog.HubTopic(hub, eventlog.TopicDeviceLog), func(rec *eventlog.Record) error {
		switch kindOf(rec) {
		case device.KindTelemetry:
			f, err := factOf(rec)
			a.facts = append(a.facts, f)
			return err
		case device.KindReported:
			var p struct{ N int64 }
			if err := json.Unmarshal(rec.Value, &p); err != nil {
				return err
			}
			id := string(rec.Key)
			a.patches[id] = append(a.patches[id], patchRecord{p.N, rec.Value})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = readTopic(ctx, log, inputTopic(hub), func(rec *eventlog.Record) error {
		f, err := factOf(rec)
		a.input = append(a.input, f)
		return err
	})
	return a, err
}

func kindOf(rec *eventlog.Record) string {
	for _, h := range rec.Headers {
		if h.Key == device.HeaderKind {
			return string(h.Value)
		}
	}
	return ""
}

// readOutputs reads what the nodes committed.
func (a *account) readOutputs(ctx context.Context, log *eventlog.Log, hub string) error {
	a.rows, a.refused = map[string][]result{}, nil
	clear(a.twins)
	for i := range queries {
		q := &queries[i]
		err := readTopic(ctx, log, q.into(hub), func(rec *eventlog.Record) error {
			var r struct {
				DeviceID     string
				N, S, Lo, Hi int64
				E            time.Time
			}
			at := fmt.Sprintf("%s/%d@%d", rec.Topic, rec.Partition, rec.Offset)
			if err := json.Unmarshal(rec.Value, &r); err != nil {
				return fmt.Errorf("row %s: %s: %w", at, rec.Value, err)
			}
			a.rows[q.name] = append(a.rows[q.name], result{group{r.E.UTC(), r.DeviceID}, row{r.N, r.S, r.Lo, r.Hi}, at})
			return nil
		})
		if err != nil {
			return err
		}
	}
	err := readTopic(ctx, log, eventlog.HubTopic(hub, eventlog.TopicTwins), func(rec *eventlog.Record) error {
		a.twins[string(rec.Key)] = rec.Value
		return nil
	})
	for _, t := range []string{eventlog.TopicLate, eventlog.TopicDeadLetter} {
		if err == nil {
			err = readTopic(ctx, log, eventlog.HubTopic(hub, t), func(rec *eventlog.Record) error {
				a.refused = append(a.refused, string(rec.Value))
				return nil
			})
		}
	}
	return err
}
