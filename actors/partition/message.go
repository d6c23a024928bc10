package partition

import (
	"encoding/binary"
	"strconv"
	"strings"
	"unicode/utf16"

	"github.com/gemello/gemello/device/query"
	"github.com/gemello/gemello/windows"
)

// message is one message on its way through the routes. Its strings refer to
// the record that it came in and to arena, so it lives no longer than those.
type message struct {
	source   int // place in sources
	category string
	deviceID string
	moduleID string
	auth     string // "scope;type"
	// generation and model are those of the session.
	generation, model string
	arrival           windows.Tick
	offset            int64 // in the device log
	body              []byte
	props             []property
	size              int // as azure-iot-wire 2.6 counts it
	arena             []byte
}

// property is a system property, whose name has a code, or another, whose name
// has one when the hub itself sends it.
type property struct {
	code  byte
	name  string
	value string
}

// application returns the name of an application property.
func (p *property) application() (name string, ok bool) {
	if p.code >= headerEventSchema {
		return headerNames[p.code], true
	}
	return p.name, p.code == 0
}

// categories are the values of iothub-message-source by place in sources.
var categories = [...]string{
	"Telemetry", "twinChangeEvents", "deviceLifecycleEvents", "deviceJobLifecycleEvents",
	"digitalTwinChangeEvents", "deviceConnectionStateEvents",
}

// MaxMessage bounds a message with its enrichments, in bytes as azure-iot-wire
// 2.6 counts them.
const MaxMessage = 256 << 10

// readBag decodes a canonical property bag (azure-iot-wire 2.3) into props and
// counts what it adds to the message's size.
func (m *message) readBag(bag string) {
	m.props = m.props[:0]
	m.size = len(m.body)
	if bag == "" {
		return
	}
	if cap(m.arena) < len(bag) {
		m.arena = make([]byte, 0, 2*len(bag))
	}
	m.arena = m.arena[:0]
	for bag != "" {
		var pair string
		pair, bag, _ = strings.Cut(bag, "&")
		if pair == "" {
			continue
		}
		key, value, _ := strings.Cut(pair, "=")
		key, value = m.unescape(key), m.unescape(value)
		m.size += len(value)
		if code, ok := systemCode(key); !ok {
			m.size += len(key)
			m.props = append(m.props, property{name: key, value: value})
		} else if code > 0 {
			m.props = append(m.props, property{code: code, value: value})
		}
	}
}

// unescape decodes percent-encoding; what is no escape stays as it is.
func (m *message) unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	from := len(m.arena)
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if hi, lo := hexValue(s[i+1]), hexValue(s[i+2]); hi >= 0 && lo >= 0 {
				m.arena = append(m.arena, byte(hi<<4|lo))
				i += 2
				continue
			}
		}
		m.arena = append(m.arena, s[i])
	}
	return text(m.arena[from:])
}

