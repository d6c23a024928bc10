package partition

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/windows"
)

// seedDevices are encodings for the fuzzers to start from.
func seedDevices(f *testing.F) (stored, state, counts []byte) {
	fl := newFleet(f)
	fl.apply(device.KindIdentity, "d1", change(f, "d1", "", 0))
	fl.apply(device.KindReported, "d1", `{"a":{"b":[1,2]}}`)
	fl.apply(device.KindConnected, "d1", "", device.HeaderSession, "s1")
	fl.flush()
	return fl.store[string(deviceKey("d1"))], fl.state["d1"], fl.store[string(countsKey)]
}

// What is accepted is encoded as it was: there is one form of a device.
func FuzzDecodeDevice(f *testing.F) {
	stored, state, counts := seedDevices(f)
	for _, b := range [][]byte{stored, state, counts, nil} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, err := decodeDevice(b); err == nil {
			again, err := appendDevice(nil, d)
			if err != nil || !bytes.Equal(again, b) {
				t.Errorf("%x decoded and encoded is %x, %v", b, again, err)
			}
		}
		if d, err := decodeState(b); err == nil {
			if again, err := appendState(nil, statePosition(b), d); err != nil || !bytes.Equal(again, b) {
				t.Errorf("%x decoded and encoded is %x, %v", b, again, err)
			}
		}
		if s, err := decodeCounts(b); err == nil {
			if again := appendCounts(nil, &s); !bytes.Equal(again, b) {
				t.Errorf("%x decoded and encoded is %x", b, again)
			}
		}
	})
}

func statePosition(b []byte) int64 {
	v, _ := binary.Varint(b[1:])
	return v
}

// A pipeline that takes damaged state must say so, and not more.
func FuzzDecodePipeline(f *testing.F) {
	list := shapes()
	build := func(t testing.TB, name string) *pipeline {
		c := NewPipelines(PipelinesOptions{SinglePartition: true, State: memory{}}, 0)
		p, err := c.newPipeline(list[name], 0)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, name := range []string{"tumbling", "keyed"} {
		p := build(f, name)
		p.timeline.Admit([]byte("k"), base, base)
		p.timeline.Admit([]byte("l"), base+windows.Second, base)
		p.rewind.mark(7, p.timeline.Clocks())
		f.Add(p.encode(nil), name == "keyed")
	}
	f.Fuzz(func(t *testing.T, b []byte, keyed bool) {
		name := "tumbling"
		if keyed {
			name = "keyed"
		}
		p := build(t, name)
		if p.decode(b) != nil {
			return
		}
		if again := p.encode(nil); build(t, name).decode(again) != nil {
			t.Errorf("%x decoded and encoded is %x, which is refused", b, again)
		}
	})
}
