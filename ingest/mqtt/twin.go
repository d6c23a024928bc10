package mqtt

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/ingest"
)

// twinGet answers $iothub/twin/GET. The answer goes to the requester whether it
// has subscribed to answers or not: SDKs refresh after a reconnect without
// subscribing again.
func (c *conn) twinGet(rid string, p publication) error {
	if err := c.settle(p, codeSuccess); err != nil {
		return err
	}
	if !c.beginTwin(rid) {
		return nil
	}
	c.link.Twin(func(body []byte, err error) {
		if err != nil {
			c.endTwin(rid, err)
			return
		}
		if !c.fits(len(body)) {
			c.endTwin(rid, ingest.ErrBusy)
			return
		}
		c.answerTwin(rid, "200", "", body, true)
	})
	return nil
}

// fits tells whether a body can be queued. Who asks for several large twins at
// once shall not lose its connection for it.
func (c *conn) fits(body int) bool {
	const topic = 1 << 10
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.out)+c.inWrite+body+topic <= c.s.limits.OutboundBytes
}

// twinPatch answers $iothub/twin/PATCH/properties/reported. The PUBACK follows
// the hub's answer, whatever that is: the answer's status says it. Java may make a
// patch depend on the version that it knows.
func (c *conn) twinPatch(rid string, version []byte, p publication) error {
	if !c.beginTwin(rid) {
		return c.settle(p, codeSuccess)
	}
	ifVersion := int64(0)
	if version != nil {
		var err error
		if ifVersion, err = strconv.ParseInt(string(version), 10, 64); err != nil || ifVersion < 1 {
			c.endTwin(rid, fmt.Errorf("%w: $version %.20q is no version", ingest.ErrInvalid, version))
			return c.settle(p, codeSuccess)
		}
	}
	seq, err := c.push(entry{id: p.id})
	if err != nil {
		return err
	}
	patch := append(make([]byte, 0, len(p.body)), p.body...)
	c.link.PatchReported(patch, ifVersion, func(version int64, err error) {
		if err != nil {
			c.endTwin(rid, err)
		} else {
			c.answerTwin(rid, "204", "&$version="+strconv.FormatInt(version, 10), nil, true)
		}
		c.complete(seq, nil)
	})
	return nil
}

// beginTwin takes one of the connection's twin requests, or says 429.
func (c *conn) beginTwin(rid string) bool {
	c.mu.Lock()
	busy := c.twins >= c.s.limits.TwinRequests
	if !busy {
		c.twins++
	}
	c.mu.Unlock()
	if busy {
		c.failTwin(rid, ingest.ErrBusy, false)
	}
	return !busy
}

func (c *conn) endTwin(rid string, err error) { c.failTwin(rid, err, true) }

// twinError is the body of an error; Node decides by errorCode, others by the
// status in the topic.
type twinError struct {
	ErrorCode    int    `json:"errorCode"`
	TrackingID   string `json:"trackingId"`
	Message      string `json:"message"`
	TimestampUTC string `json:"timestampUtc"`
}

// failTwin answers with an error; taken says that beginTwin counted it.
func (c *conn) failTwin(rid string, err error, taken bool) {
	e := twinError{ErrorCode: 500001, Message: "the hub could not answer, try again"}
	switch {
	case errors.Is(err, device.ErrFormat):
		e.ErrorCode, e.Message = 400006, err.Error()
	case errors.Is(err, ingest.ErrInvalid):
		e.ErrorCode, e.Message = 400004, err.Error()
	case errors.Is(err, ingest.ErrUnauthorized):
		e.ErrorCode, e.Message = 401003, "not authorized"
	case errors.Is(err, ingest.ErrNotFound):
		e.ErrorCode, e.Message = 404001, "the device does not exist"
	case errors.Is(err, ingest.ErrPrecondition):
		e.ErrorCode, e.Message = 412001, err.Error()
	case errors.Is(err, ingest.ErrTooLarge):
		e.ErrorCode, e.Message = 413001, err.Error()
	case errors.Is(err, ingest.ErrBusy):
		e.ErrorCode, e.Message = 429001, "too many twin requests, wait for the answers to the earlier ones"
	}
	e.TrackingID = c.link.ID() + "/" + rid
	e.TimestampUTC = c.s.clock().UTC().Format("2006-01-02T15:04:05.0000000Z")
	body, err := json.Marshal(e)
	if err != nil {
		body = nil
	}
	c.answerTwin(rid, strconv.Itoa(e.ErrorCode/1000), "", body, taken)
}

// answerTwin sends an answer; rid goes back byte for byte.
func (c *conn) answerTwin(rid, status, version string, body []byte, taken bool) {
	topic := make([]byte, 0, 64)
	topic = append(topic, topicTwinRes...)
	topic = append(topic, status...)
	topic = append(topic, "/?$rid="...)
	topic = append(topic, rid...)
	topic = append(topic, version...)
	c.s.metrics.twin.WithLabelValues(status).Inc()
	c.mu.Lock()
	defer c.mu.Unlock()
	if taken {
		c.twins--
	}
	c.publishLocked(topic, body)
}

// sendDesiredLocked notifies a client that has subscribed. A client that does
// not read is closed rather than left with an old twin: it reads the twin again
// when it comes back.
func (c *conn) sendDesiredLocked(version int64, patch []byte) {
	outcome := "dropped"
	if c.subs.has(filterDesired) {
		topic := strconv.AppendInt(append(make([]byte, 0, 64), topicDesired+"?$version="...), version, 10)
		if c.publishLocked(topic, patch) {
			outcome = "sent"
		}
	}
	c.s.metrics.desired.WithLabelValues(outcome).Inc()
}
