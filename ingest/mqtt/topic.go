package mqtt

import (
	"bytes"
	"net/url"
	"strings"
)

// identity is whose topics a connection may use. module is empty for a device.
type identity struct {
	device, module string
}

// topicKind says what a published topic asks for.
type topicKind byte

const (
	topicUnknown   topicKind = iota
	topicForeign             // another identity's topic
	topicTelemetry           // arg is the bag as sent
	topicTwinGet             // arg is the request id
	topicTwinPatch           // arg is the request id
	topicMethod              // arg is the request id
)

// publishTopic is a parsed topic; arg and status point into it.
type publishTopic struct {
	kind   topicKind
	arg    []byte
	status []byte // of a method's answer, as sent
	// version is the $version of a request, as sent; nil when it has none.
	version []byte
}

const (
	topicGet       = "$iothub/twin/GET/"
	topicReported  = "$iothub/twin/PATCH/properties/reported/"
	topicMethodRes = "$iothub/methods/res/"
	topicTwinRes   = "$iothub/twin/res/"
	topicDesired   = "$iothub/twin/PATCH/properties/desired/"
	topicMethods   = "$iothub/methods/POST/"
)

// parseTopic reads a topic that a device publishes to (azure-iot-wire 2.2). It
// allocates nothing unless an id in the topic is percent-encoded.
func (id identity) parseTopic(t []byte) publishTopic {
	if rest, ok := cutPrefix(t, "devices/"); ok {
		return id.parseEvents(rest)
	}
	if q, ok := cutPrefix(t, topicGet); ok {
		return request(topicTwinGet, q)
	}
	if q, ok := cutPrefix(t, topicReported); ok {
		return request(topicTwinPatch, q)
	}
	if q, ok := cutPrefix(t, topicMethodRes); ok {
		status, q, ok := bytes.Cut(q, []byte("/"))
		if !ok {
			return publishTopic{}
		}
		p := request(topicMethod, q)
		if p.kind == topicMethod {
			p.status = status
		}
		return p
	}
	return publishTopic{}
}

// parseEvents reads what follows "devices/".
func (id identity) parseEvents(t []byte) publishTopic {
	seg, rest, ok := bytes.Cut(t, []byte("/"))
	if !ok || len(seg) == 0 {
		return publishTopic{}
	}
	own := sameID(seg, id.device)
	module := false
	if m, ok := cutPrefix(rest, "modules/"); ok {
		seg, rest, ok = bytes.Cut(m, []byte("/"))
		if !ok || len(seg) == 0 {
			return publishTopic{}
		}
		module = true
		own = own && sameID(seg, id.module)
	}
	own = own && module == (id.module != "")
	bag, ok := cutPrefix(rest, "messages/events")
	if !own {
		return publishTopic{kind: topicForeign}
	}
	if !ok {
		return publishTopic{}
	}
	switch {
	case len(bag) == 0:
	case bag[0] == '/':
		bag = bag[1:]
	case bag[0] != '?':
		return publishTopic{}
	}
	return publishTopic{kind: topicTelemetry, arg: bag}
}

// request reads "?$rid=ID[&...]". The id is taken byte for byte.
func request(kind topicKind, q []byte) (t publishTopic) {
	q, ok := cutPrefix(q, "?")
	for ok && len(q) > 0 {
		var pair []byte
		pair, q, _ = bytes.Cut(q, []byte("&"))
		if rid, ok := cutPrefix(pair, "$rid="); ok && t.kind != kind {
			t.kind, t.arg = kind, rid
		} else if v, ok := cutPrefix(pair, "$version="); ok {
			t.version = v
		}
	}
	if t.kind != kind {
		return publishTopic{}
	}
	return t
}

// sameID compares a segment with an id literally, and decoded only if that
// fails: an id may contain text that looks like an escape.
func sameID(seg []byte, id string) bool {
	if string(seg) == id {
		return true
	}
	if id == "" || bytes.IndexByte(seg, '%') < 0 {
		return false
	}
	dec, err := url.PathUnescape(string(seg))
	return err == nil && dec == id
}

func cutPrefix(b []byte, prefix string) ([]byte, bool) {
	if len(b) < len(prefix) || string(b[:len(prefix)]) != prefix {
		return b, false
	}
	return b[len(prefix):], true
}

// filterKind is one of the filters that a client may subscribe to.
type filterKind byte

const (
	filterUnknown filterKind = iota
	filterForeign
	filterTwinRes
	filterDesired
	filterMethods
	filterDevicebound
	filterInputs
	filterModule
	filterModuleDevicebound
	filterKinds // how many there are
)

// parseFilter reads a filter of SUBSCRIBE or UNSUBSCRIBE. prefix is the filter
// without its "#", as sent.
func (id identity) parseFilter(f string) (kind filterKind, prefix string) {
	prefix, ok := strings.CutSuffix(f, "#")
	if !ok {
		return filterUnknown, ""
	}
	switch prefix {
	case topicTwinRes:
		return filterTwinRes, prefix
	case topicDesired:
		return filterDesired, prefix
	case topicMethods:
		return filterMethods, prefix
	}
	rest, ok := strings.CutPrefix(prefix, "devices/")
	if !ok {
		return filterUnknown, ""
	}
	seg, rest, ok := strings.Cut(rest, "/")
	if !ok {
		return filterUnknown, ""
	}
	own := sameID([]byte(seg), id.device)
	if m, ok := strings.CutPrefix(rest, "modules/"); ok {
		seg, rest, ok := strings.Cut(m, "/")
		if !ok {
			return filterUnknown, ""
		}
		if !own || id.module == "" || !sameID([]byte(seg), id.module) {
			return filterForeign, ""
		}
		switch rest {
		case "":
			return filterModule, prefix
		case "inputs/":
			return filterInputs, prefix
		case "messages/devicebound/":
			return filterModuleDevicebound, prefix
		}
		return filterUnknown, ""
	}
	if !own {
		return filterForeign, ""
	}
	if rest == "messages/devicebound/" && id.module == "" {
		return filterDevicebound, prefix
	}
	return filterUnknown, ""
}

// validID is the grammar of device and module ids (azure-iot-wire 1.1).
func validID(s string) bool {
	if len(s) == 0 || len(s) > 128 {
		return false
	}
	for i := 0; i < len(s); i++ {
		switch b := s[i]; {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9':
		case strings.IndexByte("-:.+%_#*?!(),=@;$'", b) >= 0:
		default:
			return false
		}
	}
	return true
}
