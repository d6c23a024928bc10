package bench

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// mqttLoad publishes QoS 1 messages as fast as they are acknowledged: each
// client keeps its window full. It is one thread over epoll, one read and one
// write for all that a client has become able to do, so that it leaves the
// machine to the server.
type mqttLoad struct {
	epoll   int
	clients []loadClient
	window  int
	buf     []byte
	batch   []byte
	lat     *latencies
}

type loadClient struct {
	fd    int
	frame []byte
	idAt  int
	rest  [4]byte // start of a PUBACK that has not come whole
	nrest int
	sent  []int64 // by packet id - 1: when it was sent, ns; 0: not in flight
	open  int     // in flight
}

// loadResult is what one run measured.
type loadResult struct {
	acked   int64
	elapsed time.Duration
	cpu     time.Duration // of the generator's thread
	lat     latencies     // from write to PUBACK
}

func (r *loadResult) rate() float64 { return float64(r.acked) / r.elapsed.Seconds() }

// openLoad connects the clients.
func openLoad(addr string, clients []mqttClient, window int, payload []byte) (l *mqttLoad, err error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, err
	}
	l = &mqttLoad{window: window, buf: make([]byte, 64<<10), lat: &latencies{}}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	for i := range clients {
		c := loadClient{sent: make([]int64, window)}
		c.frame, c.idAt = publishFrame(clients[i].topic, payload)
		if c.fd, err = dialRaw(to, &clients[i]); err != nil {
			return nil, fmt.Errorf("connect %s to %s: %w", clients[i].id, addr, err)
		}
		l.clients = append(l.clients, c)
		ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}
		if err = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, c.fd, &ev); err != nil {
			return nil, fmt.Errorf("epoll: %w", err)
		}
	}
	return l, nil
}

// dialRaw connects a blocking socket and waits for CONNACK.
func dialRaw(to netip.AddrPort, c *mqttClient) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return 0, err
	}
	wait := unix.Timeval{Sec: 30}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
		return 0, err
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}); err != nil {
		return 0, err
	}
	if err := writeAll(fd, appendConnect(nil, c)); err != nil {
		return 0, err
	}
	var ack [4]byte
	for n := 0; n < len(ack); {
		m, err := readSome(fd, ack[n:])
		if err != nil {
			return 0, err
		}
		n += m
	}
	if ack != [4]byte{0x20, 2, 0, 0} {
		return 0, fmt.Errorf("the broker answers CONNECT with % x", ack)
	}
	return fd, nil
}

// run publishes for warm and then for the time measured, and waits at the end
// until all is acknowledged.
func (l *mqttLoad) run(warm, measured time.Duration) (*loadResult, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r := &loadResult{}
	l.lat = &latencies{}
	start := time.Now()
	for i := range l.clients {
		c := &l.clients[i]
		for id := 1; id <= l.window; id++ {
			l.queue(c, id, 1)
		}
		if err := l.send(c); err != nil {
			return nil, err
		}
	}
	from, cpu := start, threadCPU()
	measuring, stopping, open := false, false, len(l.clients)*l.window
	events := make([]unix.EpollEvent, 256)
	for open > 0 {
		n, err := unix.EpollWait(l.epoll, events, 10_000)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("epoll: %w", err)
		}
		if n == 0 {
			return nil, fmt.Errorf("no acknowledgement for 10 s, %d messages are in flight", open)
		}
		now := time.Now()
		switch since := now.Sub(start); {
		case !measuring && since >= warm:
			measuring, from, cpu, r.acked, *l.lat = true, now, threadCPU(), 0, latencies{}
		case measuring && !stopping && since >= warm+measured:
			r.elapsed, r.cpu, r.lat = now.Sub(from), threadCPU()-cpu, *l.lat
			stopping = true
		}
		for _, ev := range events[:n] {
			acked, err := l.serve(&l.clients[ev.Fd], now.Sub(start).Nanoseconds()+1, stopping)
			if err != nil {
				return nil, err
			}
			if stopping {
				open -= acked
			} else {
				r.acked += int64(acked)
			}
		}
	}
	return r, nil
}

// serve reads acknowledgements of one client and fills its window again.
func (l *mqttLoad) serve(c *loadClient, now int64, stopping bool) (acked int, err error) {
	copy(l.buf, c.rest[:c.nrest])
	n, err := readSome(c.fd, l.buf[c.nrest:])
	if err != nil {
		return 0, err
	}
	b := l.buf[:c.nrest+n]
	for len(b) >= 4 {
		id := int(binary.BigEndian.Uint16(b[2:]))
		if b[0] != 0x40 || b[1] != 2 || id < 1 || id > l.window || c.sent[id-1] == 0 {
			return 0, fmt.Errorf("the broker sends % x, which acknowledges nothing that is in flight", b[:4])
		}
		l.lat.add(time.Duration(now - c.sent[id-1]))
		c.sent[id-1] = 0
		acked++
		if !stopping {
			l.queue(c, id, now)
		}
		b = b[4:]
	}
	c.nrest = copy(c.rest[:], b)
	return acked, l.send(c)
}

func (l *mqttLoad) queue(c *loadClient, id int, now int64) {
	at := len(l.batch)
	l.batch = append(l.batch, c.frame...)
	binary.BigEndian.PutUint16(l.batch[at+c.idAt:], uint16(id))
	c.sent[id-1] = now
}

func (l *mqttLoad) send(c *loadClient) error {
	err := writeAll(c.fd, l.batch)
	l.batch = l.batch[:0]
	return err
}

func (l *mqttLoad) close() {
	for i := range l.clients {
		unix.Close(l.clients[i].fd)
	}
	if l.epoll > 0 {
		unix.Close(l.epoll)
	}
}

func readSome(fd int, b []byte) (int, error) {
	for {
		n, err := unix.Read(fd, b)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, fmt.Errorf("read from the broker: %w", err)
		case n == 0:
			return 0, fmt.Errorf("read from the broker: %w", io.ErrUnexpectedEOF)
		default:
			return n, nil
		}
	}
}

func writeAll(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("write to the broker: %w", err)
		}
		b = b[n:]
	}
	return nil
}

func threadCPU() time.Duration {
	var r unix.Rusage
	if unix.Getrusage(unix.RUSAGE_THREAD, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
