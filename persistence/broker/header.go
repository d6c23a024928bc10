package broker

import (
	"encoding/binary"
	"errors"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// header is what stands before a request's body: request header v1, or v2 for
// flexible versions (KIP-482).
type header struct {
	key, version  int16
	correlationID int32
	clientID      string
}

// headerStart is the length of the part of a header that all versions share:
// key, version and correlation id.
const headerStart = 2 + 2 + 4

// maxTags bounds the tagged fields of a header; clients send none.
const maxTags = 16

var (
	errShortHeader = errors.New("request ends in its header")
	errHeaderTags  = errors.New("request header has too many tagged fields")
)

// parseHeaderStart reads what all headers share. b has headerStart bytes.
func parseHeaderStart(b []byte) header {
	return header{
		key:           int16(binary.BigEndian.Uint16(b)),
		version:       int16(binary.BigEndian.Uint16(b[2:])),
		correlationID: int32(binary.BigEndian.Uint32(b[4:])),
	}
}

// parseRest reads the rest of the header from the frame after its start, and
// returns the body. The client id is never compact, so that brokers that don't
// know the version can read it.
func (h *header) parseRest(b []byte, flexible bool) (body []byte, err error) {
	r := kbin.Reader{Src: b}
	if id := r.NullableString(); id != nil {
		h.clientID = *id
	}
	if flexible {
		n := r.Uvarint()
		if n > maxTags {
			return nil, errHeaderTags
		}
		for range n {
			r.Uvarint()
			r.Span(int(r.Uvarint()))
		}
	}
	if r.Complete() != nil {
		return nil, errShortHeader
	}
	return r.Src, nil
}

// appendResponse appends the frame of a response: size, response header v0 or
// v1, body. ApiVersions has header v0 in all versions, so that clients can read
// it before they know what the server speaks.
func appendResponse(dst []byte, correlationID int32, resp kmsg.Response) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(correlationID))
	if resp.IsFlexible() && resp.Key() != kmsg.ApiVersions.Int16() {
		dst = append(dst, 0)
	}
	dst = resp.AppendTo(dst)
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-4))
	return dst
}
