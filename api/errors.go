package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/gemello/gemello/device"
)

// failure is one row of the table of errors (azure-iot-wire 12).
type failure struct {
	status int
	number int           // as Azure numbers it; status×1000 where Azure has none
	name   string        // code name, which Node's typed errors and the header carry
	hide   bool          // the client is not told the error's text
	text   string        // said instead, or before, the error's text
	device bool          // the device's fault, not the node's: no line in the log
	wait   time.Duration // after which to try again; zero: retryAfter
}

// Errors of the HTTP layer itself.
var (
	errAPIVersion = errors.New("api-version is missing or unknown")
	errRoute      = errors.New("no such resource")
	errMethod     = errors.New("method not allowed")
	errTooMany    = fmt.Errorf("more than %d devices in one request", maxBulk)
	errTwice      = errors.New("the device is in the request twice")
	errHost       = errors.New("the Host header names no host of this node")
)

// classify is the table. The first row whose error is in the chain wins; what is
// not in the table is a server error, whose text stays in the log.
func classify(err error) failure {
	var tooLong *http.MaxBytesError
	var full *throttled
	switch {
	case errors.Is(err, errAPIVersion):
		return failure{status: 400, number: 400001, name: "InvalidProtocolVersion"}
	case errors.Is(err, errTwice):
		return failure{status: 400, number: 400011, name: "DeviceDefinedMultipleTimes"}
	case errors.Is(err, errJSONPatch):
		return failure{status: 400, number: 400000, name: "InvalidDigitalTwinJsonPatch"}
	case errors.Is(err, errPatchPath):
		return failure{status: 400, number: 400000, name: "InvalidDigitalTwinPatchPath"}
	case errors.Is(err, errTooMany):
		return failure{status: 413, number: 413002, name: "TooManyDevices"}
	case errors.Is(err, errHost):
		return failure{status: 403, number: 403000, name: "Forbidden"}
	case errors.Is(err, errRoute):
		return failure{status: 404, number: 404000, name: "NotFound"}
	case errors.Is(err, errMethod):
		return failure{status: 405, number: 405000, name: "MethodNotAllowed"}
	case errors.As(err, &tooLong):
		return failure{status: 413, number: 413001, name: "MessageTooLarge", hide: true,
			text: fmt.Sprintf("the body is longer than the %d bytes allowed", tooLong.Limit)}
	case errors.Is(err, device.ErrJobExists):
		return failure{status: 409, number: 409000, name: "JobAlreadyExists"}
	case errors.Is(err, device.ErrJobNotFound):
		return failure{status: 404, number: 404002, name: "JobNotFound"}
	case errors.Is(err, device.ErrJobEnded):
		return failure{status: 400, number: 400003, name: "InvalidOperation"}
	case errors.Is(err, device.ErrJobQuota):
		return failure{status: 403, number: 403000, name: "JobQuotaExceeded"}
	case errors.Is(err, device.ErrConfigurationExists):
		return failure{status: 409, number: 409000, name: "ConfigurationAlreadyExists"}
	case errors.Is(err, device.ErrConfigurationNotFound):
		return failure{status: 404, number: 404000, name: "ConfigurationNotFound"}
	case errors.Is(err, device.ErrConfigurationQuota):
		return failure{status: 403, number: 403000, name: "ConfigurationCountLimitExceeded"}
	case errors.Is(err, device.ErrConfigurationContent):
		return failure{status: 400, number: 400000, name: "InvalidConfigurationContent"}
	case errors.Is(err, device.ErrTargetCondition):
		return failure{status: 400, number: 400000, name: "InvalidConfigurationTargetCondition"}
	case errors.Is(err, device.ErrMetricQuery):
		return failure{status: 400, number: 400000, name: "InvalidConfigurationCustomMetricsQuery"}
	case errors.Is(err, device.ErrScope):
		return failure{status: 400, number: 400000, name: "InvalidDeviceScope"}
	case errors.Is(err, device.ErrFormat):
		return failure{status: 400, number: 400006, name: "IotHubFormatError"}
	case errors.Is(err, device.ErrTooLarge):
		return failure{status: 413, number: 413001, name: "MessageTooLarge"}
	case errors.Is(err, device.ErrNull):
		return failure{status: 400, number: 400005, name: "ArgumentNull"}
	case errors.Is(err, device.ErrArgument), errors.Is(err, ErrSQL):
		return failure{status: 400, number: 400004, name: "ArgumentInvalid"}
	case errors.Is(err, ErrUnauthorized):
		return failure{status: 401, number: 401002, name: "IotHubUnauthorizedAccess", hide: true, text: "Unauthorized"}
	case errors.Is(err, device.ErrNotFound):
		return failure{status: 404, number: 404001, name: "DeviceNotFound"}
	case errors.Is(err, device.ErrModuleNotFound):
		return failure{status: 404, number: 404010, name: "ModuleNotFound"}
	case errors.Is(err, device.ErrNotOnline):
		return failure{status: 404, number: 404103, name: "DeviceNotOnline"}
	case errors.Is(err, device.ErrConnection):
		return failure{status: 404, number: 404104, name: "DeviceConnectionClosedRemotely"}
	case errors.Is(err, device.ErrBadAnswer):
		return failure{status: 502, number: 502000, name: "InvalidResponseWhileProxying", device: true}
	case errors.Is(err, device.ErrNoAnswer):
		return failure{status: 504, number: 504101, name: "GatewayTimeout", device: true}
	case errors.Is(err, ErrNoObject):
		return failure{status: 404, number: 404000, name: "NotFound"}
	case errors.Is(err, ErrNoHistory):
		return failure{status: 410, number: 410000, name: "HistoryGone"}
	case errors.Is(err, device.ErrExists):
		return failure{status: 409, number: 409001, name: "DeviceAlreadyExists"}
	case errors.Is(err, device.ErrModuleExists):
		return failure{status: 409, number: 409301, name: "ModuleAlreadyExistsOnDevice"}
	case errors.Is(err, device.ErrTooManyModules):
		return failure{status: 413, number: 413003, name: "TooManyModulesOnDevice"}
	case errors.Is(err, ErrConflict):
		return failure{status: 409, number: 409000, name: "Conflict"}
	case errors.Is(err, device.ErrQueueFull):
		return failure{status: 403, number: 403004, name: "DeviceMaximumQueueDepthExceeded"}
	case errors.Is(err, device.ErrLockLost):
		return failure{status: 412, number: 412002, name: "DeviceMessageLockLost"}
	case errors.Is(err, device.ErrPrecondition):
		return failure{status: 412, number: 412001, name: "PreconditionFailed"}
	case errors.As(err, &full):
		return failure{status: 429, number: 429001, name: "ThrottlingException", wait: full.wait}
	case errors.Is(err, ErrThrottled):
		return failure{status: 429, number: 429001, name: "ThrottlingException"}
	case errors.Is(err, ErrNotYet), errors.Is(err, errors.ErrUnsupported):
		return failure{status: 501, number: 501000, name: "NotImplemented"}
	case errors.Is(err, ErrUnavailable):
		return failure{status: 503, number: 503001, name: "ServiceUnavailable"}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return failure{status: 503, number: 503001, name: "ServiceUnavailable", hide: true, text: "the hub did not answer in time"}
	}
	return failure{status: 500, number: 500001, name: "ServerError", hide: true, text: "unexpected error; the node's log has it under the tracking id"}
}

