package partition

import (
	"fmt"
	"testing"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/windows"
)

// BenchmarkReportedPatch is the way of a reported patch of 200 bytes through the
// core, with its event, and the changelog of what 2,000 of them touch.
func BenchmarkReportedPatch(b *testing.B) {
	for _, devices := range []int{125, 12_500} {
		b.Run(fmt.Sprint("devices=", devices), func(b *testing.B) {
			d, err := NewDevices(DevicesOptions{
				State: memory{}, StateTopic: "state", TwinsTopic: "twins", DeadLetter: "dead",
				Routing: RoutingTopics{Events: "events", HubName: "hub.example.com"},
			}, 0)
			if err != nil {
				b.Fatal(err)
			}
			offset := int64(0)
			apply := func(kind string, key, value []byte) {
				r := Record{Offset: offset, Arrival: base + windows.Tick(offset)*windows.Millisecond, Key: key, Value: value, Headers: []Header{
					{device.HeaderActor, []byte("device:d")}, {device.HeaderCredential, []byte("primary")},
					{device.HeaderKind, []byte(kind)}, {device.HeaderClock, []byte("1700000000000")},
				}}
				if err := d.Apply(&r); err != nil {
					b.Fatal(err)
				}
				offset++
			}
			keys := make([][]byte, devices)
			for i := range keys {
				keys[i] = fmt.Appendf(nil, "device-%06d", i)
				c := device.Change{Wanted: device.Identity{DeviceID: string(keys[i]), Auth: device.Auth{Type: device.AuthCA}}}
				body, err := c.AppendBinary(nil)
				if err != nil {
					b.Fatal(err)
				}
				apply(device.KindIdentity, keys[i], body)
			}
			effects := d.Take(&Effects{})
			patch := fmt.Appendf(nil, `{"n":000000,"pad":"%0180d"}`, 7)
			b.ReportAllocs()
			out := 0
			for b.Loop() {
				n := int(offset)
				put(patch[len(`{"n":`):][:6], n)
				patch[len(`{"n":`)] = '1'
				apply(device.KindReported, keys[n%devices], patch)
				if n%2000 == 0 {
					e := d.Take(effects)
					out += e.Bytes()
					e.Reset()
					effects = e
				}
			}
			b.ReportMetric(float64(out)/float64(b.N), "out-B/op")
		})
	}
}