func hexValue(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// systemCode returns the code of a bag's key that stands for a system property;
// 0 for one that is not passed on: who the device is says its session alone. ok
// is false for an application property.
func systemCode(key string) (code byte, ok bool) {
	if !strings.HasPrefix(key, "$.") {
		return 0, false
	}
	switch key[2:] {
	case "mid":
		return headerMessageID, true
	case "cid":
		return headerCorrelationID, true
	case "uid":
		return headerUserID, true
	case "to":
		return headerTo, true
	case "exp":
		return headerExpiry, true
	case "ct":
		return headerContentType, true
	case "ce":
		return headerContentEncoding, true
	case "ctime":
		return headerCreated, true
	case "on":
		return headerOutput, true
	case "sub":
		return headerSubject, true
	case "ifid":
		return headerInterface, true
	case "schema":
		return headerSchema, true
	case "diagid":
		return headerDiagnosticID, true
	case "diagctx":
		return headerDiagnosticContext, true
	}
	return 0, true
}

// system returns the value of a system property, "" for none.
func (m *message) system(code byte) string {
	for i := range m.props {
		if m.props[i].code == code {
			return m.props[i].value
		}
	}
	return ""
}

// lookup is the System of a query.Message.
func (m *message) lookup(name string) (string, bool) {
	code := byte(0)
	switch name {
	case "contenttype":
		code = headerContentType
	case "contentencoding":
		code = headerContentEncoding
	case "correlationid":
		code = headerCorrelationID
	case "messageid":
		code = headerMessageID
	case "userid":
		code = headerUserID
	case "to":
		code = headerTo
	case "enqueuedtime":
		return m.arrival.String(), true
	case "connectiondeviceid":
		return m.deviceID, true
	case "connectionmoduleid":
		return m.moduleID, m.moduleID != ""
	}
	for i := range m.props {
		if code > 0 && m.props[i].code == code {
			return m.props[i].value, true
		}
	}
	return "", false
}

// property is the Property of a query.Message.
func (m *message) property(name string) (string, bool) {
	for i := range m.props {
		if known, ok := m.props[i].application(); ok && strings.EqualFold(known, name) {
			return m.props[i].value, true
		}
	}
	return "", false
}

// json returns the body as a JSON text in UTF-8, "" where the content type and
// encoding don't say that it is (azure-iot-wire 9.2).
func (m *message) json() string {
	kind, _, _ := strings.Cut(m.system(headerContentType), ";")
	if !strings.EqualFold(strings.TrimSpace(kind), "application/json") {
		return ""
	}
	switch encoding := strings.TrimSpace(m.system(headerContentEncoding)); {
	case strings.EqualFold(encoding, "utf-8"):
		return strings.TrimPrefix(text(m.body), "\ufeff")
	case strings.EqualFold(encoding, "utf-16"):
		return ofUTF16(m.body)
	case strings.EqualFold(encoding, "utf-32"):
		return ofUTF32(m.body)
	}
	return ""
}

// ofUTF16 decodes little-endian text, as .NET's utf-16 is, or what a byte order
// mark says.
func ofUTF16(b []byte) string {
	var order binary.ByteOrder = binary.LittleEndian
	if len(b) >= 2 && b[0] == 0xfe && b[1] == 0xff {
		order = binary.BigEndian
	}
	units := make([]uint16, 0, len(b)/2)
	for ; len(b) >= 2; b = b[2:] {
		units = append(units, order.Uint16(b))
	}
	return strings.TrimPrefix(string(utf16.Decode(units)), "\ufeff")
}

func ofUTF32(b []byte) string {
	var order binary.ByteOrder = binary.LittleEndian
	if len(b) >= 4 && b[0] == 0 && b[1] == 0 && b[2] == 0xfe && b[3] == 0xff {
		order = binary.BigEndian
	}
	var s strings.Builder
	for ; len(b) >= 4; b = b[4:] {
		s.WriteRune(rune(order.Uint32(b)))
	}
	return strings.TrimPrefix(s.String(), "\ufeff")
}

// appendHeaders appends the message's headers as azure-iot-wire 9.4 names them:
// annotations, then properties. Application properties that an enrichment in
// without replaces are left out.
func (m *message) appendHeaders(dst []byte, auth *authTexts, without []compiledEnrichment) []byte {
	dst = appendCoded(dst, headerDeviceID, m.deviceID)
	if m.moduleID != "" {
		dst = appendCoded(dst, headerModuleID, m.moduleID)
	}
	if m.auth != "" {
		dst = appendCoded(dst, headerAuthMethod, auth.of(m.auth))
	}
	if m.generation != "" {
		dst = appendCoded(dst, headerGeneration, m.generation)
	}
	var digits [20]byte
	dst = appendCoded(dst, headerEnqueued, text(strconv.AppendInt(digits[:0], m.arrival.Time().UnixMilli(), 10)))
	dst = appendCoded(dst, headerSource, m.category)
	if m.model != "" {
		dst = appendCoded(dst, headerModel, m.model)
	}
	for i := range m.props {
		p := &m.props[i]
		name, application := p.application()
		switch {
		case application && replaced(name, without):
		case p.code > 0:
			dst = appendCoded(dst, p.code, p.value)
		default:
			dst = appendProperty(dst, name, p.value)
		}
	}
	return dst
}

func replaced(name string, by []compiledEnrichment) bool {
	for i := range by {
		if strings.EqualFold(by[i].key, name) {
			return true
		}
	}
	return false
}

// propertyPrefix goes before names of application properties that would pass
// for an annotation or system property: no device can pretend to be another.
const propertyPrefix = "app:"

func appendProperty(dst []byte, name, value string) []byte {
	if reservedHeader(name) {
		name = propertyPrefix + name
	}
	dst = openHeader(dst, name, len(value))
	return append(dst, value...)
}

func reservedHeader(name string) bool {
	for _, prefix := range [...]string{"iothub-connection-", "x-opt-", "gemello-", propertyPrefix} {
		if len(name) >= len(prefix) && strings.EqualFold(name[:len(prefix)], prefix) {
			return true
		}
	}
	for _, reserved := range reservedNames {
		if len(name) == len(reserved) && strings.EqualFold(name, reserved) {
			return true
		}
	}
	return false
}

// authTexts are the values of iothub-connection-auth-method by the credential's
// scope and type; there are only a few.
type authTexts struct{ known []authText }

type authText struct{ auth, text string }

// maxAuthTexts bounds what is remembered of foreign bytes.
const maxAuthTexts = 16

func (a *authTexts) of(auth string) string {
	for i := range a.known {
		if a.known[i].auth == auth {
			return a.known[i].text
		}
	}
	scope, kind, _ := strings.Cut(auth, ";")
	issuer := "iothub"
	if strings.HasPrefix(kind, "x509") {
		issuer = "external"
	}
	t := `{"scope":` + quoted(scope) + `,"type":` + quoted(kind) + `,"issuer":"` + issuer + `","acceptingIpFilterRule":null}`
	if len(a.known) < maxAuthTexts {
		a.known = append(a.known, authText{strings.Clone(auth), t})
	}
	return t
}

func quoted(s string) string {
	v := query.OfString(s)
	return string(v.AppendJSON(nil))
}
