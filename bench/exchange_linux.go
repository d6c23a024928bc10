package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// exchange is MQTT clients that send and answer packets of any kind, where
// mqttLoad knows acknowledgements alone: one thread over epoll as well.
type exchange struct {
	epoll   int
	clients []exchangeClient
	buf     []byte
	events  []unix.EpollEvent
}

type exchangeClient struct {
	fd  int
	in  []byte // start of a packet that has not come whole
	out []byte // frames to be written
}

// openExchange connects the clients and subscribes each to a filter.
func openExchange(addr string, clients []mqttClient, filter string) (x *exchange, err error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, err
	}
	x = &exchange{buf: make([]byte, 64<<10), events: make([]unix.EpollEvent, 256)}
	defer func() {
		if err != nil {
			x.close()
		}
	}()
	if x.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	subscribe := appendSubscribe(nil, filter)
	for i := range clients {
		fd, err := dialRaw(to, &clients[i])
		if err != nil {
			return nil, fmt.Errorf("connect %s to %s: %w", clients[i].id, addr, err)
		}
		x.clients = append(x.clients, exchangeClient{fd: fd})
		if err := writeAll(fd, subscribe); err != nil {
			return nil, err
		}
		ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}
		if err := unix.EpollCtl(x.epoll, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
			return nil, fmt.Errorf("epoll: %w", err)
		}
	}
	for granted := 0; granted < len(clients); {
		n, err := x.poll(10_000, func(_ int, kind byte, body []byte) error {
			if kind != 0x90 || len(body) != 3 || body[2] > 2 {
				return fmt.Errorf("the broker answers SUBSCRIBE to %s with % x", filter, body)
			}
			granted++
			return nil
		})
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return nil, errors.New("no answer to SUBSCRIBE for 10 s")
		}
	}
	return x, nil
}

// poll waits up to wait ms and hands every packet that has come whole to handle,
// which may queue frames for its client; they are written at once. It returns
// how many clients had something to say.
func (x *exchange) poll(wait int, handle func(client int, kind byte, body []byte) error) (int, error) {
	n, err := unix.EpollWait(x.epoll, x.events, wait)
	if err == unix.EINTR {
		return x.poll(wait, handle)
	}
	if err != nil {
		return 0, fmt.Errorf("epoll: %w", err)
	}
	for _, ev := range x.events[:n] {
		if err := x.serve(int(ev.Fd), handle); err != nil {
			return n, err
		}
	}
	return n, nil
}

func (x *exchange) serve(i int, handle func(int, byte, []byte) error) error {
	c := &x.clients[i]
	kept := copy(x.buf, c.in)
	n, err := readSome(c.fd, x.buf[kept:])
	if err != nil {
		return err
	}
	b := x.buf[:kept+n]
	for {
		kind, body, size := cutPacket(b)
		if size == 0 {
			break
		}
		if err := handle(i, kind, body); err != nil {
			return err
		}
		b = b[size:]
	}
	if len(b) == len(x.buf) {
		return errors.New("the broker sends a packet that is larger than a run's can be")
	}
	c.in = append(c.in[:0], b...)
	return x.flush(i)
}

// flush writes what is queued for a client.
func (x *exchange) flush(i int) error {
	c := &x.clients[i]
	err := writeAll(c.fd, c.out)
	c.out = c.out[:0]
	return err
}

// cutPacket returns the first packet of b and its size, 0 while it is not whole.
func cutPacket(b []byte) (kind byte, body []byte, size int) {
	if len(b) < 2 {
		return 0, nil, 0
	}
	length, n := binary.Uvarint(b[1:]) // the same coding
	if n <= 0 || uint64(len(b)-1-n) < length {
		return 0, nil, 0
	}
	size = 1 + n + int(length)
	return b[0], b[1+n : size], size
}

// appendPublish appends a QoS 0 PUBLISH.
func appendPublish(b []byte, topic string, payload []byte) []byte {
	b = appendLength(append(b, 0x30), 2+len(topic)+len(payload))
	return append(appendText(b, topic), payload...)
}

// publication returns topic and payload of a QoS 0 PUBLISH.
func publication(kind byte, body []byte) (topic, payload []byte, err error) {
	if kind != 0x30 || len(body) < 2 || len(body) < 2+int(binary.BigEndian.Uint16(body)) {
		return nil, nil, fmt.Errorf("the broker sends a packet % x, want a PUBLISH with QoS 0", kind)
	}
	end := 2 + int(binary.BigEndian.Uint16(body))
	return body[2:end], body[end:], nil
}

func (x *exchange) close() {
	for i := range x.clients {
		unix.Close(x.clients[i].fd)
	}
	if x.epoll > 0 {
		unix.Close(x.epoll)
	}
}
