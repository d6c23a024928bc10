package https

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/ingest"
)

// receive answers a poll with the next command, or with 204.
func (x *exchange) receive() (int, error) {
	d, err := x.device.Receive(x.ctx)
	if err != nil {
		return 0, err
	}
	if d == nil {
		return http.StatusNoContent, nil
	}
	if err := writeHeaders(x.w.Header(), x.ref.Device, d); err != nil {
		return 0, err
	}
	x.metrics.delivered.Inc()
	x.w.WriteHeader(http.StatusOK)
	x.w.Write(d.Body) // of a client that has gone the lock ends
	return http.StatusOK, nil
}

// writeHeaders says all of a delivery but its body. Node strips the quotes of the
// ETag, and Java looks for that spelling, which is not Go's.
func writeHeaders(h http.Header, id string, d *device.Delivery) error {
	props, err := ingest.ParseBag(d.Bag)
	if err != nil {
		return fmt.Errorf("command %d: %w", d.Sequence, err)
	}
	h["ETag"] = []string{`"` + d.Lock + `"`}
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(d.Body)))
	for _, p := range props {
		name := ""
		switch p.Key {
		case "$.mid":
			name = "iothub-messageid"
		case "$.cid":
			name = "iothub-correlationid"
		case "$.uid":
			name = "iothub-userid"
		case "$.ct":
			name = "iothub-contenttype"
		case "$.ce":
			name = "iothub-contentencoding"
		case "iothub-ack":
			name = "iothub-ack"
		default:
			if _, system := ingest.SystemName(p.Key); system {
				continue
			}
			name = appPrefix + token(p.Key)
		}
		// Set the map itself: Go's canonical form would change the case of names.
		h[name] = append(h[name], fieldValue(p.Value))
	}
	h["iothub-to"] = []string{"/devices/" + token(id) + "/messages/deviceBound"}
	h["iothub-expiry"] = []string{timestamp(d.Expires)}
	h["iothub-enqueuedtime"] = []string{timestamp(d.Enqueued)}
	h["iothub-sequencenumber"] = []string{strconv.FormatInt(d.Sequence, 10)}
	h["iothub-deliverycount"] = []string{strconv.Itoa(d.Deliveries)}
	return nil
}

func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.0000000Z") }

// token is a name fit for a header: bytes that may not be in one are percent-encoded.
func token(s string) string {
	return escape(s, func(b byte) bool {
		return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || strings.IndexByte("!#$&'*+-.^_`|~", b) >= 0
	})
}

// fieldValue is a value fit for a header: control bytes are percent-encoded.
func fieldValue(s string) string {
	return escape(s, func(b byte) bool { return b >= ' ' && b != 0x7f })
}

func escape(s string, fits func(byte) bool) string {
	const digits = "0123456789ABCDEF"
	var out strings.Builder
	for i := range len(s) {
		if b := s[i]; fits(b) {
			out.WriteByte(b)
		} else {
			out.Write([]byte{'%', digits[b>>4], digits[b&15]})
		}
	}
	return out.String()
}

// settle ends a delivery. If-Match repeats the lock of the path.
func (x *exchange) settle(o device.Outcome) (int, error) {
	if m := strings.Trim(x.r.Header.Get("If-Match"), `"`); m != "" && m != "*" && m != x.lock {
		return 0, fmt.Errorf("%w: If-Match is not the lock of the path", device.ErrLockLost)
	}
	if err := x.device.Settle(x.ctx, x.lock, o); err != nil {
		return 0, err
	}
	x.metrics.settled.WithLabelValues(o.String()).Inc()
	return http.StatusNoContent, nil
}
