package partition

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/windows"
)

// DevicesOptions configure a Devices core.
type DevicesOptions struct {
	Partition  int32
	State      windows.State // what the last Save left; read only
	StateTopic string        // compacted changelog of all durable device state
	TwinsTopic string        // compacted twins for analysts, without keys
	DeadLetter string
	Source     string // name of the input topic, for dead letters
	CacheItems int    // clean devices kept decoded; 0: 4,096
	// Routing.Events gets twin changes, life cycle and connection state
	// (azure-iot-wire 9.5) besides telemetry; "" emits none.
	Routing RoutingTopics
}

// Devices keeps the identities and twins of the devices and modules of one
// partition of the device log.
type Devices struct {
	o          DevicesOptions
	position   int64
	arrival    windows.Tick
	counts     device.Statistics
	cache      documents
	contents   contents
	feedback   feedbackQueue
	due        schedule
	commands   CommandFigures
	shelf      shelf
	configs    configurations
	indexes    indexes
	active     activity
	jobs       map[string]*device.Job // some of the jobs that have devices here, as they were made
	touched    []string               // keys of entities changed since the last Take, in order of change
	isTouched  map[string]bool        // the same as a set
	changes    changes
	effects    *Effects
	suppressed bool
	unsaved    int64
	router     *router
}

// NewDevices returns the core at the given position with the state that
// o.State holds.
func NewDevices(o DevicesOptions, position int64) (*Devices, error) {
	if o.CacheItems == 0 {
		o.CacheItems = 4096
	}
	d := &Devices{
		o: o, position: position, arrival: windows.Unset,
		cache: newDocuments(o.State, o.CacheItems), contents: newContents(o.State), isTouched: map[string]bool{}, effects: &Effects{},
		router: newRouter(o.Routing), shelf: newShelf(o.State), jobs: map[string]*device.Job{}, active: activity{},
	}
	if err := d.loadCounts(); err != nil {
		return nil, err
	}
	if err := d.loadIndexes(); err != nil {
		return nil, err
	}
	return d, d.loadQueues()
}

// Position returns the offset of the next record.
func (d *Devices) Position() int64 { return d.position }

// Skip moves past offsets that hold no data records.
func (d *Devices) Skip(next int64) { d.position = max(d.position, next) }

// Suppress turns outputs, replies and notices off while committed input is
// replayed; the changelog of what was replayed is committed already.
func (d *Devices) Suppress(on bool) {
	d.suppressed = on
	if !on {
		d.untouch()
	}
}

func (d *Devices) untouch() {
	clear(d.isTouched)
	d.touched = d.touched[:0]
	clear(d.contents.touched)
	clear(d.feedback.touched)
	clear(d.shelf.touched)
}

// Effects returns what was effected since the last Take.
func (d *Devices) Effects() *Effects { return d.effects }

// Arrival returns the arrival clock.
func (d *Devices) Arrival() windows.Tick { return d.arrival }

// changedWeight is how many records a changed document counts for, so that a host
// that saves every 200,000 records holds no more than about 5,000 documents that
// wait for it, of 3 KiB and more each: an import of a large fleet spent a third of
// its CPU time on marking them.
const changedWeight = 40

// Unsaved counts the records since the last Save, or more when many documents
// have changed: they stay in memory until then. When indexes wait for a save, it
// is more than any.
func (d *Devices) Unsaved() int64 {
	if d.indexes.urgent() {
		return math.MaxInt64
	}
	return max(d.unsaved, changedWeight*int64(len(d.cache.changed)))
}

// Tick does nothing: no device state depends on idle time yet.
func (d *Devices) Tick(a, wall windows.Tick) error { return nil }

// Touch does nothing: documents are read when they are changed.
func (d *Devices) Touch([][]byte) {}

// Stamp does nothing: records of the device log carry their arrival.
func (d *Devices) Stamp(windows.Tick) {}

// Replay applies one journal entry. What messages were routed by needs no
// replay: their copies were committed.
func (d *Devices) Replay(e Entry) error {
	if e.Kind == EntryRoutes {
		return nil
	}
	return fmt.Errorf("journal entry of kind %d in a devices core", e.Kind)
}

// Apply handles the record at the core's position. The error is that of
// reading state; a record that can't be applied is answered with its error or
// goes to the dead-letter topic.
func (d *Devices) Apply(r *Record) error {
	err := d.apply(r)
	if err == nil && d.router.err != nil {
		err, d.router.err = d.router.err, nil
	}
	return err
}

