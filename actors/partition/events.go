package partition

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/gemello/gemello/device"
)

// Headers of a record of the events topic (docs/format/events.md); the names
// are those of azure-iot-wire 9.4 and 9.5.
const (
	EventSource        = "iothub-message-source"
	EventSchema        = "iothub-message-schema"
	EventHub           = "hubName"
	EventDevice        = "deviceId"
	EventModule        = "moduleId"
	EventTime          = "operationTimestamp"
	EventOperation     = "opType"
	EventContentType   = "content-type"
	EventEncoding      = "content-encoding"
	EventCorrelation   = "correlation-id"
	EventUser          = "user-id"
	EventEnqueued      = "iothub-enqueuedtime"
	EventConnDevice    = "iothub-connection-device-id"
	EventConnModule    = "iothub-connection-module-id"
	eventJSON          = "application/json"
	eventUTF8          = "utf-8"
	sequenceDigits     = 32
	sourceTwin         = "twinChangeEvents"
	sourceLifecycle    = "deviceLifecycleEvents"
	sourceJob          = "deviceJobLifecycleEvents"
	sourceConnection   = "deviceConnectionStateEvents"
	schemaTwin         = "twinChangeNotification"
	schemaDeviceLife   = "deviceLifecycleNotification"
	schemaModuleLife   = "moduleLifecycleNotification"
	schemaJob          = "deviceJobLifecycleNotification"
	schemaConnection   = "deviceConnectionStateNotification"
	operationUpdate    = "updateTwin"
	operationReplace   = "replaceTwin"
	operationCreate    = "create"
	operationDelete    = "delete"
	operationIdentity  = "Identity"
	operationConnected = "Connected"
	operationGone      = "Disconnected"
)

// event routes one event (azure-iot-wire 9.5). Of a change of the twin, routes see
// the twin as it was before.
func (d *Devices) event(r *Record, ref device.Ref, source, schema, operation string, body func([]byte) []byte) {
	if d.suppressed || d.o.Routing.Events == "" {
		return
	}
	rt := d.router
	m := &rt.message
	m.source, m.category = slices.Index(categories[:], source), source
	m.deviceID, m.moduleID, m.arrival, m.offset = ref.Device, ref.Module, r.Arrival, r.Offset
	m.auth, m.generation, m.model = "", "", ""
	rt.body = body(rt.body[:0])
	m.body = rt.body
	m.arena = device.AppendTimestamp(m.arena[:0], r.Arrival.Time())
	at := text(m.arena)
	correlation := text(r.Header(device.HeaderAudit))
	if correlation == "" {
		from := len(m.arena)
		m.arena = strconv.AppendInt(m.arena, int64(d.o.Partition), 10)
		m.arena = strconv.AppendInt(append(m.arena, '-'), r.Offset, 10)
		correlation = text(m.arena[from:])
	}
	m.props = append(m.props[:0],
		property{code: headerContentType, value: eventJSON}, property{code: headerContentEncoding, value: eventUTF8},
		property{code: headerCorrelationID, value: correlation}, property{code: headerUserID, value: d.o.Routing.HubName})
	m.size = len(m.body) + len(eventJSON) + len(eventUTF8) + len(correlation) + len(d.o.Routing.HubName)
	for _, p := range [...]property{
		{code: headerEventSchema, value: schema}, {code: headerEventHub, value: d.o.Routing.HubName},
		{code: headerEventDevice, value: ref.Device}, {code: headerEventModule, value: ref.Module},
		{code: headerEventTime, value: at}, {code: headerEventOperation, value: operation},
	} {
		if p.value != "" {
			m.props = append(m.props, p)
			m.size += len(headerNames[p.code]) + len(p.value)
		}
	}
	if err := d.route(); err != nil {
		rt.err = err
	}
}

func kindOf(ref device.Ref) string {
	if ref.Module != "" {
		return "Module"
	}
	return "Device"
}

// lifecycleEvent tells that an identity was made or deleted; the body is its
// twin.
func (d *Devices) lifecycleEvent(r *Record, doc *Device, operation string) {
	ref, schema := doc.Identity.Ref(), schemaDeviceLife
	if ref.Module != "" {
		schema = schemaModuleLife
	}
	d.event(r, ref, sourceLifecycle, schema, operation+kindOf(ref)+operationIdentity, doc.AppendEventView)
}

// twinEvent tells what an update changed, or the whole twin that a replacement
// made.
func (d *Devices) twinEvent(r *Record, doc *Device, replaced bool, delta *device.Delta) {
	ref := doc.Identity.Ref()
	if replaced {
		d.event(r, ref, sourceTwin, schemaTwin, operationReplace, doc.AppendEventView)
		return
	}
	if *delta == (device.Delta{}) {
		return // nothing was touched
	}
	d.event(r, ref, sourceTwin, schemaTwin, operationUpdate, func(b []byte) []byte { return doc.Twin.AppendDelta(b, delta) })
}

// connectionEvent tells that an entity connected or disconnected. The sequence
// number is the record's offset plus one: all records of a device are in one
// partition, so it grows for ever, also over deletion and re-creation.
func (d *Devices) connectionEvent(r *Record, ref device.Ref, connected bool) {
	operation := operationGone
	if connected {
		operation = operationConnected
	}
	kind := "device"
	if ref.Module != "" {
		kind = "module"
	}
	d.event(r, ref, sourceConnection, schemaConnection, kind+operation, func(b []byte) []byte {
		return fmt.Appendf(b, `{"sequenceNumber":"%0*X"}`, sequenceDigits, r.Offset+1)
	})
}
