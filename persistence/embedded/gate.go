package embedded

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// gate is the listener that the broker accepts from. Each connection it hands
// out shows the broker only whole, known, bounded requests in an allowed
// order.
type gate struct {
	net.Listener
	addr       net.Addr
	maxRequest int
	slots      chan struct{} // one for each open connection

	mu     sync.Mutex // guards conns and closed; not held during I/O
	conns  map[*gateConn]struct{}
	closed bool

	writes writeDoor
	// flush makes what a response acknowledges durable; nil if that is not
	// wanted. It is set before the first connection is accepted.
	flush *flusher
}

func newGate(ln net.Listener, o Options) *gate {
	g := &gate{
		Listener:   ln,
		addr:       ln.Addr(),
		maxRequest: o.MaxRequestBytes,
		slots:      make(chan struct{}, o.MaxConnections),
		conns:      make(map[*gateConn]struct{}),
	}
	g.writes.changed = make(chan struct{})
	if o.Advertise != "" {
		g.addr = advertised(o.Advertise)
	}
	return g
}

// advertised is an address that the broker tells its clients.
type advertised string

func (advertised) Network() string  { return "tcp" }
func (a advertised) String() string { return string(a) }

// Addr is what the broker tells its clients.
func (g *gate) Addr() net.Addr { return g.addr }

// Accept hands out the next connection. Those above the limit wait in the
// system's queue.
func (g *gate) Accept() (net.Conn, error) {
	g.slots <- struct{}{}
	conn, err := g.Listener.Accept()
	if err != nil {
		<-g.slots
		return nil, err
	}
	c := &gateConn{Conn: conn, gate: g}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		conn.Close()
		<-g.slots
		return nil, net.ErrClosed
	}
	g.conns[c] = struct{}{}
	return c, nil
}

// close ends the listener and all connections.
func (g *gate) close() {
	g.Listener.Close()
	g.mu.Lock()
	g.closed = true
	conns := make([]*gateConn, 0, len(g.conns))
	for c := range g.conns {
		conns = append(conns, c)
	}
	g.mu.Unlock()
	for _, c := range conns {
		c.Close()
	}
}

func (g *gate) forget(c *gateConn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.conns[c]; ok {
		delete(g.conns, c)
		<-g.slots
	}
}

// Request keys that matter here.
var (
	keyProduce          = int16(kmsg.Produce)
	keySASLHandshake    = int16(kmsg.SASLHandshake)
	keySASLAuthenticate = int16(kmsg.SASLAuthenticate)
	keyInitProducerID   = int16(kmsg.InitProducerID)
	keyAddPartitions    = int16(kmsg.AddPartitionsToTxn)
	keyEndTxn           = int16(kmsg.EndTxn)
	keyTxnOffsetCommit  = int16(kmsg.TxnOffsetCommit)
)

// scramSteps is how many authenticate requests a SCRAM exchange takes.
const scramSteps = 2

// errRefused is what the broker sees of a request that the gate refused; it
// ends the connection.
var errRefused = errors.New("request refused")

// gateConn shows the broker a stream of checked requests. The broker reads
// from one goroutine and writes from another, one response for one request.
type gateConn struct {
	net.Conn
	gate *gate

	// The reading side: head is what is left of the start of the current
	// request, body how much of it is still to come.
	frame [4 + headSize]byte
	head  []byte
	body  int
	steps int // authenticate requests that must come next

	mu      sync.Mutex // guards what follows, between the two sides
	request request    // the one that the broker has
	writing bool       // it writes
	gone    bool
}

// headSize is how much of a request is read before it is shown to the broker;
// it holds a whole EndTxn and what stands before the records of a Produce.
const headSize = 4096

// request is what is known of a request.
type request struct {
	key, version int16
	txn          string // transactional id of Produce, EndTxn and InitProducerID
}

