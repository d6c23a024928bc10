package https

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/ingest"
)

// Errors of the HTTP layer itself.
var (
	errRoute      = errors.New("no such resource of a device")
	errMethod     = errors.New("method not allowed")
	errAPIVersion = errors.New("api-version is missing or unknown: add ?api-version=2021-04-12")
	errFull       = errors.New("too many requests are under way")
)

// failure is a row of azure-iot-wire 12.
type failure struct {
	status int
	name   string
	text   string        // in place of the error's; empty: that one
	wait   time.Duration // after which to try again
}

// retryAfter is what a client is asked to wait when nothing better is known.
const retryAfter = 2 * time.Second

func classify(err error) failure {
	var throttled *ingest.Throttled
	switch {
	case errors.Is(err, errRoute):
		return failure{status: 404, name: "NotFound"}
	case errors.Is(err, errMethod):
		return failure{status: 405, name: "MethodNotAllowed"}
	case errors.Is(err, errAPIVersion):
		return failure{status: 400, name: "InvalidProtocolVersion"}
	case errors.Is(err, device.ErrLockLost):
		return failure{status: 412, name: "DeviceMessageLockLost"}
	case errors.As(err, &throttled):
		return failure{status: 429, name: "ThrottlingException", wait: throttled.Wait}
	case errors.Is(err, ingest.ErrUnauthorized):
		return failure{status: 401, name: "IotHubUnauthorizedAccess", text: "Unauthorized"}
	case errors.Is(err, ingest.ErrNotFound):
		return failure{status: 404, name: "DeviceNotFound"}
	case errors.Is(err, ingest.ErrTooLarge):
		return failure{status: 413, name: "MessageTooLarge"}
	case errors.Is(err, ingest.ErrInvalid):
		return failure{status: 400, name: "ArgumentInvalid"}
	case errors.Is(err, ingest.ErrBusy), errors.Is(err, errFull):
		return failure{status: 503, name: "ServiceUnavailable", wait: retryAfter}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return failure{status: 503, name: "ServiceUnavailable", text: "the hub did not answer in time", wait: retryAfter}
	}
	return failure{status: 500, name: "ServerError", text: "unexpected error; the node's log has it under the tracking id"}
}

// maxErrorText bounds what an answer repeats of an error, in bytes.
const maxErrorText = 1 << 10

// fail answers with an error in shape 1 of azure-iot-wire 5.1 and returns its
// status.
func (x *exchange) fail(err error) int {
	f := classify(err)
	switch {
	case f.status == 500:
		x.log.Error("device request failed", "operation", x.operation, "request", x.id, "err", err)
	case f.status == http.StatusUnauthorized:
		x.log.Info("device request refused", "device", x.ref.String(), "request", x.id, "remote", x.r.RemoteAddr, "err", err)
	}
	text := f.text
	if text == "" {
		text = err.Error()
		text = text[:min(len(text), maxErrorText)]
	}
	h := x.w.Header()
	h.Set("iothub-errorcode", f.name)
	h.Set("Content-Type", "application/json; charset=utf-8")
	if f.wait > 0 {
		h.Set("Retry-After", strconv.Itoa(int((f.wait+time.Second-1)/time.Second)))
	}
	body, err := json.Marshal(struct{ Message, ExceptionMessage string }{
		"ErrorCode:" + f.name + ";" + text,
		"Tracking ID:" + x.id + "-G:0-TimeStamp:" + x.clock().UTC().Format("01/02/2006 15:04:05"),
	})
	if err != nil {
		body = nil
	}
	x.w.WriteHeader(f.status)
	x.w.Write(body) // a client that has gone needs no answer
	return f.status
}
