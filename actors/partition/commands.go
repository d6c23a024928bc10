package partition

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/windows"
)

// isCommand tells the kinds that handle one device's queue of commands.
func isCommand(kind string) bool {
	switch kind {
	case device.KindCommand, device.KindReceive, device.KindSettle, device.KindPurge, device.KindDue:
		return true
	}
	return false
}

// command handles a record about the queue of a device. What time has done to
// the queue since the last record of the device comes first.
func (d *Devices) command(kind string, r *Record) error {
	ref := refOf(r)
	doc, err := d.cache.get(ref.Key())
	if err != nil {
		return err
	}
	if doc == nil {
		d.reply(r, Reply{Err: ref.NotFound()})
		return nil
	}
	n := *doc
	now := r.Arrival.Time()
	next := n.Queue.Next()
	changed := !next.IsZero() && !next.After(now)
	ended := d.advance(&n.Queue, now)
	reply := Reply{}
	switch kind {
	case device.KindCommand:
		err = d.send(r, &n)
		reply.Offset = r.Offset
	case device.KindReceive:
		waiting := n.Queue.Waiting()
		reply.Commands, err = d.receive(r, &n)
		reply.Count = n.Queue.Waiting()
		changed = changed || reply.Count != waiting
		d.figure(&d.commands.Delivered, waiting-reply.Count)
	case device.KindSettle:
		var settled []device.EndedCommand
		settled, err = settle(r, &n.Queue)
		ended = append(ended, settled...)
		if err == nil && string(r.Header(device.HeaderOutcome)) == device.OutcomeAbandon.String() {
			d.figure(&d.commands.Abandoned, 1)
		}
	case device.KindPurge:
		purged := n.Queue.Purge()
		ended = append(ended, purged...)
		reply.Count = len(purged)
	}
	if errors.Is(err, errState) {
		return err
	}
	if err != nil {
		reply = Reply{Err: err}
		if kind == device.KindCommand {
			d.figure(&d.commands.Refused, 1)
		}
	} else if kind == device.KindCommand {
		d.figure(&d.commands.Enqueued, 1)
	}
	changed = changed || len(ended) > 0 || err == nil && (kind == device.KindCommand || kind == device.KindSettle)
	if changed {
		if err := d.endCommands(r, &n, ended); err != nil {
			return err
		}
		d.put(ref.Key(), &n)
		if kind != device.KindReceive {
			d.offer(&n)
		}
	}
	d.reply(r, reply)
	return nil
}

// errState marks an error of reading state, which ends the term.
var errState = errors.New("read state")

// send queues the command that a record holds.
func (d *Devices) send(r *Record, n *Device) error {
	ack, err := device.ParseAck(string(r.Header(device.HeaderAck)))
	if err != nil {
		return err
	}
	size, err := strconv.Atoi(string(r.Header(device.HeaderSize)))
	if err != nil || size < len(r.Value) || size > device.MaxCommandBytes {
		return fmt.Errorf("%w: a command of %d bytes says that it has %q", device.ErrArgument, len(r.Value), clip(r.Header(device.HeaderSize)))
	}
	rules, err := rulesOf(r)
	if err != nil {
		return err
	}
	c := device.Command{
		Sequence: r.Offset, MessageID: string(r.Header(device.HeaderMessageID)), Ack: ack, Size: size,
		Expires: r.Arrival.Time().Add(rules.TTL), MaxDeliveries: rules.MaxDeliveries, FeedbackTTL: rules.FeedbackTTL,
	}
	if v := r.Header(device.HeaderExpires); len(v) > 0 {
		ms, err := strconv.ParseInt(string(v), 10, 64)
		if err != nil {
			return fmt.Errorf("%w: expiry %q", device.ErrArgument, clip(v))
		}
		c.Expires = time.UnixMilli(ms).UTC()
	}
	if err := n.Queue.Send(c, r.Arrival.Time()); err != nil {
		return err
	}
	content := device.Content{Bag: string(r.Header(device.HeaderBag)), Body: r.Value}
	b, err := content.AppendBinary(make([]byte, 0, 8+len(content.Bag)+len(content.Body)))
	if err != nil {
		return err
	}
	d.contents.put(contentKey(refOf(r), r.Offset), b)
	// What is not saved yet is held in memory, so a body counts for many records.
	d.unsaved += int64(len(b)) / 64
	return nil
}