func (c *gateConn) Read(p []byte) (int, error) {
	if len(c.head) == 0 && c.body == 0 {
		if err := c.next(); err != nil {
			return 0, err
		}
	}
	if len(c.head) > 0 {
		n := copy(p, c.head)
		c.head = c.head[n:]
		return n, nil
	}
	n, err := c.Conn.Read(p[:min(len(p), c.body)])
	c.body -= n
	return n, err
}

// next reads the start of a request and decides about it.
func (c *gateConn) next() error {
	if _, err := io.ReadFull(c.Conn, c.frame[:4]); err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(c.frame[:4])
	// The broker reserves what the size says before it reads, and looks up the
	// key without asking whether there is such a request.
	if size < 8 || uint64(size) > uint64(c.gate.maxRequest) {
		return errRefused
	}
	head := c.frame[4 : 4+min(int(size), headSize)]
	if _, err := io.ReadFull(c.Conn, head); err != nil {
		return err
	}
	req := parseRequest(head)
	if kmsg.RequestForKey(req.key) == nil || !c.authenticates(req.key) {
		return errRefused
	}
	if err := c.enter(req); err != nil {
		return err
	}
	c.head = c.frame[:4+len(head)]
	c.body = int(size) - len(head)
	return nil
}

// parseRequest reads the start of a request; head has at least eight bytes. A
// request that it can't read has no transactional id; the broker will not be
// able to read it either.
func parseRequest(head []byte) request {
	req := request{
		key:     int16(binary.BigEndian.Uint16(head)),
		version: int16(binary.BigEndian.Uint16(head[2:])),
	}
	switch req.key {
	case keyProduce, keyEndTxn, keyInitProducerID:
	default:
		return req
	}
	kreq := kmsg.RequestForKey(req.key)
	kreq.SetVersion(req.version)
	r := kbin.Reader{Src: head[8:]}
	r.NullableString() // client id
	if kreq.IsFlexible() {
		kmsg.SkipTags(&r)
	}
	// In all three the transactional id comes first; it is null or, in the
	// second, never is.
	var id *string
	if kreq.IsFlexible() {
		id = r.CompactNullableString()
	} else {
		id = r.NullableString()
	}
	if r.Complete() != nil && !r.Ok() || id == nil {
		return req
	}
	req.txn = *id
	return req
}

// authenticates keeps a connection from doing anything else once it has begun
// to authenticate: the broker believes a name from the first step on, and
// drops the connection only when the second one fails.
func (c *gateConn) authenticates(key int16) bool {
	switch {
	case key == keySASLHandshake:
		if c.steps > 0 {
			return false
		}
		c.steps = scramSteps
		return true
	case c.steps > 0:
		c.steps--
		return key == keySASLAuthenticate
	}
	return key != keySASLAuthenticate
}

func writes(key int16) bool {
	switch key {
	case keyProduce, keyInitProducerID, keyAddPartitions, keyEndTxn, keyTxnOffsetCommit:
		return true
	}
	return false
}

// enter notes the request that goes to the broker next, and waits at the door
// if it writes.
func (c *gateConn) enter(req request) error {
	// A produce request without acknowledgement went before, if it is still
	// inside.
	c.leave(false)
	if writes(req.key) {
		c.gate.writes.enter()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.request = req
	c.writing = writes(req.key)
	if c.gone && c.writing {
		c.writing = false
		c.gate.writes.leave()
		return net.ErrClosed
	}
	return nil
}

func (c *gateConn) leave(gone bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = c.gone || gone
	if c.writing {
		c.writing = false
		c.gate.writes.leave()
	}
}

// Write sends a response, of which the broker writes each in one piece.
func (c *gateConn) Write(p []byte) (int, error) {
	c.leave(false)
	if c.gate.flush != nil {
		c.mu.Lock()
		req := c.request
		c.mu.Unlock()
		if err := c.gate.flush.settle(req, p); err != nil {
			return 0, err // and the broker drops the connection
		}
	}
	return c.Conn.Write(p)
}

func (c *gateConn) Close() error {
	c.leave(true)
	c.gate.forget(c)
	return c.Conn.Close()
}
