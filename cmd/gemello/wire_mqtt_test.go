package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// hello is a CONNECT as a device's SDK sends it. What is left out is what Node
// sends, with a clean session.
type hello struct {
	id        string // client id
	user      string // "": HOST/ID/?api-version=2021-04-12
	password  string // "": the device's token; none: none
	persist   bool
	keepAlive uint16
	socket    string            // "": MQTT over TLS; else the request line's target for MQTT over WebSocket
	headers   map[string]string // of the upgrade, in place of the usual ones
	tls       *tls.Config       // "": the rig's
	will      string            // topic
	willBody  string
}

// frames is an MQTT 3.1.1 connection of frames made by hand.
type frames struct {
	t     *testing.T
	id    string
	nc    net.Conn
	in    *bufio.Reader
	state tls.ConnectionState
	// code and present are what CONNACK said.
	code    byte
	present bool
	parked  []frame // PUBLISH packets that came while another kind was awaited
}

type frame struct {
	first byte
	body  []byte
}

// publication is a PUBLISH that came.
type publication struct {
	topic string
	qos   byte
	id    uint16
	body  string
}

// dial opens the stream and answers with CONNACK's code in the frames.
func (n *wireNode) dial(h hello) (*frames, error) {
	config := h.tls
	if config == nil {
		config = n.tls()
	}
	listener := "mqtts"
	if h.socket != "" {
		listener = "https"
	}
	nc, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", n.address(listener), config)
	if err != nil {
		return nil, err
	}
	f := &frames{t: n.t, id: h.id, nc: nc, state: nc.ConnectionState()}
	nc.SetDeadline(time.Now().Add(patience))
	f.in = bufio.NewReader(nc)
	if h.socket != "" {
		if f.nc, err = upgrade(nc, f.in, h); err != nil {
			nc.Close()
			return nil, err
		}
		f.in = bufio.NewReader(f.nc)
	}
	if h.user == "" {
		h.user = wireHost + "/" + h.id + "/?api-version=2021-04-12"
	}
	if h.password == "" {
		h.password = n.deviceToken(h.id)
	}
	flags, tail := byte(0x80), text(nil, h.id)
	if !h.persist {
		flags |= 0x02
	}
	if h.will != "" {
		flags |= 0x04
		tail = text(text(tail, h.will), h.willBody)
	}
	if tail = text(tail, h.user); h.password != none {
		flags |= 0x40
		tail = text(tail, h.password)
	}
	head := append(text(nil, "MQTT"), 4, flags, byte(h.keepAlive>>8), byte(h.keepAlive))
	if err := f.write(packet(0x10, head, tail)); err == nil {
		var p frame
		if p, err = f.read(); err == nil && (p.first != 0x20 || len(p.body) != 2) {
			err = fmt.Errorf("answer to CONNECT: %x %x", p.first, p.body)
		}
		if err == nil {
			f.present, f.code = p.body[0] == 1, p.body[1]
			return f, nil
		}
		nc.Close()
		return nil, fmt.Errorf("no CONNACK: %w", err)
	}
	nc.Close()
	return nil, err
}

// connect is dial that expects to be let in.
func (n *wireNode) connect(h hello) *frames {
	n.t.Helper()
	f := n.answered(h)
	if f.code != 0 {
		n.t.Fatalf("%s: CONNACK %d", h.id, f.code)
	}
	return f
}

// answered is dial that expects a CONNACK.
func (n *wireNode) answered(h hello) *frames {
	n.t.Helper()
	f, err := n.dial(h)
	if err != nil {
		n.t.Fatalf("%s: %v", h.id, err)
	}
	n.t.Cleanup(func() { f.nc.Close() })
	return f
}

