package mqtt

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/gemello/gemello/ingest"
)

const desiredFilter = "$iothub/twin/PATCH/properties/desired/#"

func present(p packet) bool { return p.body[0] == 1 }

// leave ends a connection politely and waits until the server knows.
func leave(f *fixture, c *client, l *fakeLink) {
	f.Helper()
	c.write([]byte{0xe0, 0})
	if e := take(f, l.ended, "end"); e.reason != ingest.ReasonClient || e.will != nil {
		f.Fatalf("ended %+v", e)
	}
}

func notified(c *client, l *fakeLink, version int64) bool {
	c.f.Helper()
	l.session.DesiredChanged(version, []byte("{}"))
	c.write([]byte{0xc0, 0})
	p, err := c.read()
	if err != nil {
		c.f.Fatal(err)
	}
	if p.kind() == typePingresp {
		return false
	}
	c.expect(typePingresp)
	return true
}

func TestSubscriptionsSurviveDisconnects(t *testing.T) {
	f := start(t, Limits{})
	c, p := f.connect(hello{persist: true})
	l := f.link()
	if present(p) {
		t.Error("a new session is present")
	}
	c.subscribe(desiredFilter)
	for range 2 {
		leave(f, c, l)
		c, p = f.connect(hello{persist: true})
		l = f.link()
		if !present(p) {
			t.Fatal("the session is gone")
		}
		if !notified(c, l, 2) {
			t.Fatal("the subscription is gone")
		}
	}
	// A lost connection is no different.
	c.nc.Close()
	if e := take(f, l.ended, "end"); e.reason != ingest.ReasonLost {
		t.Errorf("ended %v", e.reason)
	}
	c, p = f.connect(hello{persist: true})
	if l = f.link(); !present(p) || !notified(c, l, 3) {
		t.Error("the session is gone after the connection was lost")
	}
}

func TestCleanSessionForgets(t *testing.T) {
	f := start(t, Limits{})
	c, _ := f.connect(hello{persist: true})
	l := f.link()
	c.subscribe(desiredFilter)
	leave(f, c, l)

	c, p := f.connect(hello{})
	l = f.link()
	if present(p) || notified(c, l, 2) {
		t.Error("a clean session has a past")
	}
	c.subscribe(desiredFilter)
	leave(f, c, l)
	if got := f.metric("stored_sessions"); got != 0 {
		t.Errorf("%v sessions stored", got)
	}

	c, p = f.connect(hello{persist: true})
	l = f.link()
	if present(p) || notified(c, l, 2) {
		t.Error("a clean session has a future")
	}
}

func TestUnsubscribe(t *testing.T) {
	for _, level := range []byte{4, 5} {
		f := start(t, Limits{})
		c, _ := f.connect(hello{level: level})
		l := f.link()
		c.subscribe(desiredFilter)
		if !notified(c, l, 1) {
			t.Fatal("not subscribed")
		}
		req := []byte{0, 3}
		if level == 5 {
			req = append(req, 0)
		}
		c.write(frame(0xa2, req, str(desiredFilter), str("$iothub/methods/POST/#")))
		want := []byte{0, 3}
		if level == 5 {
			want = append(want, 0, codeSuccess, codeNoSubscription)
		}
		if p := c.expect(typeUnsuback); !bytes.Equal(p.body, want) {
			t.Errorf("UNSUBACK %x, want %x", p.body, want)
		}
		if notified(c, l, 2) {
			t.Error("still subscribed")
		}
	}
}

func TestSubackGrantsWhatIsOwned(t *testing.T) {
	filters := []string{"$iothub/twin/res/#", desiredFilter, "$iothub/methods/POST/#", "devices/d/messages/devicebound/#",
		"devices/e/messages/devicebound/#", "#", "$share/g/a"}
	f := start(t, Limits{})
	c, _ := f.connect(hello{})
	if got, want := c.subscribeQoS(2, filters...), []byte{1, 1, 1, 1, 0x80, 0x80, 0x80}; !bytes.Equal(got, want) {
		t.Errorf("level 4: %x, want %x", got, want)
	}
	c, _ = f.connect(hello{level: 5})
	if got, want := c.subscribeQoS(0, filters...), []byte{0, 0, 0, 0, codeNotAuthorized, codeTopicFilter, codeShared}; !bytes.Equal(got, want) {
		t.Errorf("level 5: %x, want %x", got, want)
	}
	c, _ = f.connect(hello{id: "d/m"})
	if got, want := c.subscribe("devices/d/modules/m/#", "devices/d/modules/m/inputs/#", "devices/d/modules/n/#"), []byte{0, 0, 0x80}; !bytes.Equal(got, want) {
		t.Errorf("module: %x, want %x", got, want)
	}
}

