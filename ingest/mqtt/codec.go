package mqtt

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"
)

// Packet types (MQTT 5, table 2-1).
const (
	typeConnect     = 1
	typeConnack     = 2
	typePublish     = 3
	typePuback      = 4
	typeSubscribe   = 8
	typeSuback      = 9
	typeUnsubscribe = 10
	typeUnsuback    = 11
	typePingreq     = 12
	typePingresp    = 13
	typeDisconnect  = 14
)

// Protocol levels of CONNECT.
const (
	level311 = 4
	level5   = 5
)

// header is the fixed header of a packet. size is the header's own length.
type header struct {
	kind   byte
	flags  byte
	size   int
	length int
}

// parseHeader reads the fixed header at the start of b. ok is false when b does
// not hold all of it yet.
func parseHeader(b []byte) (h header, ok bool, err error) {
	if len(b) < 2 {
		return header{}, false, nil
	}
	h.kind, h.flags = b[0]>>4, b[0]&15
	for i := 0; i < 4; i++ {
		if 1+i == len(b) {
			return header{}, false, nil
		}
		h.length |= int(b[1+i]&0x7f) << (7 * i)
		if b[1+i] < 0x80 {
			h.size = 2 + i
			return h, true, nil
		}
	}
	return header{}, false, errMalformed
}

// decoder reads the fields of a packet. After the first field that does not fit
// bad is set and all further fields are zero.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) u8() byte {
	if len(d.b) < 1 {
		d.bad = true
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) u16() uint16 {
	if len(d.b) < 2 {
		d.bad, d.b = true, nil
		return 0
	}
	v := binary.BigEndian.Uint16(d.b)
	d.b = d.b[2:]
	return v
}

func (d *decoder) u32() uint32 {
	if len(d.b) < 4 {
		d.bad, d.b = true, nil
		return 0
	}
	v := binary.BigEndian.Uint32(d.b)
	d.b = d.b[4:]
	return v
}

func (d *decoder) varint() int {
	v := 0
	for i := 0; i < 4; i++ {
		b := d.u8()
		v |= int(b&0x7f) << (7 * i)
		if b < 0x80 {
			return v
		}
	}
	d.bad, d.b = true, nil
	return 0
}

func (d *decoder) take(n int) []byte {
	if n > len(d.b) {
		d.bad, d.b = true, nil
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) bytes() []byte { return d.take(int(d.u16())) }

// text reads a UTF-8 string; U+0000 is as malformed as broken UTF-8
// [MQTT-1.5.4-2].
func (d *decoder) text() []byte {
	v := d.bytes()
	if !isText(v) {
		d.bad = true
		return nil
	}
	return v
}

func isText(b []byte) bool { return utf8.Valid(b) && bytes.IndexByte(b, 0) < 0 }

func appendVarint(dst []byte, v int) []byte {
	for v >= 0x80 {
		dst = append(dst, byte(v)|0x80)
		v >>= 7
	}
	return append(dst, byte(v))
}

func appendU16(dst []byte, v uint16) []byte { return binary.BigEndian.AppendUint16(dst, v) }

func appendU32(dst []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(dst, v) }

// appendAck writes a packet whose variable header is a packet id alone, with a
// reason code when it is not zero (level 5).
func appendAck(dst []byte, kind byte, id uint16, code byte) []byte {
	if code == 0 {
		return append(dst, kind<<4, 2, byte(id>>8), byte(id))
	}
	return append(dst, kind<<4, 3, byte(id>>8), byte(id), code)
}

// publishSize is the length of what appendPublish writes.
func publishSize(level byte, topic, body int) int {
	n := 2 + topic + body
	if level == level5 {
		n++
	}
	return 1 + len(appendVarint(make([]byte, 0, 4), n)) + n
}

// appendPublish writes a QoS 0 PUBLISH without properties.
func appendPublish(dst []byte, level byte, topic, body []byte) []byte {
	n := 2 + len(topic) + len(body)
	if level == level5 {
		n++
	}
	dst = append(dst, typePublish<<4)
	dst = appendVarint(dst, n)
	dst = appendU16(dst, uint16(len(topic)))
	dst = append(dst, topic...)
	if level == level5 {
		dst = append(dst, 0)
	}
	return append(dst, body...)
}
