package api

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gemello/gemello/device"
)

// Commands are cloud-to-device messages and the feedback on them. The methods
// block until the log has the change and it is applied; the errors wrap those of
// package device or of this one.
type Commands interface {
	// SendCommand returns the sequence number of the queued command.
	SendCommand(ctx context.Context, c device.NewCommand) (int64, error)
	// Commands lists what is queued for a device or module, oldest first.
	Commands(ctx context.Context, ref device.Ref) ([]device.Command, error)
	// PurgeCommands ends all commands of a device or module and says how many.
	PurgeCommands(ctx context.Context, ref device.Ref, a device.Audit) (int, error)
	// ReceiveFeedback locks feedback; nil when there is none.
	ReceiveFeedback(ctx context.Context, a device.Audit) (*device.FeedbackBatch, error)
	// SettleFeedback ends a lock, or says ErrLockLost.
	SettleFeedback(ctx context.Context, lock string, o device.Outcome, a device.Audit) error
}

// maxCommandBody holds the greatest command as base64 in JSON.
const maxCommandBody = 2*device.MaxCommandBytes + 16<<10

// commandInput is a command as the admin API takes it.
type commandInput struct {
	Body            string            `json:"body"`
	BodyBase64      string            `json:"bodyBase64"`
	MessageID       string            `json:"messageId"`
	CorrelationID   string            `json:"correlationId"`
	UserID          string            `json:"userId"`
	ContentType     string            `json:"contentType"`
	ContentEncoding string            `json:"contentEncoding"`
	Ack             string            `json:"ack"`
	Expiry          *time.Time        `json:"expiry"`
	Properties      map[string]string `json:"properties"`
}

// command builds the command with its property bag (azure-iot-wire 2.3).
func (in *commandInput) command(ref device.Ref) (device.NewCommand, error) {
	c := device.NewCommand{DeviceID: ref.Device, ModuleID: ref.Module, MessageID: in.MessageID, Content: device.Content{Body: []byte(in.Body)}}
	var err error
	if in.BodyBase64 != "" {
		if in.Body != "" {
			return c, fmt.Errorf("%w: body and bodyBase64 exclude each other", device.ErrArgument)
		}
		if c.Body, err = base64.StdEncoding.DecodeString(in.BodyBase64); err != nil {
			return c, fmt.Errorf("%w: bodyBase64 is not base64", device.ErrArgument)
		}
	}
	if c.Ack, err = device.ParseAck(in.Ack); err != nil {
		return c, err
	}
	c.Size = len(c.Body)
	var bag []string
	add := func(key, value string, name int) {
		c.Size += name + len(value)
		bag = append(bag, escapeBag(key)+"="+escapeBag(value))
	}
	if in.Expiry != nil {
		c.Expires = in.Expiry.UTC()
		add("$.exp", c.Expires.Format("2006-01-02T15:04:05.0000000Z"), 0)
	}
	for _, p := range [...]struct{ key, value string }{
		{"$.mid", in.MessageID}, {"$.cid", in.CorrelationID}, {"$.uid", in.UserID},
		{"$.ct", in.ContentType}, {"$.ce", in.ContentEncoding},
	} {
		if p.value != "" {
			add(p.key, p.value, 0)
		}
	}
	if c.Ack != device.AckNone {
		add("iothub-ack", c.Ack.String(), len("iothub-ack"))
	}
	for _, k := range slices.Sorted(maps.Keys(in.Properties)) {
		if k == "" || strings.HasPrefix(k, "$.") || strings.EqualFold(k, "iothub-ack") {
			return c, fmt.Errorf("%w: %.40q is not the name of an application property", device.ErrArgument, k)
		}
		add(k, in.Properties[k], len(k))
	}
	c.Bag = strings.Join(bag, "&")
	if len(c.Bag) > maxCommandBag {
		return c, fmt.Errorf("%w: the properties have %d bytes when encoded, %d are allowed", device.ErrTooLarge, len(c.Bag), maxCommandBag)
	}
	return c, c.Validate()
}

// maxCommandBag bounds the encoded properties, which travel in an MQTT topic.
const maxCommandBag = 7 << 10

