package broker

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

// frame is one request as it arrived, decoded as far as all requests are alike.
type frame struct {
	header  header
	rest    []byte // after headerStart
	release func() // gives the bytes back; may be nil
}

// readFrame reads the next request whole.
func (s *Server) readFrame(c *conn, src *bufio.Reader) (frame, error) {
	c.nc.SetReadDeadline(time.Now().Add(s.opts.IdleTimeout))
	var head [4 + headerStart]byte
	if _, err := io.ReadFull(src, head[:]); err != nil {
		return frame{}, err
	}
	size := int32(binary.BigEndian.Uint32(head[:]))
	if size < headerStart || int64(size) > int64(s.opts.MaxRequestBytes) {
		return frame{}, fmt.Errorf("request of %d bytes; %d to %d are served", size, headerStart, s.opts.MaxRequestBytes)
	}
	f := frame{header: parseHeaderStart(head[4:])}
	f.rest = make([]byte, size-headerStart)
	_, err := io.ReadFull(src, f.rest)
	return f, err
}
