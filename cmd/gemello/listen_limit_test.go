package main

import (
	"errors"
	"net"
	"testing"
	"time"
)

func TestConnectionsBeyondTheLimitWait(t *testing.T) {
	limit := newConnLimit(1)
	var listeners []net.Listener
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		listeners = append(listeners, limit.wrap(l))
	}
	dial := func(l net.Listener) {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
	dial(listeners[0])
	first, err := listeners[0].Accept()
	if err != nil {
		t.Fatal(err)
	}
	dial(listeners[1])
	accepted := make(chan net.Conn)
	go func() {
		c, _ := listeners[1].Accept()
		accepted <- c
	}()
	select {
	case <-accepted:
		t.Fatal("accepted beyond the limit of both listeners")
	case <-time.After(20 * time.Millisecond):
	}
	first.Close()
	first.Close() // gives back one slot, not two
	second := <-accepted
	if len(limit.slots) != 1 {
		t.Errorf("%d slots taken, want 1", len(limit.slots))
	}

	// Close ends an Accept that waits for a slot.
	ended := make(chan error)
	go func() {
		_, err := listeners[0].Accept()
		ended <- err
	}()
	listeners[0].Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("error %v", err)
	}
	second.Close()
}
