package partition

import "encoding/binary"

// headerNames are the names that most headers of outputs have: one byte stands
// for them while they wait for their commit. Zero is a name spelled out. The
// numbers are never stored.
var headerNames = [...]string{
	1:  "iothub-connection-device-id",
	2:  "iothub-connection-module-id",
	3:  "iothub-connection-auth-method",
	4:  "iothub-connection-auth-generation-id",
	5:  "iothub-enqueuedtime",
	6:  "iothub-message-source",
	7:  "iothub-creation-time-utc",
	8:  "iothub-interface-id",
	9:  "dt-dataschema",
	10: "dt-subject",
	11: "message-id",
	12: "correlation-id",
	13: "user-id",
	14: "to",
	15: "content-type",
	16: "content-encoding",
	17: "absolute-expiry-time",
	18: "output-name",
	19: "message-schema",
	20: "diagnostic-id",
	21: "diagnostic-context",
	22: "gemello-log-position",
	23: EventSchema,
	24: EventHub,
	25: EventDevice,
	26: EventModule,
	27: EventTime,
	28: EventOperation,
}

// reservedNames are the names that no application property of a device may have.
// Those that follow are properties of events, which devices may use as well.
var reservedNames = headerNames[:headerEventSchema]

// Codes of headerNames.
const (
	headerDeviceID = 1 + iota
	headerModuleID
	headerAuthMethod
	headerGeneration
	headerEnqueued
	headerSource
	headerCreated
	headerInterface
	headerModel
	headerSubject
	headerMessageID
	headerCorrelationID
	headerUserID
	headerTo
	headerContentType
	headerContentEncoding
	headerExpiry
	headerOutput
	headerSchema
	headerDiagnosticID
	headerDiagnosticContext
	headerPosition
	headerEventSchema
	headerEventHub
	headerEventDevice
	headerEventModule
	headerEventTime
	headerEventOperation
)

// appendHeader appends a header with any name.
func appendHeader(dst []byte, name string, value []byte) []byte {
	return append(openHeader(dst, name, len(value)), value...)
}

// appendCoded appends a header whose name has a code.
func appendCoded(dst []byte, code byte, value string) []byte {
	dst = append(dst, code)
	dst = binary.AppendUvarint(dst, uint64(len(value)))
	return append(dst, value...)
}

// openHeader appends all of a header but its value of the given length.
func openHeader(dst []byte, name string, length int) []byte {
	dst = append(dst, 0)
	dst = binary.AppendUvarint(dst, uint64(len(name)))
	dst = append(dst, name...)
	return binary.AppendUvarint(dst, uint64(length))
}

// nextHeader reads the first of encoded headers in place and returns the others.
func nextHeader(b []byte) (Header, []byte) {
	code := b[0]
	b = b[1:]
	var h Header
	if code == 0 {
		n, size := binary.Uvarint(b)
		b = b[size:]
		h.Key, b = text(b[:n:n]), b[n:]
	} else {
		h.Key = headerNames[code]
	}
	n, size := binary.Uvarint(b)
	b = b[size:]
	h.Value = b[:n:n]
	return h, b[n:]
}
