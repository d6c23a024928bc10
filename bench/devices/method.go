package devices

import (
	"context"
	"strings"

	"github.com/eclipse/paho.golang/paho"
)

const methodPrefix = "$iothub/methods/POST/"

// answer echoes the payload of a direct method with status 200; other messages
// are dropped.
func (d *simulated) answer(m paho.PublishReceived) (bool, error) {
	rest, ok := strings.CutPrefix(m.Packet.Topic, methodPrefix)
	_, query, found := strings.Cut(rest, "/?")
	if !ok || !found {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	_, err := m.Client.Publish(ctx, &paho.Publish{Topic: "$iothub/methods/res/200/?" + query, Payload: m.Packet.Payload})
	if err == nil {
		d.fleet.answered.Add(1)
	}
	return true, err
}
