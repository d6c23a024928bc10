package storage

import (
	"bufio"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/cockroachdb/pebble/v2"

	"github.com/gemello/gemello/persistence/broker/batch"
)

// DumpFilter says what Dump writes.
type DumpFilter struct {
	// Topic, when set, is the only one; Partition, unless negative, the only
	// partition.
	Topic     string
	Partition int32
	// From and To bound the offsets: [From, To); To <= 0 means up to the end.
	From, To int64
	// State writes topics, partitions, producers, transactional ids and groups.
	State bool
	// Batches writes the headers of batches, Records each record.
	Batches, Records bool
}

// Dump writes what is stored, one JSON object a line, each with a member "type":
// topic, partition, producer, transaction, offset, pending, batch, record or
// damage. Keys and values that are not UTF-8 are in base64, in members whose
// names end in Base64.
func (o Offline) Dump(ctx context.Context, w io.Writer, f DumpFilter) error {
	out := bufio.NewWriter(w)
	err := o.read(ctx, func(db pebble.Reader) error {
		st, err := loadReader(db)
		if err != nil {
			return err
		}
		d := &dump{ctx: ctx, db: db, st: st, f: f, enc: json.NewEncoder(out)}
		d.enc.SetEscapeHTML(false)
		return d.run()
	})
	if ferr := out.Flush(); err == nil {
		err = ferr
	}
	return err
}

// loadReader reads the state without the damage that Verify reports.
func loadReader(db pebble.Reader) (*state, error) {
	v := &verifier{ctx: context.Background(), db: db, st: newState(), compacted: map[uint32]compactState{}}
	return v.st, v.states()
}

type dump struct {
	ctx context.Context
	db  pebble.Reader
	st  *state
	f   DumpFilter
	enc *json.Encoder
}

type line map[string]any

func (d *dump) wants(tp TopicPartition) bool {
	return (d.f.Topic == "" || d.f.Topic == tp.Topic) && (d.f.Partition < 0 || d.f.Partition == tp.Partition)
}

func (d *dump) run() error {
	for _, name := range slices.Sorted(maps.Keys(d.st.topics)) {
		t := d.st.topics[name]
		if d.f.Topic != "" && d.f.Topic != name {
			continue
		}
		if d.f.State {
			err := d.enc.Encode(line{"type": "topic", "topic": name, "id": fmt.Sprintf("%x", t.ID), "partitions": t.Partitions, "configs": t.Configs})
			if err != nil {
				return err
			}
		}
		for _, p := range t.partitions {
			if !d.wants(p.tp) {
				continue
			}
			if err := d.partition(p); err != nil {
				return err
			}
		}
	}
	if !d.f.State {
		return nil
	}
	if err := d.transactions(); err != nil {
		return err
	}
	return d.offsets()
}

func (d *dump) partition(p *partition) error {
	if d.f.State {
		err := d.enc.Encode(line{
			"type": "partition", "topic": p.tp.Topic, "partition": p.tp.Partition, "number": p.uid,
			"logStart": p.start, "highWatermark": p.next, "lastStable": p.stable(), "bytes": p.bytes,
		})
		if err != nil {
			return err
		}
		for _, id := range slices.Sorted(maps.Keys(p.producers)) {
			pr := p.producers[id]
			l := line{
				"type": "producer", "topic": p.tp.Topic, "partition": p.tp.Partition, "producer": id, "epoch": pr.epoch,
				"transactionStart": pr.txnStart, "lastTimestamp": pr.lastTime, "seen": pr.seen,
			}
			if n := len(pr.window); n > 0 {
				l["lastSequence"] = pr.window[n-1].last
			}
			if err := d.enc.Encode(l); err != nil {
				return err
			}
		}
	}
	if !d.f.Batches && !d.f.Records {
		return nil
	}
	to := p.next
	if d.f.To > 0 {
		to = min(to, d.f.To)
	}
	if d.f.From >= to {
		return nil
	}
	err := eachBatch(d.db, p.uid, max(d.f.From, 0), to, func(base int64, value []byte) (bool, error) {
		return true, d.batch(p.tp, base, value, to)
	})
	if pebble.IsCorruptionError(err) {
		return d.damage(p.tp, -1, err)
	}
	return err
}