func text(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

func packet(first byte, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	return append(binary.AppendUvarint([]byte{first}, uint64(len(body))), body...)
}

func (f *frames) write(b []byte) error {
	f.nc.SetWriteDeadline(time.Now().Add(patience))
	_, err := f.nc.Write(b)
	return err
}

func (f *frames) send(b []byte) {
	f.t.Helper()
	if err := f.write(b); err != nil {
		f.t.Fatalf("%s: %v", f.id, err)
	}
}

func (f *frames) read() (frame, error) {
	f.nc.SetReadDeadline(time.Now().Add(patience))
	first, err := f.in.ReadByte()
	if err != nil {
		return frame{}, err
	}
	size, err := binary.ReadUvarint(f.in)
	if err != nil {
		return frame{}, err
	}
	p := frame{first, make([]byte, size)}
	_, err = io.ReadFull(f.in, p.body)
	return p, err
}

// expect returns the next packet of a type; a PUBLISH before it is kept for
// later.
func (f *frames) expect(kind byte) frame {
	f.t.Helper()
	if kind == 3 && len(f.parked) > 0 {
		p := f.parked[0]
		f.parked = f.parked[1:]
		return p
	}
	for {
		p, err := f.read()
		if err != nil {
			f.t.Fatalf("%s: no packet of type %d: %v", f.id, kind, err)
		}
		if p.first>>4 == kind {
			return p
		}
		if p.first>>4 != 3 {
			f.t.Fatalf("%s: packet %x %.80q, want type %d", f.id, p.first, p.body, kind)
		}
		f.parked = append(f.parked, p)
	}
}

func publishPacket(flags byte, topic string, id uint16, body string) []byte {
	var ids []byte
	if flags&6 != 0 {
		ids = binary.BigEndian.AppendUint16(nil, id)
	}
	return packet(0x30|flags, text(nil, topic), ids, []byte(body))
}

// Flags of a PUBLISH.
const (
	qos0 = 0x00
	qos1 = 0x02
	dup  = 0x08
)

// publish sends a message with QoS 1 and waits for its PUBACK.
func (f *frames) publish(topic, body string) {
	f.t.Helper()
	f.send(publishPacket(qos1, topic, 7, body))
	f.acked(7)
}

func (f *frames) acked(id uint16) {
	f.t.Helper()
	if p := f.expect(4); binary.BigEndian.Uint16(p.body) != id {
		f.t.Fatalf("%s: PUBACK %x, want %d", f.id, p.body, id)
	}
}

// subscribe returns the codes of SUBACK.
func (f *frames) subscribe(qos byte, filters ...string) []byte {
	f.t.Helper()
	b := []byte{0, 9}
	for _, s := range filters {
		b = append(text(b, s), qos)
	}
	f.send(packet(0x82, b))
	return f.expect(9).body[2:]
}

// received returns the next PUBLISH and acknowledges it.
func (f *frames) received() (m publication) {
	f.t.Helper()
	p := f.expect(3)
	m.qos = p.first >> 1 & 3
	size := 2 + int(binary.BigEndian.Uint16(p.body))
	m.topic = string(p.body[2:size])
	if m.qos > 0 {
		m.id = binary.BigEndian.Uint16(p.body[size:])
		size += 2
		f.send([]byte{0x40, 2, byte(m.id >> 8), byte(m.id)})
	}
	m.body = string(p.body[size:])
	return m
}

// ping makes sure that all before it has been handled.
func (f *frames) ping() {
	f.t.Helper()
	f.send([]byte{0xc0, 0})
	f.expect(13)
}

// ended expects the node to end the stream.
func (f *frames) ended() {
	f.t.Helper()
	for {
		p, err := f.read()
		var timeout net.Error
		switch {
		case err == nil && p.first>>4 == 3, err == nil && p.first>>4 == 4:
			continue
		case err == nil:
			f.t.Fatalf("%s: packet %x, want the end", f.id, p.first)
		case errors.As(err, &timeout) && timeout.Timeout():
			f.t.Fatalf("%s: the connection lives on", f.id)
		}
		return
	}
}

// leave says goodbye and waits until the node has closed.
func (f *frames) leave() {
	f.t.Helper()
	f.send([]byte{0xe0, 0})
	f.ended()
	f.nc.Close()
}

// socketTarget is where WebSockets are opened.
const socketTarget = "/$iothub/websocket"

// upgrade makes a WebSocket of a stream; in reads it.
func upgrade(nc net.Conn, in *bufio.Reader, h hello) (net.Conn, error) {
	headers := map[string]string{
		"Host": wireHost, "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
		"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol": "mqtt",
	}
	for k, v := range h.headers {
		headers[k] = v
	}
	request := "GET " + h.socket + " HTTP/1.1\r\n"
	for k, v := range headers {
		request += k + ": " + v + "\r\n"
	}
	if _, err := nc.Write([]byte(request + "\r\n")); err != nil {
		return nil, err
	}
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusSwitchingProtocols || !strings.EqualFold(res.Header.Get("Sec-WebSocket-Protocol"), "mqtt") {
		return nil, fmt.Errorf("upgrade: %s", res.Status)
	}
	return &socket{Conn: nc, in: in}, nil
}

// socket is the client's side of a WebSocket: each write is a binary message.
type socket struct {
	net.Conn
	in   *bufio.Reader
	left int // of the frame that is being read
}

func (s *socket) Write(p []byte) (int, error) {
	b := []byte{0x82}
	switch n := len(p); {
	case n <= 125:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	mask := [4]byte{1, 0x82, 3, 0xf4}
	b = append(b, mask[:]...)
	for i := range p {
		b = append(b, p[i]^mask[i&3])
	}
	if _, err := s.Conn.Write(b); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (s *socket) Read(p []byte) (int, error) {
	for s.left == 0 {
		var head [2]byte
		if _, err := io.ReadFull(s.in, head[:]); err != nil {
			return 0, err
		}
		size := make([]byte, map[byte]int{126: 2, 127: 8}[head[1]])
		if _, err := io.ReadFull(s.in, size); err != nil {
			return 0, err
		}
		if head[0]&0x0f == 8 {
			return 0, io.EOF
		}
		switch len(size) {
		case 2:
			s.left = int(binary.BigEndian.Uint16(size))
		case 8:
			s.left = int(binary.BigEndian.Uint64(size))
		default:
			s.left = int(head[1])
		}
	}
	n, err := s.in.Read(p[:min(len(p), s.left)])
	s.left -= n
	return n, err
}
