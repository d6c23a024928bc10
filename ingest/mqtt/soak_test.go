package mqtt

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gemello/gemello/device"
	"github.com/gemello/gemello/ingest"
)

// laterHub answers from a goroutine of its own, out of order, and remembers
// what it has acknowledged.
type laterHub struct {
	work  chan func()
	mu    sync.Mutex
	acked map[string]bool
	open  atomic.Int64
}

func (h *laterHub) Connect(_ context.Context, _ ingest.Credentials, s ingest.Session) (ingest.Link, error) {
	h.open.Add(1)
	return &laterLink{h: h, s: s}, nil
}

type laterLink struct {
	h *laterHub
	s ingest.Session
}

func (l *laterLink) ID() string         { return "s" }
func (l *laterLink) Expires() time.Time { return time.Time{} }
func (l *laterLink) Publish(m ingest.Message, done func(error)) {
	l.h.work <- func() {
		l.h.mu.Lock()
		l.h.acked[string(m.Body)] = true
		l.h.mu.Unlock()
		done(nil)
	}
}
func (l *laterLink) Twin(done func([]byte, error)) { l.h.work <- func() { done([]byte("{}"), nil) } }
func (l *laterLink) PatchReported(_ []byte, _ int64, done func(int64, error)) {
	l.h.work <- func() {
		l.s.DesiredChanged(1, []byte("{}"))
		done(1, nil)
	}
}
func (l *laterLink) MethodResponse(string, int, []byte)         {}
func (l *laterLink) Settle(string, device.Outcome, func(error)) {}
func (l *laterLink) Ready(ingest.Feature, bool)                 {}
func (l *laterLink) Close(ingest.Reason, *ingest.Message)       { l.h.open.Add(-1) }

// Under take-overs, lost connections and a Shutdown in the middle, every PUBACK
// that a client saw is for a message that the hub has acknowledged, PUBACKs are
// in order, and each Link is closed once.
func TestNoPubackWithoutTheHub(t *testing.T) {
	h := &laterHub{work: make(chan func(), 256), acked: make(map[string]bool)}
	stop := make(chan struct{})
	var workers sync.WaitGroup
	workers.Go(func() {
		var held []func()
		flush := func() {
			rand.Shuffle(len(held), func(i, j int) { held[i], held[j] = held[j], held[i] })
			for _, f := range held {
				f()
			}
			held = held[:0]
		}
		for {
			select {
			case f := <-h.work:
				if held = append(held, f); len(held) >= 8 {
					flush()
				}
			case <-stop:
				return
			default:
				flush()
				select {
				case f := <-h.work:
					held = append(held, f)
				case <-stop:
					return
				}
			}
		}
	})
	s := New(Options{Hub: h})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()

	var clients sync.WaitGroup
	var acks atomic.Int64
	enough := make(chan struct{})
	var once sync.Once
	for i := range 16 {
		clients.Go(func() {
			for round := 0; soakRound(t, h, ln.Addr().String(), i, round, &acks); round++ {
				if acks.Load() > 2000 {
					once.Do(func() { close(enough) })
				}
			}
		})
	}
	select {
	case <-enough:
	case <-time.After(10 * patience):
		t.Error("too few acknowledgements")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	<-served
	clients.Wait()
	close(stop)
	workers.Wait()
	if n := h.open.Load(); n != 0 {
		t.Errorf("%d links not closed", n)
	}
}

// soakRound is one connection of a client; two clients share each identity. It
// returns false when the server is gone.
func soakRound(t *testing.T, h *laterHub, addr string, who, round int, acks *atomic.Int64) bool {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return false
	}
	defer nc.Close()
	id := fmt.Sprint(who / 2)
	c := &client{nc: nc, level: []byte{4, 5}[round%2]}
	if _, err := nc.Write(hello{id: id, level: c.level, persist: true}.packet()); err != nil {
		return true
	}
	if p, err := c.read(); err != nil || p.kind() != typeConnack {
		return true
	}
	body := func(n int) string { return fmt.Sprintf("%d/%d/%d", who, round, n) }
	const n = 40
	var out []byte
	for i := 1; i <= n; i++ {
		out = append(out, c.publishPacket(2, "devices/"+id+"/messages/events/", uint16(i), nil, body(i))...)
		if i%10 == 0 {
			out = append(out, c.publishPacket(0, patchTopic+"1", 0, nil, "{}")...)
			out = append(out, c.publishPacket(0, getTopic+"1", 0, nil, "")...)
		}
	}
	if _, err := nc.Write(out); err != nil {
		return true
	}
	for want := 1; want <= n; {
		p, err := c.read()
		if err != nil {
			return true
		}
		switch p.kind() {
		case typePuback:
			if got := int(binary.BigEndian.Uint16(p.body)); got != want {
				t.Errorf("PUBACK %d, want %d", got, want)
				return false
			}
			h.mu.Lock()
			ok := h.acked[body(want)]
			h.mu.Unlock()
			if !ok {
				t.Errorf("PUBACK for %s, which the hub has not acknowledged", body(want))
				return false
			}
			acks.Add(1)
			want++
			if who%2 == 1 && want == n/2 && round%3 == 0 {
				return true // gone without a word
			}
		case typePublish:
		default:
			return true
		}
	}
	return true
}
