package mqtt

import (
	"testing"
	"time"

	"github.com/gemello/gemello/ingest"
)

func TestSilenceOfOneAndAHalfKeepAlivesCloses(t *testing.T) {
	tests := []struct {
		rule string
		keep uint16
		want time.Duration
	}{
		{"as asked", 100, 150 * time.Second},
		{"none", 0, 1767 * time.Second},
		{"very large", 65535, 1767 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			f := start(t, Limits{})
			c, _ := f.connect(hello{level: 5, keep: tt.keep})
			l := f.link()
			f.s.sweep(false)
			c.ping()
			waiting(f)
			f.clock.advance(tt.want)
			f.s.sweep(false)
			c.ping()
			waiting(f)
			f.clock.advance(tt.want + time.Second)
			f.s.sweep(false)
			if code := c.closed(); code != codeKeepAlive {
				t.Errorf("DISCONNECT %#x", code)
			}
			if e := take(f, l.ended, "end"); e.reason != ingest.ReasonLost {
				t.Errorf("ended %v", e.reason)
			}
		})
	}
}

// waiting waits until all readers are back at their sockets and all is written.
func waiting(f *fixture) {
	f.Helper()
	f.eventually("all readers wait", func() bool {
		all := true
		f.s.each(func(c *conn) { all = all && !c.busy.Load() && c.writeSince.Load() == 0 })
		return all
	})
}

// A client that is silent because the hub keeps it waiting is not silent.
func TestKeepAliveStandsStillWhileTheHubIsSlow(t *testing.T) {
	f := start(t, Limits{InFlight: 1, ReceiveMaximum: 1})
	f.hub.hold.Store(true)
	c, _ := f.connect(hello{keep: 10})
	l := f.link()
	c.write(c.publishPacket(2, events, 1, nil, "x"), c.publishPacket(2, events, 2, nil, "y"))
	first := take(f, l.published, "message")
	f.eventually("CONNACK", func() (written bool) {
		f.s.each(func(c *conn) { written = c.writeSince.Load() == 0 })
		return written
	})
	f.clock.advance(time.Hour)
	f.s.sweep(false)
	first.done(nil)
	c.acked(1)
	take(f, l.published, "message").done(nil)
	c.acked(2)
}

func TestExpiredTokenCloses(t *testing.T) {
	f := start(t, Limits{})
	f.hub.expires = f.clock.now().Add(time.Minute)
	c, _ := f.connect(hello{level: 5})
	l := f.link()
	waiting(f)
	f.clock.advance(time.Minute - time.Second)
	f.s.sweep(false)
	c.ping()
	f.clock.advance(time.Second)
	f.s.sweep(false)
	if code := c.closed(); code != codeNotAuthorized {
		t.Errorf("DISCONNECT %#x", code)
	}
	if e := take(f, l.ended, "end"); e.reason != ingest.ReasonExpired {
		t.Errorf("ended %v", e.reason)
	}
	// Who comes with an expired one is not let in.
	late := f.dial()
	late.write(hello{}.packet())
	if p := late.expect(typeConnack); p.body[1] != connNotAuthorized {
		t.Errorf("CONNACK %x", p.body)
	}
}

func TestIdleConnectionsGiveTheirBufferBack(t *testing.T) {
	f := start(t, Limits{})
	c, _ := f.connect(hello{})
	c.publish(2, events, 1, string(make([]byte, 4*smallBuffer)))
	c.acked(1)
	big := func() (big bool) {
		f.s.each(func(c *conn) { big = c.big.Load() })
		return big
	}
	if !big() {
		t.Fatal("no large buffer")
	}
	waiting(f)
	f.clock.advance(idleBuffer)
	f.s.sweep(false)
	f.eventually("return of the buffer", func() bool { return !big() })
	c.publish(2, events, 2, "x")
	c.acked(2)
}

func TestWhoDoesNotReadIsClosed(t *testing.T) {
	for _, tt := range []struct {
		rule string
		l    Limits
		time time.Duration
	}{
		{"bytes", Limits{OutboundBytes: 1 << 20, OutboundPackets: 1 << 20}, 0},
		{"packets", Limits{OutboundBytes: 1 << 40, OutboundPackets: 100}, 0},
		{"time", Limits{OutboundBytes: 1 << 40, OutboundPackets: 1 << 20, WriteTime: time.Minute}, 2 * time.Minute},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			f := start(t, tt.l)
			c, _ := f.connect(hello{})
			l := f.link()
			c.subscribe(desiredFilter)
			patch := make([]byte, 64<<10)
			for range 400 { // more than any socket buffer holds
				l.session.DesiredChanged(1, patch)
				if len(l.ended) > 0 {
					break
				}
			}
			if tt.time > 0 {
				f.eventually("write", func() (blocked bool) {
					f.s.each(func(c *conn) { blocked = c.writeSince.Load() != 0 })
					return blocked
				})
				f.clock.advance(tt.time)
				f.s.sweep(false)
			}
			if e := take(f, l.ended, "end"); e.reason != ingest.ReasonSlow {
				t.Errorf("ended %v", e.reason)
			}
			if got := f.metric("refused_total", "slow_reader"); got != 1 {
				t.Errorf("counted %v", got)
			}
		})
	}
}
