package websocket

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// ErrProtocol is a frame that RFC 6455 forbids, or text.
var ErrProtocol = errors.New("websocket: protocol error")

// The opcodes.
const (
	opContinuation = 0
	opBinary       = 2
	opClose        = 8
	opPing         = 9
	opPong         = 10
)

// Status codes of a close frame.
const (
	closeNormal      = 1000
	closeProtocol    = 1002
	closeUnsupported = 1003
)

const (
	maxControl = 125 // bytes of a control frame's payload
	readBuffer = 512 // bytes; holds the greatest control frame
	// oneWrite is up to which payload header and payload leave together, in bytes.
	oneWrite = 16 << 10
	// closeTime is how long the peer has to take a pong or close frame.
	closeTime = time.Second
)

// Conn is the server's end of a WebSocket. One goroutine may read and others
// write at the same time.
type Conn struct {
	nc      net.Conn
	release func()
	once    sync.Once

	br      *bufio.Reader // the reader's alone, as the following
	left    uint64        // of the data frame under way, in bytes
	mask    [4]byte
	at      int  // in mask
	partial bool // the message goes on in the next data frame
	err     error

	mu sync.Mutex // guards writing
}

var _ net.Conn = (*Conn)(nil)

func newConn(nc net.Conn, r io.Reader, release func()) *Conn {
	return &Conn{nc: nc, br: bufio.NewReaderSize(r, readBuffer), release: release}
}

// Read reads from the stream; io.EOF after the peer's close frame.
func (c *Conn) Read(p []byte) (int, error) {
	for c.err == nil {
		if c.left == 0 {
			if err := c.next(); err != nil {
				return 0, err
			}
			continue
		}
		if len(p) == 0 {
			return 0, nil
		}
		n, err := c.br.Read(p[:min(uint64(len(p)), c.left)])
		for i := range n {
			p[i] ^= c.mask[(c.at+i)&3]
		}
		c.at, c.left = (c.at+n)&3, c.left-uint64(n)
		return n, err
	}
	return 0, c.err
}

// next reads a header, and answers control frames. Nothing is taken from the
// buffer before the frame is understood, so that a read that ends at its deadline
// changes nothing.
func (c *Conn) next() error {
	b, err := c.br.Peek(2)
	if err != nil {
		return err
	}
	fin, op, masked, size := b[0]&0x80 != 0, b[0]&0x0f, b[1]&0x80 != 0, uint64(b[1]&0x7f)
	if b[0]&0x70 != 0 || !masked {
		return c.breach(closeProtocol)
	}
	header := 2
	switch size {
	case 126:
		header += 2
	case 127:
		header += 8
	}
	if b, err = c.br.Peek(header + 4); err != nil {
		return err
	}
	switch size {
	case 126:
		size = uint64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		if size = binary.BigEndian.Uint64(b[2:]); size>>63 != 0 {
			return c.breach(closeProtocol)
		}
	}
	var mask [4]byte
	copy(mask[:], b[header:])
	header += 4
	switch op {
	case opBinary, opContinuation:
		if (op == opContinuation) != c.partial {
			return c.breach(closeProtocol)
		}
		c.partial = !fin
		c.left, c.mask, c.at = size, mask, 0
		_, err = c.br.Discard(header)
		return err
	case opClose, opPing, opPong:
		if !fin || size > maxControl {
			return c.breach(closeProtocol)
		}
		return c.control(op, header, int(size), mask)
	case 1:
		return c.breach(closeUnsupported)
	}
	return c.breach(closeProtocol)
}

func (c *Conn) control(op byte, header, size int, mask [4]byte) error {
	b, err := c.br.Peek(header + size)
	if err != nil {
		return err
	}
	payload := make([]byte, size)
	for i := range payload {
		payload[i] = b[header+i] ^ mask[i&3]
	}
	if _, err := c.br.Discard(header + size); err != nil {
		return err
	}
	switch op {
	case opPing:
		c.mu.Lock()
		defer c.mu.Unlock()
		_, err := c.writeLocked(opPong, payload)
		return err
	case opClose:
		c.sayGoodbye(closeNormal)
		c.err = io.EOF
		return c.err
	}
	return nil
}

func (c *Conn) breach(code uint16) error {
	c.sayGoodbye(code)
	c.err = ErrProtocol
	return c.err
}

// sayGoodbye sends a close frame, if nothing else is being written.
func (c *Conn) sayGoodbye(code uint16) {
	if !c.mu.TryLock() {
		return
	}
	defer c.mu.Unlock()
	c.nc.SetWriteDeadline(time.Now().Add(closeTime))
	c.writeLocked(opClose, binary.BigEndian.AppendUint16(nil, code))
}

// Write sends p as one binary message.
func (c *Conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.writeLocked(opBinary, p)
}

func (c *Conn) writeLocked(op byte, p []byte) (int, error) {
	b := make([]byte, 0, 10+min(len(p), oneWrite))
	b = append(b, 0x80|op)
	switch n := len(p); {
	case n <= 125:
		b = append(b, byte(n))
	case n < 1<<16:
		b = append(b, 126)
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	default:
		b = append(b, 127)
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	if len(p) <= oneWrite {
		if _, err := c.nc.Write(append(b, p...)); err != nil {
			return 0, err
		}
		return len(p), nil
	}
	if _, err := c.nc.Write(b); err != nil {
		return 0, err
	}
	return c.nc.Write(p)
}

// Close ends the connection, with a close frame if the peer takes one in time.
func (c *Conn) Close() error {
	err := net.ErrClosed
	c.once.Do(func() {
		c.sayGoodbye(closeNormal)
		err = c.nc.Close()
		if c.release != nil {
			c.release()
		}
	})
	return err
}

// ConnectionState is that of TLS, for the certificates of the peer; the zero value
// without TLS.
func (c *Conn) ConnectionState() tls.ConnectionState {
	if t, ok := c.nc.(interface{ ConnectionState() tls.ConnectionState }); ok {
		return t.ConnectionState()
	}
	return tls.ConnectionState{}
}

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return c.nc.LocalAddr() }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return c.nc.RemoteAddr() }

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error { return c.nc.SetDeadline(t) }

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.nc.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.nc.SetWriteDeadline(t) }