func (d *Devices) apply(r *Record) error {
	d.position = r.Offset + 1
	d.arrival = max(d.arrival, r.Arrival)
	d.unsaved++
	kind := r.Header(device.HeaderKind)
	if isCommand(string(kind)) {
		return d.command(string(kind), r)
	}
	switch string(kind) {
	case device.KindTelemetry, "":
		return d.telemetry(r)
	case device.KindSetting, device.KindRestored:
		return nil
	case device.KindIdentity:
		return d.identity(r)
	case device.KindDelete:
		return d.delete(r)
	case device.KindReported:
		return d.reported(r)
	case device.KindTwin:
		return d.twin(r)
	case device.KindConnected:
		return d.presence(r, true)
	case device.KindDisconnected:
		return d.presence(r, false)
	case device.KindFeedback:
		return d.feedbackRecord(r)
	case device.KindConfig:
		return d.config(r)
	case device.KindJob:
		return d.job(r)
	case device.KindJobPart:
		return d.jobPart(r)
	case device.KindJobStep:
		return d.jobStep(r)
	default:
		d.refuse(r, fmt.Sprintf("unknown kind %q", clip(kind)))
		return nil
	}
}

func (d *Devices) identity(r *Record) error {
	ref := refOf(r)
	var c device.Change
	err := c.UnmarshalBinary(r.Value)
	if err == nil && c.Wanted.Ref() != ref {
		err = fmt.Errorf("%w: the record's key and module header say %q, its body %q", device.ErrArgument, ref, c.Wanted.Ref())
	}
	if err != nil {
		d.refuse(r, err.Error())
		d.reply(r, Reply{Err: err})
		return nil
	}
	doc, err := d.cache.get(ref.Key())
	if err != nil {
		return err
	}
	var current *device.Identity
	if doc != nil {
		current = &doc.Identity
	}
	next, refused := c.Apply(current, d.at(r))
	if refused == nil && doc == nil && ref.Module != "" {
		if refused, err = d.addModule(ref); err != nil {
			return err
		}
	}
	if refused != nil {
		d.reply(r, Reply{Err: refused})
		return nil
	}
	n := Device{Document: device.Document{Twin: device.NewTwin()}}
	if doc != nil {
		n = *doc
		d.count(&doc.Entry, -1)
	}
	n.Identity = next
	changed, err := d.configure(r, &n)
	if err != nil {
		return err
	}
	d.count(&n.Entry, +1)
	d.put(ref.Key(), &n)
	d.notifyIdentity(ref, n.Modules)
	if doc == nil {
		d.lifecycleEvent(r, &n, operationCreate)
	}
	if changed {
		if err := d.deploy(r, &n); err != nil {
			return err
		}
	}
	d.reply(r, Reply{Document: n.Document})
	return nil
}

func (d *Devices) delete(r *Record) error {
	ref := refOf(r)
	doc, err := d.cache.get(ref.Key())
	if err != nil {
		return err
	}
	if doc == nil {
		d.reply(r, Reply{Err: ref.NotFound()})
		return nil
	}
	if err := doc.Identity.Match(string(r.Header(device.HeaderIfMatch))); err != nil {
		d.reply(r, Reply{Err: err})
		return nil
	}
	var modules []Device
	if ref.Module != "" {
		err = d.dropModule(ref)
	} else {
		modules, _, err = d.Modules(ref.Device)
	}
	if err != nil {
		return err
	}
	for i := range modules {
		if err := d.unconfigure(&modules[i]); err != nil {
			return err
		}
		d.dropCommands(modules[i].Identity.Ref(), &modules[i].Queue)
		d.put(modules[i].Identity.Ref().Key(), nil)
		d.lifecycleEvent(r, &modules[i], operationDelete)
	}
	if err := d.unconfigure(doc); err != nil {
		return err
	}
	d.count(&doc.Entry, -1)
	d.dropCommands(ref, &doc.Queue)
	d.put(ref.Key(), nil)
	d.lifecycleEvent(r, doc, operationDelete)
	d.notifyIdentity(ref, doc.Modules)
	d.reply(r, Reply{Document: doc.Document})
	return nil
}

// change applies fn to a copy of the entity's document and keeps it when fn
// succeeds.
func (d *Devices) change(r *Record, fn func(*Device) (Reply, error)) error {
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
	reply, err := fn(&n)
	if err != nil {
		d.reply(r, Reply{Err: err})
		return nil
	}
	if err := d.keepConfigured(r, &n); err != nil {
		return err
	}
	reply.Document = n.Document
	d.reply(r, reply)
	return nil
}

