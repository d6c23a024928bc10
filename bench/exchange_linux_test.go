package bench

import (
	"bytes"
	"testing"
)

// Packets come in pieces: each is taken once, when its last byte is there.
func TestExchangeTakesWholePackets(t *testing.T) {
	all := appendPublish(nil, "$iothub/twin/res/204/?$rid=1&$version=2", nil)
	all = appendPublish(all, "$iothub/methods/POST/m/?$rid=a", bytes.Repeat([]byte("x"), 300))
	for cut := range len(all) + 1 {
		var topics, sizes []string
		rest := all[:cut]
		for range 2 {
			for {
				kind, body, size := cutPacket(rest)
				if size == 0 {
					break
				}
				topic, payload, err := publication(kind, body)
				if err != nil {
					t.Fatal(err)
				}
				topics, sizes = append(topics, string(topic)), append(sizes, string(payload))
				rest = rest[size:]
			}
			rest = append(bytes.Clone(rest), all[cut:]...)
		}
		if len(topics) != 2 || topics[0] != "$iothub/twin/res/204/?$rid=1&$version=2" || topics[1] != "$iothub/methods/POST/m/?$rid=a" || len(sizes[0]) != 0 || len(sizes[1]) != 300 {
			t.Fatalf("cut at %d: %q", cut, topics)
		}
	}
}

// A run that takes any version for good could not see a patch that is applied
// twice.
func TestPatchAnswersMustCountUp(t *testing.T) {
	for topic, ok := range map[string]bool{
		"$iothub/twin/res/204/?$rid=1&$version=6": true,
		"$iothub/twin/res/204/?$rid=1&$version=7": false,
		"$iothub/twin/res/204/?$rid=1&$version=5": false,
		"$iothub/twin/res/429/?$rid=1":            false,
		"$iothub/twin/res/204/?$rid=9&$version=6": false,
	} {
		l := &patchLoad{o: &TwinOptions{Window: 4}, versions: []int64{5}}
		frame := appendPublish(nil, topic, nil)
		kind, body, _ := cutPacket(frame)
		if _, err := l.answered(0, kind, body); (err == nil) != ok {
			t.Errorf("%s: %v", topic, err)
		}
	}
}