// rulesOf reads the rules of the hub that go along in a record; what it does not
// say is the default.
func rulesOf(r *Record) (device.CommandRules, error) {
	var rules device.CommandRules
	for _, h := range [...]struct {
		name string
		set  func(n int64)
	}{
		{device.HeaderTTL, func(n int64) { rules.TTL = time.Duration(n) * time.Millisecond }},
		{device.HeaderLockTime, func(n int64) { rules.Lock = time.Duration(n) * time.Millisecond }},
		{device.HeaderFeedback, func(n int64) { rules.FeedbackTTL = time.Duration(n) * time.Millisecond }},
		{device.HeaderDeliveries, func(n int64) { rules.MaxDeliveries = int(n) }},
	} {
		v := r.Header(h.name)
		if len(v) == 0 {
			continue
		}
		n, err := strconv.ParseUint(string(v), 10, 32)
		if err != nil || n == 0 {
			return rules, fmt.Errorf("%w: header %s is %q", device.ErrArgument, h.name, clip(v))
		}
		h.set(int64(n))
	}
	if err := rules.Validate(); err != nil {
		return rules, err
	}
	return rules.OrDefaults(), nil
}

// receive locks commands for the session, or the poll, that asks.
func (d *Devices) receive(r *Record, n *Device) ([]device.Delivery, error) {
	most, err := strconv.Atoi(string(r.Header(device.HeaderMax)))
	if err != nil || most < 1 {
		return nil, fmt.Errorf("%w: max %q", device.ErrArgument, clip(r.Header(device.HeaderMax)))
	}
	rules, err := rulesOf(r)
	if err != nil {
		return nil, err
	}
	session := string(r.Header(device.HeaderSession))
	locked := n.Queue.Receive(session, r.Arrival.Time(), rules.Lock, most, maxReceive, func(i int) string {
		return lockToken(d.o.Partition, r.Offset, i)
	})
	if d.suppressed {
		return nil, nil
	}
	out := make([]device.Delivery, 0, len(locked))
	for _, c := range locked {
		content, err := d.contents.get(contentKey(n.Identity.Ref(), c.Sequence))
		if err != nil {
			return nil, err
		}
		out = append(out, device.Delivery{Command: c, Content: content})
	}
	return out, nil
}

// maxReceive bounds what one delivery holds, in bytes of body and properties.
const maxReceive = 96 << 10

func settle(r *Record, q *device.CommandQueue) ([]device.EndedCommand, error) {
	o, err := device.ParseOutcome(string(r.Header(device.HeaderOutcome)))
	if err != nil {
		return nil, err
	}
	return q.Settle(string(r.Header(device.HeaderSession)), string(r.Header(device.HeaderLock)), o)
}

// lockToken names a delivery: unique for the hub, and a UUID in form, since AMQP
// has 16 bytes for it.
func lockToken(partition int32, offset int64, i int) string {
	hi, lo := uint64(offset)>>48, uint64(offset)&(1<<48-1)
	return fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", uint32(partition), uint16(i>>16), uint16(i), hi, lo)
}

// releaseCommands takes back what sessions other than the one that stays were
// given, when a session begins or ends.
func (d *Devices) releaseCommands(r *Record, n *Device, stays string) error {
	if n.Queue.Len() == 0 {
		return nil
	}
	ended := d.advance(&n.Queue, r.Arrival.Time())
	waiting, length := n.Queue.Waiting(), n.Queue.Len()
	ended = append(ended, n.Queue.Release(stays)...)
	d.figure(&d.commands.Returned, n.Queue.Waiting()-waiting+length-n.Queue.Len())
	return d.endCommands(r, n, ended)
}

