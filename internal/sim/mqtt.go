package sim

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gemello/gemello/device/credential"
)

// session is one MQTT 3.1.1 connection of a device. It is written here rather
// than taken from a library because the run must know exactly what was handed
// to the network and what was acknowledged before a connection broke.
type session struct {
	conn net.Conn
	done chan struct{} // closed when the connection is gone

	write sync.Mutex // serialises packets

	mu      sync.Mutex // guards the following
	next    uint16
	pubacks map[uint16]func()
	answers map[string]func(status int, version int64, body []byte)

	hears hearing
}

// hearing is what a session hears beside answers, on its reader. A nil function
// is not subscribed to.
type hearing struct {
	desired func(version int64, patch []byte)
	method  func(s *session, rid, name string, payload []byte)
}

const (
	packetConnack   = 2
	packetPublish   = 3
	packetPuback    = 4
	packetSuback    = 9
	dialTimeout     = 2 * time.Second
	maxPacket       = 1 << 20
	keepAlive       = 60 // seconds; a round is shorter
	twinAnswers     = "$iothub/twin/res/#"
	desiredChanges  = "$iothub/twin/PATCH/properties/desired/"
	twinRequest     = "$iothub/twin/GET/?$rid="
	reportedRequest = "$iothub/twin/PATCH/properties/reported/?$rid="
	methodRequests  = "$iothub/methods/POST/"
	methodResponse  = "$iothub/methods/res/"
)

var errRefused = errors.New("connection refused")

// endpoint is where devices connect.
type endpoint struct {
	addr string
	host string      // HostName of connection strings
	tls  *tls.Config // nil: without TLS
}

// dial connects a device and subscribes it to the answers of its twin and to
// what it hears.
func dial(ctx context.Context, e *endpoint, id string, key credential.Key, hears hearing) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	var d interface {
		DialContext(ctx context.Context, network, addr string) (net.Conn, error)
	} = &net.Dialer{}
	if e.tls != nil {
		d = &tls.Dialer{Config: e.tls}
	}
	conn, err := d.DialContext(ctx, "tcp", e.addr)
	if err != nil {
		return nil, err
	}
	s := &session{
		conn: conn, done: make(chan struct{}), hears: hears,
		pubacks: map[uint16]func(){}, answers: map[string]func(int, int64, []byte){},
	}
	if err := s.begin(e, id, key); err != nil {
		conn.Close()
		return nil, fmt.Errorf("connect %s: %w", id, err)
	}
	return s, nil
}

func (s *session) begin(e *endpoint, id string, key credential.Key) error {
	s.conn.SetDeadline(time.Now().Add(dialTimeout))
	token := credential.Sign(e.host+"/devices/"+id, time.Now().Add(time.Hour), key, "")
	var b []byte
	b = text(b, "MQTT")
	b = append(b, 4, 0xC2, 0, keepAlive) // 3.1.1; user name, password, clean session
	for _, v := range []string{id, e.host + "/" + id + "/?api-version=2021-04-12", token} {
		b = text(b, v)
	}
	if err := s.send(0x10, b); err != nil {
		return err
	}
	r := bufio.NewReader(s.conn)
	kind, body, err := readPacket(r)
	if err != nil {
		return err
	}
	if kind>>4 != packetConnack || len(body) < 2 || body[1] != 0 {
		return fmt.Errorf("%w: %x", errRefused, body)
	}
	filters := append(text([]byte{0, 1}, twinAnswers), 0)
	if s.hears.desired != nil {
		filters = append(text(filters, desiredChanges+"#"), 0)
	}
	if s.hears.method != nil {
		filters = append(text(filters, methodRequests+"#"), 0)
	}
	if err := s.send(0x82, filters); err != nil {
		return err
	}
	if kind, _, err = readPacket(r); err != nil || kind>>4 != packetSuback {
		return fmt.Errorf("subscribe: packet %d: %w", kind>>4, errors.Join(errRefused, err))
	}
	s.next = 1
	s.conn.SetDeadline(time.Time{})
	go s.read(r)
	return nil
}