// maxErrorText bounds what an answer repeats of an error.
const maxErrorText = 1 << 10

func (f failure) message(err error) string {
	if f.hide {
		return f.text
	}
	if text := err.Error(); len(text) <= maxErrorText {
		return text
	}
	return err.Error()[:maxErrorText]
}

// retryAfter is what throttled and unavailable clients are asked to wait.
const retryAfter = 2 * time.Second

func (f failure) writeHeader(h http.Header) {
	h.Set("iothub-errorcode", f.name)
	h.Set("Content-Type", jsonType)
	if f.status == http.StatusTooManyRequests || f.status == http.StatusServiceUnavailable {
		wait := f.wait
		if wait == 0 {
			wait = retryAfter
		}
		h.Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
	}
}

// stamp is the time of an error body.
func stamp(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05.0000000Z") }

// shape1 is the body of registry, twin, job and query errors. Node takes the
// code between the first colon and the first semicolon.
func (f failure) shape1(message, tracking string, at time.Time) []byte {
	return marshal(struct {
		Message          string
		ExceptionMessage string
	}{
		"ErrorCode:" + f.name + ";" + message,
		"Tracking ID:" + tracking + "-G:0-TimeStamp:" + at.UTC().Format("01/02/2006 15:04:05"),
	})
}

// shape2 is the body of direct methods' errors: JSON inside a string.
func (f failure) shape2(message, tracking string, at time.Time) []byte {
	inner := marshal(struct {
		ErrorCode    int      `json:"errorCode"`
		TrackingID   string   `json:"trackingId"`
		Message      string   `json:"message"`
		Info         struct{} `json:"info"`
		TimestampUTC string   `json:"timestampUtc"`
	}{f.number, tracking, message, struct{}{}, stamp(at)})
	return marshal(struct {
		Message          string
		ExceptionMessage string
	}{string(inner), ""})
}

// shape3 is the body of device twin operations and digital twins.
func (f failure) shape3(message, tracking string, at time.Time) []byte {
	return marshal(struct {
		ErrorCode    int    `json:"errorCode"`
		TrackingID   string `json:"trackingId"`
		Message      string `json:"message"`
		TimestampUTC string `json:"timestampUtc"`
	}{f.number, tracking, message, stamp(at)})
}

// adminShape is the body of the admin API's errors.
func (f failure) adminShape(message, tracking string) []byte {
	type inner struct {
		Code     string `json:"code"`
		Message  string `json:"message"`
		Tracking string `json:"trackingId"`
	}
	return marshal(struct {
		Error inner `json:"error"`
	}{inner{f.name, message, tracking}})
}

// DeviceError returns the number and body that a device operation over MQTT or
// AMQP answers an error with (shape 3).
func DeviceError(err error, tracking string, at time.Time) (status int, body []byte) {
	f := classify(err)
	return f.status, f.shape3(f.message(err), tracking, at)
}

// MethodError returns the number and body that a direct method answers an error
// with (shape 2).
func MethodError(err error, tracking string, at time.Time) (status int, body []byte) {
	f := classify(err)
	return f.status, f.shape2(f.message(err), tracking, at)
}

// marshal encodes without HTML escapes; all that is passed to it can be encoded.
func marshal(v any) []byte {
	var b jsonBuffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return []byte("null")
	}
	return b[:len(b)-1]
}

type jsonBuffer []byte

func (b *jsonBuffer) Write(p []byte) (int, error) {
	*b = append(*b, p...)
	return len(p), nil
}
