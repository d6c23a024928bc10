package bridge

import (
	"errors"
	"fmt"

	"github.com/eclipse/paho.golang/paho"
	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/ingest"
)

// Reason says why a message was refused; it is a label of the metric.
type Reason string

// Reasons of refusals.
const (
	ReasonTopic         Reason = "topic"          // the topic does not fit the template
	ReasonDeviceID      Reason = "device_id"      // what it names can't be a device id
	ReasonTooLarge      Reason = "too_large"      // body and properties exceed the limit
	ReasonProperties    Reason = "properties"     // the properties can't be a property bag
	ReasonUnknownDevice Reason = "unknown_device" // the hub has no such device
	ReasonNotAuthorized Reason = "not_authorized" // the device is disabled
	ReasonInvalid       Reason = "invalid"        // the hub refuses the message
)

var reasons = []Reason{ReasonTopic, ReasonDeviceID, ReasonTooLarge, ReasonProperties,
	ReasonUnknownDevice, ReasonNotAuthorized, ReasonInvalid}

// Refusal is a message that is refused for good. Body belongs to the receiver.
type Refusal struct {
	Topic    string
	DeviceID string // as the topic has it; "" when it does not fit the template
	Body     []byte
	Reason   Reason
	Err      error
}

// refusalOf tells an error that stands from one that passes.
func refusalOf(err error) (Reason, bool) {
	switch {
	case errors.Is(err, ingest.ErrTooLarge):
		return ReasonTooLarge, true
	case errors.Is(err, ingest.ErrNotFound):
		return ReasonUnknownDevice, true
	case errors.Is(err, ingest.ErrUnauthorized):
		return ReasonNotAuthorized, true
	case errors.Is(err, ingest.ErrInvalid):
		return ReasonInvalid, true
	}
	return "", false
}

// telemetry makes a message of a packet, or a refusal.
func (c *config) telemetry(p *paho.Publish) (deviceID string, m ingest.Message, r *Refusal) {
	refuse := func(reason Reason, err error) (string, ingest.Message, *Refusal) {
		return "", ingest.Message{}, &Refusal{p.Topic, deviceID, p.Payload, reason, err}
	}
	deviceID, props, ok := c.template.Match(p.Topic)
	if !ok {
		return refuse(ReasonTopic, fmt.Errorf("topic %q does not fit the template %q", p.Topic, c.Template))
	}
	if err := device.ValidID(deviceID); err != nil {
		return refuse(ReasonDeviceID, err)
	}
	bag := string(appendProperties(ingest.AppendBag(nil, props...), p.Properties))
	size, err := ingest.CheckBag(bag)
	if errors.Is(err, ingest.ErrTooLarge) {
		return refuse(ReasonTooLarge, err)
	}
	if err != nil {
		return refuse(ReasonProperties, err)
	}
	if size += len(p.Payload); size > c.MaxBody {
		return refuse(ReasonTooLarge, fmt.Errorf("message of %d bytes, %d are allowed: %w", size, c.MaxBody, ingest.ErrTooLarge))
	}
	return deviceID, ingest.Message{Body: p.Payload, Bag: bag}, nil
}

// appendProperties translates what MQTT 5 says about a message: the content type
// and correlation data to system properties, user properties as they are.
func appendProperties(bag []byte, p *paho.PublishProperties) []byte {
	if p == nil {
		return bag
	}
	if p.ContentType != "" {
		bag = ingest.AppendBag(bag, ingest.Property{Key: "$.ct", Value: p.ContentType})
	}
	if len(p.CorrelationData) > 0 {
		bag = ingest.AppendBag(bag, ingest.Property{Key: "$.cid", Value: string(p.CorrelationData)})
	}
	for _, u := range p.User {
		bag = ingest.AppendBag(bag, ingest.Property{Key: u.Key, Value: u.Value})
	}
	return bag
}
