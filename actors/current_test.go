package actors_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/persistence/eventlog"
)

// A patch that is in the log was or may have been accepted before the node
// ended: the first twin that the next life of the node shows must hold it.
func TestFirstReadAfterAStartHoldsAllThatWasAccepted(t *testing.T) {
	h := newHarness(t)
	h.start()
	ref := device.Ref{Device: "d"}
	change := device.Change{Wanted: device.Identity{DeviceID: "d", Status: device.Enabled, Auth: device.Auth{Primary: []byte("p"), Secondary: []byte("s")}}}
	if _, err := h.node.PutIdentity(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	h.stop()
	const patches = 20_000
	a, err := h.log.NewAppender(eventlog.AppenderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	errs := make(chan error, patches)
	for i := range patches {
		a.Append(t.Context(), &eventlog.Record{
			Topic: "hub.device-log", Key: []byte("d"), Value: fmt.Appendf(nil, `{"n":%d}`, i),
			Headers: []eventlog.Header{{Key: device.HeaderKind, Value: []byte(device.KindReported)}},
		}, func(_ *eventlog.Record, err error) { errs <- err })
	}
	for range patches {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	h.start()
	defer h.stop()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		doc, err := h.node.Twin(ctx, ref)
		if err == nil {
			if doc.Twin.Reported.Version != patches+1 {
				t.Fatalf("the first twin shown has reported version %d, want %d", doc.Twin.Reported.Version, patches+1)
			}
			return
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}