func (d *dump) damage(tp TopicPartition, offset int64, err error) error {
	return d.enc.Encode(line{"type": "damage", "topic": tp.Topic, "partition": tp.Partition, "offset": offset, "error": err.Error()})
}

func (d *dump) batch(tp TopicPartition, base int64, value []byte, to int64) error {
	if err := d.ctx.Err(); err != nil {
		return err
	}
	h, err := batch.Intact(value)
	if err == nil && h.Base != base {
		err = fmt.Errorf("it says that it begins at %d", h.Base)
	}
	if err != nil {
		return d.damage(tp, base, err)
	}
	var commits bool
	if h.Control() {
		if commits, err = batch.MarkerCommits(value); err != nil {
			return d.damage(tp, base, err)
		}
	}
	if d.f.Batches {
		l := line{
			"type": "batch", "topic": tp.Topic, "partition": tp.Partition, "offset": base, "last": h.Last(), "records": h.Count,
			"bytes": h.Size(), "codec": h.Codec().String(), "crc": fmt.Sprintf("%08x", h.CRC), "maxTimestamp": h.MaxTimestamp, "appendTime": h.AppendTime(),
			"producer": h.ProducerID, "epoch": h.Epoch, "sequence": h.FirstSequence, "transactional": h.Transactional(),
		}
		if h.Control() {
			l["marker"] = map[bool]string{true: "commit", false: "abort"}[commits]
		}
		if h.HasHorizon() {
			l["deleteHorizon"] = h.FirstTimestamp
		}
		if err := d.enc.Encode(l); err != nil {
			return err
		}
	}
	if !d.f.Records || h.Control() {
		return nil
	}
	for r, err := range batch.Records(value, maxUnpacked) {
		if err != nil {
			return d.damage(tp, base, err)
		}
		if r.Offset < d.f.From || r.Offset >= to {
			continue
		}
		l := line{"type": "record", "topic": tp.Topic, "partition": tp.Partition, "offset": r.Offset, "timestamp": r.Timestamp}
		l.bytes("key", r.Key)
		l.bytes("value", r.Value)
		if err := d.enc.Encode(l); err != nil {
			return err
		}
	}
	return nil
}

func (l line) bytes(name string, b []byte) {
	switch {
	case b == nil:
		l[name] = nil
	case utf8.Valid(b):
		l[name] = string(b)
	default:
		l[name+"Base64"] = base64.StdEncoding.EncodeToString(b)
	}
}

func (d *dump) transactions() error {
	for _, id := range slices.Sorted(maps.Keys(d.st.txns)) {
		t := d.st.txns[id]
		parts := []string{}
		touches := d.f.Topic == ""
		for p := range t.open {
			parts = append(parts, fmt.Sprintf("%s-%d", p.tp.Topic, p.tp.Partition))
			touches = touches || d.wants(p.tp)
		}
		if !touches {
			continue
		}
		slices.Sort(parts)
		err := d.enc.Encode(line{
			"type": "transaction", "transactionalId": id, "producer": t.producer, "epoch": t.epoch, "state": t.state.String(),
			"timeoutMs": t.timeout, "started": t.started, "updated": t.updated, "partitions": parts, "groups": slices.Sorted(maps.Keys(t.groups)),
		})
		if err != nil {
			return err
		}
		for _, group := range slices.Sorted(maps.Keys(t.pending)) {
			if err := d.groupOffsets("pending", group, id, t.pending[group]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *dump) offsets() error {
	for _, group := range slices.Sorted(maps.Keys(d.st.groups)) {
		if err := d.groupOffsets("offset", group, "", d.st.groups[group].committed); err != nil {
			return err
		}
	}
	return nil
}

func (d *dump) groupOffsets(kind, group, txn string, offsets map[TopicPartition]offsetValue) error {
	tps := slices.SortedFunc(maps.Keys(offsets), func(a, b TopicPartition) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	for _, tp := range tps {
		if !d.wants(tp) {
			continue
		}
		o := offsets[tp]
		l := line{"type": kind, "group": group, "topic": tp.Topic, "partition": tp.Partition, "offset": o.offset, "metadata": o.metadata, "committed": o.time}
		if txn != "" {
			l["transactionalId"] = txn
		}
		if err := d.enc.Encode(l); err != nil {
			return err
		}
	}
	return nil
}