func (d *Devices) reported(r *Record) error {
	return d.change(r, func(n *Device) (Reply, error) {
		if err := n.Twin.MatchReported(r.Header(device.HeaderIfMatch)); err != nil {
			return Reply{}, err
		}
		version, delta, err := n.Twin.PatchReported(r.Value, r.Arrival.Time())
		if err != nil {
			return Reply{}, err
		}
		n.Presence.LastActivity = r.Arrival.Time()
		d.twinEvent(r, n, false, &delta)
		return Reply{Version: version}, nil
	})
}

func (d *Devices) twin(r *Record) error {
	ref := refOf(r)
	c := device.TwinChange{
		DeviceID: ref.Device, ModuleID: ref.Module, Body: r.Value,
		IfMatch: string(r.Header(device.HeaderIfMatch)), Replace: string(r.Header(device.HeaderReplace)) == "true",
	}
	return d.change(r, func(n *Device) (Reply, error) {
		version, err := d.changeTwin(r, n, &c)
		return Reply{Version: version}, err
	})
}

// changeTwin applies a service's change to a copy of a document.
func (d *Devices) changeTwin(r *Record, n *Device, c *device.TwinChange) (int64, error) {
	if err := n.Twin.Match(c.IfMatch); err != nil {
		return 0, err
	}
	change, err := n.Twin.Apply(c, r.Arrival.Time())
	if err != nil {
		return 0, err
	}
	if change.Patch != nil {
		d.notify(Notice{Ref: n.Identity.Ref(), Kind: NoticeDesired, Version: change.Version, Patch: change.Patch})
	}
	d.twinEvent(r, n, c.Replace, &change.Delta)
	return change.Version, nil
}

// presence notes a connection. A disconnect of a session that is not the
// current one is ignored.
func (d *Devices) presence(r *Record, connected bool) error {
	ref := refOf(r)
	doc, err := d.cache.get(ref.Key())
	if err != nil || doc == nil {
		return err
	}
	session := string(r.Header(device.HeaderSession))
	if !connected && doc.Session != session {
		return nil
	}
	n := *doc
	d.count(&doc.Entry, -1)
	if n.Presence.Connected != connected {
		n.Presence.Updated = r.Arrival.Time()
		d.connectionEvent(r, ref, connected)
	}
	// A session that says no model leaves the one that is known: other sessions
	// of the same device, such as tools, have none to say.
	if model := r.Header(device.HeaderModel); connected && len(model) > 0 && len(model) <= device.MaxModelID {
		n.Twin.ModelID = string(model)
	}
	n.Presence.Connected = connected
	n.Session = session
	if !connected {
		n.Session = ""
	}
	n.Presence.LastActivity = r.Arrival.Time()
	if err := d.releaseCommands(r, &n, n.Session); err != nil {
		return err
	}
	d.count(&n.Entry, +1)
	d.put(ref.Key(), &n)
	return nil
}

func (d *Devices) at(r *Record) device.Position {
	return device.Position{Partition: d.o.Partition, Offset: r.Offset, Time: r.Arrival.Time()}
}

// put keeps the document, nil for deleted, and marks it for the changelog.
func (d *Devices) put(key string, doc *Device) {
	d.cache.put(key, doc)
	delete(d.active, key)
	d.changes.put(key, doc, d.position)
	d.schedule(key, doc)
	if !d.isTouched[key] {
		d.isTouched[key] = true
		d.touched = append(d.touched, key)
	}
}

func (d *Devices) reply(r *Record, reply Reply) {
	if request := r.Header(device.HeaderRequest); len(request) > 0 && !d.suppressed {
		reply.Request, reply.Next = string(request), d.position
		d.effects.Replies = append(d.effects.Replies, reply)
	}
}

func (d *Devices) notify(n Notice) {
	if !d.suppressed {
		d.effects.Notices = append(d.effects.Notices, n)
	}
}

func (d *Devices) refuse(r *Record, reason string) {
	if d.suppressed {
		return
	}
	deadLetter(d.effects, d.o.DeadLetter, refusal{
		Reason: ReasonControl, Detail: reason, Source: d.o.Source, Partition: d.o.Partition, Offset: r.Offset,
		Key: r.Key, Payload: r.Value, Arrival: r.Arrival,
	})
}

