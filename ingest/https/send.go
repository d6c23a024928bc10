package https

import (
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gemello/gemello/ingest"
)

// batchType is the content type of a batch (azure-iot-wire 3).
const batchType = "application/vnd.microsoft.iothub.json"

// maxBatchBody holds the greatest batch as base64 in JSON, in bytes.
const maxBatchBody = 2 * ingest.MaxMessage

// send takes one message or a batch.
func (x *exchange) send() (int, error) {
	kind, _, _ := mime.ParseMediaType(x.r.Header.Get("Content-Type"))
	limit := int64(ingest.MaxMessage)
	if kind == batchType {
		x.operation, limit = "send_batch", maxBatchBody
	}
	body, free, err := x.body(limit)
	if err != nil {
		return 0, err
	}
	defer free()
	var messages []ingest.Message
	if kind == batchType {
		messages, err = decodeBatch(body)
	} else {
		messages, err = single(x.r.Header, body)
	}
	if err != nil {
		return 0, err
	}
	if len(messages) == 0 {
		return http.StatusNoContent, nil
	}
	if err := x.device.Publish(x.ctx, messages); err != nil {
		return 0, err
	}
	x.metrics.messages.Add(float64(len(messages)))
	for i := range messages {
		x.metrics.bytes.Add(float64(len(messages[i].Body)))
	}
	return http.StatusNoContent, nil
}

// single makes the message of a request that has one.
func single(h http.Header, body []byte) ([]ingest.Message, error) {
	props, err := properties(h)
	if err != nil {
		return nil, err
	}
	m, _, err := message(body, props)
	if err != nil {
		return nil, err
	}
	return []ingest.Message{m}, nil
}

// message joins body and properties; size is what the limit counts.
func message(body []byte, props []ingest.Property) (m ingest.Message, size int, err error) {
	if size = ingest.MessageSize(len(body), props); size > ingest.MaxMessage {
		return m, size, fmt.Errorf("%w: the message has %d bytes of body and properties, %d are allowed", ingest.ErrTooLarge, size, ingest.MaxMessage)
	}
	bag := ingest.AppendBag(nil, props...)
	if len(bag) > ingest.MaxBag {
		return m, size, fmt.Errorf("%w: the properties have %d bytes when encoded, %d are allowed", ingest.ErrTooLarge, len(bag), ingest.MaxBag)
	}
	return ingest.Message{Body: body, Bag: string(bag)}, size, nil
}

// systemKey maps a header's name, in lower case, to the key of the bag that the
// property has (azure-iot-wire 2.3, 3).
func systemKey(header string) string {
	switch header {
	case "iothub-messageid":
		return "$.mid"
	case "iothub-correlationid":
		return "$.cid"
	case "iothub-userid":
		return "$.uid"
	case "iothub-to":
		return "$.to"
	case "iothub-expiry":
		return "$.exp"
	case "iothub-ack":
		return "iothub-ack"
	case "iothub-contenttype":
		return "$.ct"
	case "iothub-contentencoding":
		return "$.ce"
	case "iothub-interface-id":
		return "$.ifid"
	case "dt-subject":
		return "$.sub"
	}
	return ""
}

// appPrefix begins the header of an application property.
const appPrefix = "iothub-app-"

// properties reads the properties of a message from headers, in order of their
// names. iothub-to names the path of the request there and is none of them.
func properties(h http.Header) ([]ingest.Property, error) {
	var props []ingest.Property
	for name, values := range h {
		name = strings.ToLower(name)
		key := systemKey(name)
		if app, ok := strings.CutPrefix(name, appPrefix); ok {
			if key = app; key == "" || strings.HasPrefix(key, "$.") {
				return nil, fmt.Errorf("%w: the header %.40q names no application property", ingest.ErrInvalid, name)
			}
		}
		if key == "" || key == "$.to" {
			continue
		}
		for _, v := range values {
			props = append(props, ingest.Property{Key: key, Value: text(v)})
		}
	}
	slices.SortFunc(props, func(a, b ingest.Property) int {
		if c := strings.Compare(a.Key, b.Key); c != 0 {
			return c
		}
		return strings.Compare(a.Value, b.Value)
	})
	return props, nil
}

// text is a header's value as UTF-8. Node sends other letters as ISO 8859-1.
func text(v string) string {
	if utf8.ValidString(v) {
		return v
	}
	r := make([]rune, len(v))
	for i := range len(v) {
		r[i] = rune(v[i])
	}
	return string(r)
}