func escapeBag(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

func (a *Admin) sendCommand(ctx context.Context, c *call) error {
	ref, err := c.adminRef()
	if err != nil {
		return err
	}
	var in commandInput
	if err := c.decode(maxCommandBody, &in); err != nil {
		return err
	}
	cmd, err := in.command(ref)
	if err != nil {
		return err
	}
	cmd.Audit = c.audit
	seq, err := a.o.Commands.SendCommand(ctx, cmd)
	if err != nil {
		return err
	}
	return c.reply(http.StatusCreated, marshal(struct {
		Sequence int64 `json:"sequenceNumber"`
	}{seq}))
}

// commandJSON is a queued command as the admin API shows it.
type commandJSON struct {
	Sequence   int64     `json:"sequenceNumber"`
	MessageID  string    `json:"messageId,omitempty"`
	Ack        string    `json:"ack"`
	State      string    `json:"state"` // enqueued or invisible
	Enqueued   time.Time `json:"enqueued"`
	Expires    time.Time `json:"expires"`
	Deliveries int       `json:"deliveryCount"`
	Size       int       `json:"size"`
}

func (a *Admin) listCommands(ctx context.Context, c *call) error {
	ref, err := c.adminRef()
	if err != nil {
		return err
	}
	list, err := a.o.Commands.Commands(ctx, ref)
	if err != nil {
		return err
	}
	out := make([]commandJSON, len(list))
	for i := range list {
		m := &list[i]
		out[i] = commandJSON{m.Sequence, m.MessageID, m.Ack.String(), "enqueued", m.Enqueued, m.Expires, m.Deliveries, m.Size}
		if m.Locked() {
			out[i].State = "invisible"
		}
	}
	return c.reply(http.StatusOK, marshal(struct {
		Commands []commandJSON `json:"commands"`
	}{out}))
}

// purged is the answer to a purge (azure-iot-wire 5.2).
type purged struct {
	Total    int     `json:"totalMessagesPurged"`
	DeviceID string  `json:"deviceId"`
	ModuleID *string `json:"moduleId"`
}

func (a *Admin) purgeCommands(ctx context.Context, c *call) error {
	ref, err := c.adminRef()
	if err != nil {
		return err
	}
	return c.purgeCommands(ctx, a.o.Commands, ref)
}

func (c *call) purgeCommands(ctx context.Context, hub Commands, ref device.Ref) error {
	n, err := hub.PurgeCommands(ctx, ref, c.audit)
	if err != nil {
		return err
	}
	answer := purged{Total: n, DeviceID: ref.Device}
	if ref.Module != "" {
		answer.ModuleID = &ref.Module
	}
	return c.reply(http.StatusOK, marshal(answer))
}

func (s *Service) purgeCommands(ctx context.Context, c *call) error {
	if s.commands == nil {
		return ErrNotYet
	}
	return c.forRef(func(ref device.Ref) error { return c.purgeCommands(ctx, s.commands, ref) })
}

// isFeedback reports whether the path is below the feedback of commands.
func (c *call) isFeedback() bool {
	return c.word(0, "messages") && c.word(1, "serviceBound") && c.word(2, "feedback")
}

func (s *Service) receiveFeedback(ctx context.Context, c *call) error {
	if s.commands == nil {
		return ErrNotYet
	}
	b, err := s.commands.ReceiveFeedback(ctx, c.audit)
	if err != nil {
		return err
	}
	if b == nil {
		return c.empty(http.StatusNoContent)
	}
	h := c.w.Header()
	setETag(h, b.Lock)
	h.Set("iothub-enqueuedtime", stamp(b.Enqueued))
	return c.reply(http.StatusOK, device.AppendFeedback(nil, b.Records))
}

func (s *Service) settleFeedback(o device.Outcome) func(context.Context, *call) error {
	return func(ctx context.Context, c *call) error {
		if s.commands == nil {
			return ErrNotYet
		}
		if err := s.commands.SettleFeedback(ctx, bareETag(c.path[3]), o, c.audit); err != nil {
			return err
		}
		return c.empty(http.StatusNoContent)
	}
}
