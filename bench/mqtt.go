package bench

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gemello/gemello/device/credential"
)

// MQTTOptions describe a run of QoS 1 telemetry against a node of its own, side
// by side with mosquitto, a broker that keeps nothing.
type MQTTOptions struct {
	Binary      string // gemello, to be started with serve
	Dir         string // where data and the sync measure lie; empty: the system's temporary directory
	Host        string // loopback address of the node; empty: 127.0.0.1
	Connections int    // 0: 200
	Window      int    // messages in flight a connection; 0: 20
	Payload     int    // bytes; 0: 110
	Rounds      int    // of each server, in turn; 0: 3
	Warm        time.Duration
	Measured    time.Duration // of a round; 0: 10 s
	Peer        bool          // also mosquitto
	Floor       bool          // only the generator against a server that acknowledges at once
	ServeArgs   []string      // further flags for gemello serve
}

func (o MQTTOptions) ensureDefaults() MQTTOptions {
	orDefault(&o.Host, "127.0.0.1")
	orDefault(&o.Connections, 200)
	orDefault(&o.Window, 20)
	orDefault(&o.Payload, 110)
	orDefault(&o.Rounds, 3)
	orDefault(&o.Warm, 2*time.Second)
	orDefault(&o.Measured, 10*time.Second)
	return o
}

func orDefault[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}

// payload is a JSON telemetry message of a size.
func payload(size int) []byte {
	b := fmt.Appendf(nil, `{"ts":%d,"temperature":21.5,"humidity":48.25,"pad":"`, time.Now().UnixMilli())
	if n := size - len(b) - 2; n > 0 {
		b = append(b, strings.Repeat("x", n)...)
	}
	return append(b, `"}`...)
}

// createDevices makes devices with keys and returns what their clients say.
func (n *nodeProcess) createDevices(ctx context.Context, prefix string, count int) ([]mqttClient, error) {
	clients := make([]mqttClient, count)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(64)
	for i := range clients {
		g.Go(func() error {
			id := fmt.Sprintf("%s-%05d", prefix, i)
			var d struct {
				Authentication struct {
					SymmetricKey struct{ PrimaryKey string }
				}
			}
			body := fmt.Appendf(nil, `{"deviceId":%q,"status":"enabled","authentication":{"type":"sas","symmetricKey":{"primaryKey":"","secondaryKey":""}}}`, id)
			if err := n.call(ctx, http.MethodPut, "/api/v1/devices/"+id, body, &d); err != nil {
				return fmt.Errorf("create device %s: %w", id, err)
			}
			key, err := credential.ParseKey(d.Authentication.SymmetricKey.PrimaryKey)
			if err != nil {
				return fmt.Errorf("create device %s: %w", id, err)
			}
			clients[i] = mqttClient{
				id: id, user: n.hostname + "/" + id + "/?api-version=2021-04-12",
				password: credential.Sign(n.hostname+"/devices/"+id, time.Now().Add(24*time.Hour), key, ""),
				topic:    "devices/" + id + "/messages/events/",
			}
			return nil
		})
	}
	return clients, g.Wait()
}
