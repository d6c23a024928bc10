package actors

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/gemello/gemello/actors/partition"
	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/persistence/eventlog"
)

// Telemetry is a message of a device on its way to the log.
type Telemetry struct {
	DeviceID, ModuleID string
	Bag                string // canonical property bag
	Auth               string // scope and type of the credential
	GenerationID       string
	ModelID            string
	Body               []byte
}

// Publish appends telemetry to the device log; done runs after the log has
// acknowledged it. Publish blocks while the appender is full.
func (n *Node) Publish(ctx context.Context, m Telemetry, done func(error)) {
	h := make([]eventlog.Header, 1, 6)
	h[0] = eventlog.Header{Key: device.HeaderKind, Value: kindTelemetry}
	for _, f := range [...]struct{ key, value string }{
		{device.HeaderModule, m.ModuleID}, {device.HeaderBag, m.Bag}, {device.HeaderAuth, m.Auth},
		{device.HeaderGeneration, m.GenerationID}, {device.HeaderModel, m.ModelID},
	} {
		if f.value != "" {
			h = append(h, eventlog.Header{Key: f.key, Value: []byte(f.value)})
		}
	}
	if n.options.Break == FaultAck {
		done(nil)
		done = func(error) {}
	}
	n.append(ctx, &eventlog.Record{Topic: n.topics.deviceLog, Key: []byte(m.DeviceID), Value: m.Body, Headers: h}, done)
}

var kindTelemetry = []byte(device.KindTelemetry)

// Connection is the beginning or end of a session.
type Connection struct {
	Ref       device.Ref
	Session   string
	Connected bool
	ModelID   string // what a session that begins says it is, "" if nothing
	Audit     device.Audit
}

// Presence appends a connect or disconnect of a session; nobody waits for it.
func (n *Node) Presence(ctx context.Context, c Connection) {
	kind := device.KindDisconnected
	if c.Connected {
		kind = device.KindConnected
	}
	h := append(controlHeaders(c.Ref, c.Audit),
		eventlog.Header{Key: device.HeaderKind, Value: []byte(kind)},
		eventlog.Header{Key: device.HeaderSession, Value: []byte(c.Session)})
	if c.Connected && c.ModelID != "" {
		h = append(h, eventlog.Header{Key: device.HeaderModel, Value: []byte(c.ModelID)})
	}
	n.append(ctx, &eventlog.Record{Topic: n.topics.deviceLog, Key: []byte(c.Ref.Device), Headers: h}, func(err error) {
		if err != nil {
			n.logger.Warn("append presence", "kind", kind, "err", err)
		}
	})
}

// PatchReported merges a patch into an entity's reported properties; done runs
// once, when the patch has been applied, with the new version.
func (n *Node) PatchReported(ctx context.Context, ref device.Ref, patch []byte, a device.Audit, done func(int64, error)) (cancel func()) {
	return n.PatchReportedIf(ctx, ref, patch, 0, a, done)
}

// PatchReportedIf is PatchReported that depends, above 0, on the version that the
// reported properties have: device.ErrPrecondition refuses it with another.
func (n *Node) PatchReportedIf(ctx context.Context, ref device.Ref, patch []byte, version int64, a device.Audit, done func(int64, error)) (cancel func()) {
	if n.options.Break == FaultAck {
		n.patchAhead(ctx, ref, done)
		done = func(int64, error) {}
	}
	h := controlHeaders(ref, a)
	if version > 0 {
		h = withIfMatch(h, strconv.FormatInt(version, 10))
	}
	return n.submit(ctx, device.KindReported, ref.Device, patch, h, func(r partition.Reply) { done(r.Version, r.Err) })
}

// Identity returns one device or module, or device.ErrNotFound or
// device.ErrModuleNotFound.
func (n *Node) Identity(ctx context.Context, ref device.Ref) (device.Entry, error) {
	doc, err := n.Twin(ctx, ref)
	return doc.Entry, err
}