func TestNewestConnectionTakesOver(t *testing.T) {
	f := start(t, Limits{})
	first, _ := f.connect(hello{persist: true})
	l1 := f.link()
	first.subscribe(desiredFilter)
	second, p := f.connect(hello{persist: true, level: 5, props: []byte{propSessionExpiry, 0, 0, 1, 0}})
	l2 := f.link()
	first.closed()
	if e := take(f, l1.ended, "end"); e.reason != ingest.ReasonTakenOver {
		t.Errorf("ended %v", e.reason)
	}
	if !present(p) || !notified(second, l2, 2) {
		t.Error("the subscription did not move")
	}
	third, _ := f.connect(hello{level: 5})
	if code := second.closed(); code != codeTakenOver {
		t.Errorf("DISCONNECT %#x", code)
	}
	third.ping()
	if got := f.metric("session_takeovers_total"); got != 2 {
		t.Errorf("%v take-overs", got)
	}
}

func TestStrangersTakeNothingOver(t *testing.T) {
	f := start(t, Limits{})
	c, _ := f.connect(hello{})
	thief := f.dial()
	thief.write(hello{password: "bad"}.packet())
	thief.expect(typeConnack)
	c.ping()
}

func TestFlappingIsCountedOnceAMinute(t *testing.T) {
	f := start(t, Limits{})
	for range flapLimit + 5 {
		f.connect(hello{})
	}
	if got := f.metric("session_flapping_total"); got != 1 {
		t.Errorf("counted %v", got)
	}
	f.clock.advance(time.Minute)
	for range flapLimit {
		f.connect(hello{})
	}
	if got := f.metric("session_flapping_total"); got != 2 {
		t.Errorf("counted %v after a minute", got)
	}
}

func TestSessionsOfLevel5Expire(t *testing.T) {
	f := start(t, Limits{})
	again := func(wait time.Duration) bool {
		c, p := f.connect(hello{level: 5, persist: true, props: []byte{propSessionExpiry, 0, 0, 0, 60}})
		l := f.link()
		leave(f, c, l)
		f.clock.advance(wait)
		return present(p)
	}
	again(59 * time.Second)
	if !again(60 * time.Second) {
		t.Error("gone before its time")
	}
	if again(60*time.Second) || f.metric("stored_sessions") != 1 {
		t.Error("there after its time")
	}
	f.s.sweep(true)
	if got := f.metric("stored_sessions"); got != 0 {
		t.Errorf("%v sessions stored", got)
	}
}

func TestDisconnectMayChangeTheExpiry(t *testing.T) {
	f := start(t, Limits{})
	c, _ := f.connect(hello{level: 5, props: []byte{propSessionExpiry, 0, 0, 0, 60}})
	l := f.link()
	c.write(frame(0xe0, []byte{0}, block([]byte{propSessionExpiry, 0, 0, 0, 0})))
	take(f, l.ended, "end")
	if _, p := f.connect(hello{level: 5, persist: true}); present(p) {
		t.Error("the session is still there")
	}
}

func TestStoredSessionsAreBounded(t *testing.T) {
	f := start(t, Limits{Sessions: 2})
	for i := range 3 {
		c, _ := f.connect(hello{id: fmt.Sprint(i), persist: true})
		leave(f, c, f.link())
	}
	if stored, evicted := f.metric("stored_sessions"), f.metric("sessions_evicted_total"); stored != 2 || evicted != 1 {
		t.Errorf("%v stored, %v evicted", stored, evicted)
	}
	for _, i := range []int{2, 1, 0} {
		if _, p := f.connect(hello{id: fmt.Sprint(i), persist: true}); present(p) != (i != 0) {
			t.Errorf("session %d present: %v", i, present(p))
		}
	}
}

func TestWill(t *testing.T) {
	const own = "devices/d/messages/events/a=b"
	tests := []struct {
		rule string
		h    hello
		end  func(*fixture, *client)
		want bool
	}{
		{"lost", hello{will: own, willBody: "bye"}, func(_ *fixture, c *client) { c.nc.Close() }, true},
		{"protocol error", hello{will: own, willBody: "bye"}, func(_ *fixture, c *client) { c.write([]byte{0, 0}) }, true},
		{"taken over", hello{will: own, willBody: "bye"}, func(f *fixture, _ *client) { f.connect(hello{}) }, true},
		{"taken over within the will's delay", hello{level: 5, will: own, willBody: "bye", willProp: []byte{propWillDelay, 0, 0, 0, 9}},
			func(f *fixture, _ *client) { f.connect(hello{}) }, false},
		{"goodbye", hello{will: own, willBody: "bye"}, func(_ *fixture, c *client) { c.write([]byte{0xe0, 0}) }, false},
		{"goodbye with will", hello{level: 5, will: own, willBody: "bye"}, func(_ *fixture, c *client) { c.write([]byte{0xe0, 1, 4}) }, true},
		{"no will", hello{}, func(_ *fixture, c *client) { c.nc.Close() }, false},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			f := start(t, Limits{})
			c, _ := f.connect(tt.h)
			l := f.link()
			tt.end(f, c)
			e := take(f, l.ended, "end")
			if (e.will != nil) != tt.want {
				t.Fatalf("will %+v", e.will)
			}
			if tt.want && (string(e.will.Body) != "bye" || e.will.Bag != "a=b&iothub-MessageType=Will") {
				t.Errorf("will %q %q", e.will.Body, e.will.Bag)
			}
		})
	}
}
