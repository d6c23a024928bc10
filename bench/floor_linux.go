package bench

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// ackServer is the floor: it acknowledges each PUBLISH at once and keeps
// nothing. What the generator reaches against it is what generator and sockets
// allow at most.
type ackServer struct {
	listener *net.TCPListener
	wg       sync.WaitGroup
	mu       sync.Mutex // guards fds
	fds      []int
}

func startAckServer() (*ackServer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &ackServer{listener: l.(*net.TCPListener)}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("epoll: %w", err)
	}
	stop, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		l.Close()
		unix.Close(epoll)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	add := func(fd int) error {
		return unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
	}
	if err := add(stop); err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	s.wg.Go(func() {
		defer unix.Close(epoll)
		defer unix.Close(stop)
		s.serve(epoll, stop)
	})
	s.wg.Go(func() {
		for {
			f, err := s.accept()
			if errors.Is(err, net.ErrClosed) {
				unix.Write(stop, []byte{1, 0, 0, 0, 0, 0, 0, 0})
				return
			}
			if err == nil && add(f) == nil {
				s.mu.Lock()
				s.fds = append(s.fds, f)
				s.mu.Unlock()
			}
		}
	})
	return s, nil
}

// accept returns a descriptor of its own of the next connection.
func (s *ackServer) accept() (int, error) {
	c, err := s.listener.AcceptTCP()
	if err != nil {
		return 0, err
	}
	defer c.Close()
	f, err := c.File()
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
}

func (s *ackServer) addr() string { return s.listener.Addr().String() }

func (s *ackServer) close() {
	s.listener.Close()
	s.wg.Wait()
	for _, fd := range s.fds {
		unix.Close(fd)
	}
}

// serve answers until stop is readable. It holds back what has not come whole.
func (s *ackServer) serve(epoll, stop int) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	rest := map[int][]byte{}
	buf, out := make([]byte, 64<<10), []byte(nil)
	events := make([]unix.EpollEvent, 256)
	for {
		n, err := unix.EpollWait(epoll, events, -1)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return
		}
		for _, ev := range events[:n] {
			fd := int(ev.Fd)
			if fd == stop {
				return
			}
			kept := copy(buf, rest[fd])
			m, err := readSome(fd, buf[kept:])
			if err != nil {
				unix.EpollCtl(epoll, unix.EPOLL_CTL_DEL, fd, nil)
				continue
			}
			var left []byte
			out, left = answer(out[:0], buf[:kept+m])
			rest[fd] = append(rest[fd][:0], left...)
			if err := writeAll(fd, out); err != nil && !errors.Is(err, os.ErrClosed) {
				unix.EpollCtl(epoll, unix.EPOLL_CTL_DEL, fd, nil)
			}
		}
	}
}

// answer appends what the packets in b are answered with and returns what is
// left of b.
func answer(out, b []byte) (reply, left []byte) {
	for len(b) >= 2 {
		size, n := 0, 1
		for shift := 0; n < len(b) && n < 5; shift += 7 {
			c := b[n]
			n++
			size |= int(c&0x7f) << shift
			if c < 0x80 {
				break
			}
		}
		if b[n-1] >= 0x80 || len(b) < n+size {
			break
		}
		p := b[n : n+size]
		switch b[0] >> 4 {
		case 1:
			out = append(out, 0x20, 2, 0, 0)
		case 3:
			at := 2 + int(p[0])<<8 + int(p[1])
			out = append(out, 0x40, 2, p[at], p[at+1])
		}
		b = b[n+size:]
	}
	return out, b
}