// Modules returns the modules of a device in order of id, or device.ErrNotFound.
func (n *Node) Modules(ctx context.Context, deviceID string) ([]device.Entry, error) {
	var list []partition.Device
	var known bool
	var err error
	if e := n.devicesDo(ctx, deviceID, func(d *partition.Devices) { list, known, err = d.Modules(deviceID) }); e != nil {
		return nil, e
	}
	if err == nil && !known {
		err = device.Ref{Device: deviceID}.NotFound()
	}
	entries := make([]device.Entry, len(list))
	for i := range list {
		entries[i] = list[i].Entry
	}
	return entries, err
}

// Twin returns a device or module with its twin; errors are those of Identity.
func (n *Node) Twin(ctx context.Context, ref device.Ref) (device.Document, error) {
	var doc *partition.Device
	var err error
	if e := n.devicesDo(ctx, ref.Device, func(d *partition.Devices) { doc, err = d.Get(ref) }); e != nil {
		return device.Document{}, e
	}
	if err != nil {
		return device.Document{}, err
	}
	if doc == nil {
		return device.Document{}, ref.NotFound()
	}
	return doc.Document, nil
}

// Identities returns up to limit devices with ids above after, in order of id:
// the smallest of all partitions.
func (n *Node) Identities(ctx context.Context, after string, limit int) ([]device.Entry, error) {
	var all []device.Entry
	for _, h := range n.devices {
		var part []partition.Device
		var err error
		if e := h.do(ctx, func(c core) {
			n.reflects(ctx, h.partition, c)
			part, err = c.(*devicesCore).List(after, limit)
		}); e != nil {
			return nil, e
		}
		if err != nil {
			return nil, err
		}
		for i := range part {
			all = append(all, part[i].Entry)
		}
	}
	slices.SortFunc(all, func(a, b device.Entry) int { return cmp.Compare(a.Identity.DeviceID, b.Identity.DeviceID) })
	return all[:min(len(all), limit)], nil
}

// PutIdentity creates or updates a device or module by the rules of
// device.Change; device.ErrScope refuses a scope that no edge device has.
func (n *Node) PutIdentity(ctx context.Context, c device.Change) (device.Entry, error) {
	if err := n.knownScopes(ctx, &c.Wanted); err != nil {
		return device.Entry{}, err
	}
	body, err := c.AppendBinary(nil)
	if err != nil {
		return device.Entry{}, err
	}
	r, err := n.call(ctx, device.KindIdentity, c.Wanted.DeviceID, body, controlHeaders(c.Wanted.Ref(), c.Audit))
	return r.Document.Entry, err
}

// DeleteIdentity deletes a module, or a device with its modules, and the twins;
// ifMatch is "", "*" or an etag.
func (n *Node) DeleteIdentity(ctx context.Context, ref device.Ref, ifMatch string, a device.Audit) error {
	_, err := n.call(ctx, device.KindDelete, ref.Device, nil, withIfMatch(controlHeaders(ref, a), ifMatch))
	return err
}

// PatchTwin changes tags and desired properties.
func (n *Node) PatchTwin(ctx context.Context, c device.TwinChange) (device.Document, error) {
	h := withIfMatch(controlHeaders(c.Ref(), c.Audit), c.IfMatch)
	if c.Replace {
		h = append(h, eventlog.Header{Key: device.HeaderReplace, Value: []byte("true")})
	}
	r, err := n.call(ctx, device.KindTwin, c.DeviceID, c.Body, h)
	return r.Document, err
}

func withIfMatch(h []eventlog.Header, etag string) []eventlog.Header {
	if etag == "" {
		return h
	}
	return append(h, eventlog.Header{Key: device.HeaderIfMatch, Value: []byte(etag)})
}

// Statistics counts the devices of all partitions.
func (n *Node) Statistics(ctx context.Context) (device.Statistics, error) {
	var sum device.Statistics
	var errs []error
	for _, h := range n.devices {
		errs = append(errs, h.do(ctx, func(c core) {
			n.reflects(ctx, h.partition, c)
			s := c.(*devicesCore).Statistics()
			sum.Total += s.Total
			sum.Enabled += s.Enabled
			sum.Disabled += s.Disabled
			sum.Connected += s.Connected
		}))
	}
	return sum, errors.Join(errs...)
}
