package actors

import (
	"context"
	"errors"
	"testing"
)

func running() *host {
	h := &host{hostOptions: hostOptions{name: "core"}, requests: make(chan *request, 1), stopped: make(chan struct{})}
	h.status.Store(&HostStatus{State: "running"})
	return h
}

// What a request writes to belongs to its caller, who goes on when it is given up.
func TestARequestThatWasGivenUpNeverRuns(t *testing.T) {
	h := running()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ran := false
	if err := h.do(ctx, func(core) { ran = true }); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	(<-h.requests).serve(nil)
	if ran {
		t.Error("it ran after its caller had gone on")
	}
}

func TestARequestThatRunsIsWaitedFor(t *testing.T) {
	for _, end := range []string{"context", "host"} {
		t.Run(end, func(t *testing.T) {
			h := running()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() { (<-h.requests).serve(nil) }()
			wrote := false
			err := h.do(ctx, func(core) {
				if end == "context" {
					cancel()
				} else {
					close(h.stopped)
				}
				wrote = true
			})
			if err != nil || !wrote {
				t.Errorf("%v, wrote %v", err, wrote)
			}
		})
	}
}

func TestARequestThatFailsWithItsCoreIsUnavailable(t *testing.T) {
	h := running()
	go func() {
		defer func() { _ = recover() }()
		(<-h.requests).serve(nil)
	}()
	if err := h.do(t.Context(), func(core) { panic("broken core") }); !errors.Is(err, ErrUnavailable) {
		t.Error(err)
	}
}
