package bench

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestGeneratorKeepsWindowsFull(t *testing.T) {
	var out bytes.Buffer
	o := MQTTOptions{Floor: true, Connections: 3, Window: 5, Rounds: 1, Warm: 10 * time.Millisecond, Measured: 100 * time.Millisecond}
	if err := MQTT(t.Context(), o, &out); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "BenchmarkMQTTPublish/server=floor"); n != 2 {
		t.Errorf("%d results, want a round and one message at a time: %s", n, out.String())
	}
}

// answer must hold back what has not come whole, wherever the cut is.
func TestFloorAnswersEachPacketOnce(t *testing.T) {
	all := appendConnect(nil, &mqttClient{id: "d", user: "u", password: strings.Repeat("p", 200)})
	frame, at := publishFrame("devices/d/messages/events/", payload(110))
	for id := byte(1); id <= 3; id++ {
		frame[at+1] = id
		all = append(all, frame...)
	}
	want := []byte{0x20, 2, 0, 0, 0x40, 2, 0, 1, 0x40, 2, 0, 2, 0x40, 2, 0, 3}
	for cut := range all {
		out, left := answer(nil, all[:cut])
		out, left = answer(out, append(bytes.Clone(left), all[cut:]...))
		if !bytes.Equal(out, want) || len(left) != 0 {
			t.Fatalf("cut at %d: % x and %d bytes left, want % x", cut, out, len(left), want)
		}
	}
}