// Take returns the effects with the changelog of all entities changed since the
// last one, and goes on with next.
func (d *Devices) Take(next *Effects) *Effects {
	e := d.effects
	d.effects = next
	if d.suppressed {
		d.untouch()
		return e
	}
	state, twins := e.topic(d.o.StateTopic), e.topic(d.o.TwinsTopic)
	for _, key := range d.touched {
		doc := d.cache.peek(key)
		d.changelog(e, state, key, doc, func(b []byte) []byte {
			b, err := appendState(b, d.position, doc)
			if err != nil {
				panic(err) // the document was validated when it was applied
			}
			return b
		})
		d.changelog(e, twins, device.ParseKey(key).String(), doc, func(b []byte) []byte { return doc.AppendServiceView(b) })
	}
	d.contents.take(e, state)
	d.feedback.take(e, state)
	d.shelf.take(d, e, state)
	d.untouch()
	return e
}

// changelog emits a document in the form that value gives it under a key, or a
// tombstone. A module's key alone would choose another partition than its
// device's, so the input's is asked for.
func (d *Devices) changelog(e *Effects, topic uint32, key string, doc *Device, value func([]byte) []byte) {
	b := e.room()
	from := len(b)
	b = append(b, key...)
	mid := len(b)
	if doc != nil {
		b = value(b)
	}
	e.done(topic, b, from, mid)
	e.alongside()
	if doc == nil {
		e.tombstone()
	}
}

// Get returns the document of a device or module, or nil when there is none.
func (d *Devices) Get(ref device.Ref) (*Device, error) { return d.cache.get(ref.Key()) }

// List returns up to limit devices with ids above after, in order of id.
func (d *Devices) List(after string, limit int) ([]Device, error) {
	return d.cache.list(after, limit, isDevice)
}

// ListEntities is List for devices and modules whose keys lie above after: those
// of a device come right behind it.
func (d *Devices) ListEntities(after device.Ref, limit int) ([]Device, error) {
	return d.cache.list(after.Key(), limit, func(string) bool { return true })
}

// Close does nothing: the core holds no budget.
func (d *Devices) Close() {}

// Report fills in figures.
func (d *Devices) Report(f *Figures) {
	f.Devices = d.counts.Total
	f.Routing = d.router.report()
	f.Commands = d.commands
	f.Commands.Queued = int64(d.due.queued)
}

// Save writes all changes since the last Save. Those that are to go to the
// changelog must have been taken.
func (d *Devices) Save(b windows.Batch) error {
	if len(d.touched) > 0 {
		return fmt.Errorf("save of devices at %d: %d changes have not been taken", d.position, len(d.touched))
	}
	keys := d.cache.dirty()
	slices.Sort(keys)
	d.indexes.save(b)
	for _, key := range keys {
		doc := d.cache.peek(key)
		d.saveDue(b, key, doc)
		if doc == nil {
			if err := d.indexes.replace(b, key, nil); err != nil {
				return err
			}
			b.DeleteRange(deviceKey(key), append(deviceKey(key), 0))
			continue
		}
		v, err := appendDevice(nil, doc)
		if err != nil {
			return fmt.Errorf("encode device %q: %w", key, err)
		}
		if err := d.indexes.replace(b, key, v); err != nil {
			return err
		}
		b.Set(deviceKey(key), v)
	}
	d.contents.save(b)
	d.feedback.save(b)
	d.shelf.save(b)
	d.cache.saved()
	d.savedIndexes()
	b.Set(countsKey, appendCounts(nil, &d.counts))
	d.unsaved = 0
	return nil
}

// Restore takes one record of the state topic while a lost store is rebuilt: a
// nil value is a tombstone. The newest record of a key wins.
func (d *Devices) Restore(key string, value []byte) error {
	if d.shelf.restore(key, value) {
		d.unsaved++
		d.configs.loaded = false
		return nil
	}
	if ok, err := d.restoreQueues(key, value); ok {
		return err
	}
	old, err := d.cache.get(key)
	if err != nil {
		return err
	}
	if old != nil {
		d.count(&old.Entry, -1)
	}
	if value == nil {
		d.cache.put(key, nil)
		d.schedule(key, nil)
		return nil
	}
	doc, err := decodeState(value)
	if err != nil {
		return fmt.Errorf("state of device %q: %w", key, err)
	}
	d.count(&doc.Entry, +1)
	d.cache.put(key, doc)
	d.schedule(key, doc)
	d.unsaved++
	return nil
}

// errCorrupt marks saved bytes that this version can't read.
var errCorrupt = errors.New("corrupt state")

func clip(b []byte) []byte { return b[:min(len(b), 64)] }