// read handles what comes until the connection ends.
func (s *session) read(r *bufio.Reader) {
	defer close(s.done)
	defer s.conn.Close()
	for {
		kind, body, err := readPacket(r)
		if err != nil {
			return
		}
		switch kind >> 4 {
		case packetPuback:
			if len(body) < 2 {
				return
			}
			s.take(binary.BigEndian.Uint16(body))
		case packetPublish:
			if len(body) < 2 || len(body) < 2+int(binary.BigEndian.Uint16(body)) {
				return
			}
			end := 2 + binary.BigEndian.Uint16(body)
			s.heard(string(body[2:end]), body[end:])
		}
	}
}

func (s *session) take(id uint16) {
	s.mu.Lock()
	done := s.pubacks[id]
	delete(s.pubacks, id)
	s.mu.Unlock()
	if done != nil {
		done()
	}
}

// heard handles $iothub/twin/res/STATUS/?$rid=ID&$version=N,
// $iothub/twin/PATCH/properties/desired/?$version=N and
// $iothub/methods/POST/NAME/?$rid=ID.
func (s *session) heard(topic string, body []byte) {
	kind, query, ok := strings.Cut(topic, "?")
	values, err := url.ParseQuery(query)
	if !ok || err != nil {
		return
	}
	version, _ := strconv.ParseInt(values.Get("$version"), 10, 64)
	if kind == desiredChanges {
		if s.hears.desired != nil {
			s.hears.desired(version, body)
		}
		return
	}
	if name, ok := strings.CutPrefix(kind, methodRequests); ok {
		if s.hears.method != nil {
			s.hears.method(s, values.Get("$rid"), strings.TrimSuffix(name, "/"), body)
		}
		return
	}
	status, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(kind, "$iothub/twin/res/"), "/"))
	s.mu.Lock()
	done := s.answers[values.Get("$rid")]
	delete(s.answers, values.Get("$rid"))
	s.mu.Unlock()
	if done != nil {
		done(status, version, body)
	}
}

// publish sends one message with QoS 1; acked runs from the reader.
func (s *session) publish(id string, payload []byte, again bool, acked func()) error {
	s.mu.Lock()
	s.next++
	if s.next == 0 {
		s.next = 1
	}
	number := s.next
	s.pubacks[number] = acked
	s.mu.Unlock()
	flags := byte(0x32)
	if again {
		flags |= 8
	}
	b := text(nil, "devices/"+id+"/messages/events/")
	b = binary.BigEndian.AppendUint16(b, number)
	return s.send(flags, append(b, payload...))
}

// patch sends a reported patch; answered runs from the reader.
func (s *session) patch(rid string, patch []byte, answered func(status int, version int64, body []byte)) error {
	return s.request(reportedRequest, rid, patch, answered)
}

// request sends a request about the twin; answered runs from the reader.
func (s *session) request(topic, rid string, body []byte, answered func(status int, version int64, body []byte)) error {
	s.mu.Lock()
	s.answers[rid] = answered
	s.mu.Unlock()
	return s.send(0x30, append(text(nil, topic+rid), body...))
}

// answer answers a method.
func (s *session) answer(rid string, status int, payload []byte) error {
	return s.send(0x30, append(text(nil, fmt.Sprintf("%s%d/?$rid=%s", methodResponse, status, url.QueryEscape(rid))), payload...))
}

func (s *session) close() { s.conn.Close() }

func (s *session) send(first byte, body []byte) error {
	b := []byte{first}
	for n := len(body); ; {
		digit := byte(n & 127)
		if n >>= 7; n == 0 {
			b = append(b, digit)
			break
		}
		b = append(b, digit|128)
	}
	s.write.Lock()
	defer s.write.Unlock()
	_, err := s.conn.Write(append(b, body...))
	return err
}

func readPacket(r *bufio.Reader) (kind byte, body []byte, err error) {
	if kind, err = r.ReadByte(); err != nil {
		return 0, nil, err
	}
	length, err := binary.ReadUvarint(r) // the same coding
	if err != nil {
		return 0, nil, err
	}
	if length > maxPacket {
		return 0, nil, fmt.Errorf("packet of %d bytes", length)
	}
	body = make([]byte, length)
	_, err = io.ReadFull(r, body)
	return kind, body, err
}

func text(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
}