// endCommands does what follows when commands have left the queue.
func (d *Devices) endCommands(r *Record, n *Device, ended []device.EndedCommand) error {
	n.Presence.Queued = n.Queue.Len()
	ref := n.Identity.Ref()
	for i := range ended {
		e := &ended[i]
		d.figureEnd(e.End)
		key := contentKey(ref, e.Sequence)
		if e.End != device.EndSuccess && e.End != device.EndPurged && !d.suppressed {
			content, err := d.contents.get(key)
			if err != nil {
				return err
			}
			deadLetter(d.effects, d.o.DeadLetter, refusal{
				Reason: ReasonCommand, Detail: endDetail(ref, e),
				Source: d.o.Source, Partition: d.o.Partition, Offset: e.Sequence,
				Key: []byte(ref.Device), Payload: content.Body, Arrival: windows.TickOf(e.Enqueued),
			})
		}
		d.contents.put(key, nil)
		if e.Feedback() {
			d.feedback.add(r.Offset, i, r.Arrival.Time(), device.Feedback{
				MessageID: e.MessageID, DeviceID: ref.Device, GenerationID: n.Identity.GenerationID, Ended: r.Arrival.Time(), End: e.End,
			}, e.FeedbackTTL)
		}
	}
	return nil
}

// advance does what time has done to a queue since its last record.
func (d *Devices) advance(q *device.CommandQueue, now time.Time) []device.EndedCommand {
	locked := q.Len() - q.Waiting()
	ended := q.Advance(now)
	d.figure(&d.commands.Returned, locked-(q.Len()-q.Waiting()))
	return ended
}

// endDetail says in a dead letter what became of a command.
func endDetail(ref device.Ref, e *device.EndedCommand) string {
	s := string(e.End) + ", message id " + strconv.Quote(e.MessageID)
	if ref.Module != "" {
		s += ", module " + strconv.Quote(ref.Module)
	}
	return s
}

// dropCommands forgets the queue of an entity that is deleted.
func (d *Devices) dropCommands(ref device.Ref, q *device.CommandQueue) {
	for _, c := range q.Commands() {
		d.contents.put(contentKey(ref, c.Sequence), nil)
	}
}

// offer tells the live session that there is something to fetch.
func (d *Devices) offer(n *Device) {
	if n.Session != "" && n.Queue.Waiting() > 0 {
		d.notify(Notice{Ref: n.Identity.Ref(), Kind: NoticeCommands})
	}
}

// Due returns the keys (device.Ref.Key) of up to limit devices and modules in
// whose queues something is due at now, in order; it changes nothing. Their host
// appends a record of kind due.
func (d *Devices) Due(now windows.Tick, limit int) []string { return d.due.at(now, limit) }

// schedule knows when time alone changes the queue of a device. earliest is no
// later than any of them, so that an idle partition is looked at in no time.
type schedule struct {
	times    map[string]scheduled // by device.Ref.Key
	earliest windows.Tick
	queued   int // commands of all
}

// scheduled is what is always known of a queue that is not empty.
type scheduled struct {
	at     windows.Tick
	queued int
}

func (s *schedule) set(id string, q *device.CommandQueue) {
	next := q.Next()
	if next.IsZero() {
		s.drop(id)
		return
	}
	s.put(id, windows.TickOf(next), q.Len())
}

func (s *schedule) put(id string, at windows.Tick, queued int) {
	if s.times == nil {
		s.times, s.earliest = map[string]scheduled{}, at
	}
	s.queued += queued - s.times[id].queued
	s.times[id] = scheduled{at, queued}
	s.earliest = min(s.earliest, at)
}

func (s *schedule) drop(id string) {
	s.queued -= s.times[id].queued
	delete(s.times, id)
}

func (s *schedule) at(now windows.Tick, limit int) []string {
	if len(s.times) == 0 || s.earliest > now {
		return nil
	}
	var ids []string
	later := windows.MaxTick
	for id, x := range s.times {
		if x.at <= now {
			ids = append(ids, id)
		} else {
			later = min(later, x.at)
		}
	}
	slices.Sort(ids)
	if len(ids) == 0 {
		s.earliest = later
	}
	return ids[:min(len(ids), limit)]
}
