package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// boundListener is one listener of the configuration: all sockets of one port.
type boundListener struct {
	Name    string // mqtts, https, mqtt, admin
	Sockets []net.Listener
	Port    int
	// Loopback: no other machine reaches it.
	Loopback bool
}

// boundListeners are the ports of a node, bound before anything else starts.
type boundListeners struct {
	all []*boundListener
	// Devices bounds the connections of devices over all listeners.
	Devices *connLimit
	// LogListen is where the embedded log will listen, a port in place of 0;
	// empty with Kafka.
	LogListen string
}

// named returns a listener, or nil when it is off.
func (b *boundListeners) named(name string) *boundListener {
	for _, l := range b.all {
		if l.Name == name {
			return l
		}
	}
	return nil
}

// Close closes every socket; those that a server has closed already are fine.
func (b *boundListeners) Close() {
	for _, l := range b.all {
		for _, s := range l.Sockets {
			s.Close()
		}
	}
}

// Addrs lists the addresses of the sockets.
func (l *boundListener) Addrs() []string {
	addrs := make([]string, 0, len(l.Sockets))
	for _, s := range l.Sockets {
		addrs = append(addrs, s.Addr().String())
	}
	return addrs
}

// dialAddr is an address that a client on this machine reaches.
func (l *boundListener) dialAddr() string {
	a := l.Sockets[0].Addr().(*net.TCPAddr)
	if a.IP.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(a.Port))
	}
	return a.String()
}

// binder opens sockets. The fields are its seams for tests.
type binder struct {
	listen func(network, addr string) (net.Listener, error)
	goos   string
	// freePorts: a port that is taken or refused is replaced by a free one.
	freePorts bool
}

func newBinder(freePorts bool) *binder {
	return &binder{listen: net.Listen, goos: runtime.GOOS, freePorts: freePorts}
}

// bind opens all configured ports, or none.
func (b *binder) bind(c *Config) (*boundListeners, error) {
	devices := newConnLimit(c.Limits.Connections)
	bound := &boundListeners{Devices: devices}
	for _, e := range c.Listeners.entries() {
		if e.addr == "" {
			continue
		}
		l, err := b.bindOne(c, e)
		if err != nil {
			bound.Close()
			return nil, err
		}
		if e.name == "mqtts" || e.name == "mqtt" {
			for i := range l.Sockets {
				l.Sockets[i] = devices.wrap(l.Sockets[i])
			}
		}
		bound.all = append(bound.all, l)
	}
	if len(c.Log.Kafka) == 0 {
		addr, err := b.reserveLog(c)
		if err != nil {
			bound.Close()
			return nil, err
		}
		bound.LogListen = addr
	}
	return bound, nil
}

func (b *binder) bindOne(c *Config, e listenerEntry) (*boundListener, error) {
	host, portText, err := net.SplitHostPort(e.addr)
	if err != nil {
		return nil, c.bad(e.key, e.addr, "[host]:port", "")
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return nil, c.bad(e.key, e.addr, "[host]:port", "")
	}
	hosts := []listenHost{{addr: host}}
	if host == "" {
		hosts = hostsOf(c, e.name)
	}
	sockets, err := b.bindHosts(hosts, port)
	if err != nil && b.freePorts && port != 0 {
		sockets, err = b.bindHosts(hosts, 0)
	}
	if err != nil {
		return nil, b.explain(c, e, err)
	}
	l := &boundListener{Name: e.name, Sockets: sockets, Port: sockets[0].Addr().(*net.TCPAddr).Port}
	l.Loopback = !slices.ContainsFunc(sockets, func(s net.Listener) bool { return !s.Addr().(*net.TCPAddr).IP.IsLoopback() })
	return l, nil
}

// listenHost is one address to bind. One that is optional may be missing from
// the machine.
type listenHost struct {
	addr     string
	optional bool
}

// hostsOf says what a listener without a host binds to: the loopback addresses
// that the host names stand for while all of them are loopback, else every
// interface. Plain MQTT stays on loopback unless it is allowed elsewhere.
func hostsOf(c *Config, listener string) []listenHost {
	if !c.loopbackOnly() && (listener != "mqtt" || c.Listeners.PlainAnywhere) {
		return []listenHost{{}}
	}
	var hosts []listenHost
	add := func(h listenHost) {
		if !slices.ContainsFunc(hosts, func(x listenHost) bool { return x.addr == h.addr }) {
			hosts = append(hosts, h)
		}
	}
	named := false
	for _, h := range c.Hostnames {
		if a, err := netip.ParseAddr(h); err == nil {
			if a.Unmap().IsLoopback() {
				add(listenHost{addr: a.Unmap().String()})
			}
		} else {
			named = named || isLoopbackName(h)
		}
	}
	if named || len(hosts) == 0 {
		// Clients try either for localhost; containers often lack the second.
		add(listenHost{addr: "127.0.0.1"})
		add(listenHost{addr: "::1", optional: true})
	}
	return hosts
}

// bindHosts binds one port on all hosts. With port 0 the first host chooses; a
// port that is then taken on another is given up for a new choice.
func (b *binder) bindHosts(hosts []listenHost, port int) ([]net.Listener, error) {
	const attempts = 10
	var err error
	for range attempts {
		var sockets []net.Listener
		sockets, err = b.tryHosts(hosts, port)
		if err == nil {
			return sockets, nil
		}
		if port != 0 || !isAddrInUse(err) {
			break
		}
	}
	return nil, err
}

func (b *binder) tryHosts(hosts []listenHost, port int) (sockets []net.Listener, err error) {
	for _, h := range hosts {
		s, err := b.listen("tcp", net.JoinHostPort(h.addr, strconv.Itoa(port)))
		if err != nil && h.optional && isNoSuchAddress(err) && len(sockets) > 0 {
			continue
		}
		if err != nil {
			for _, s := range sockets {
				s.Close()
			}
			return nil, &bindError{host: h.addr, port: port, err: err}
		}
		sockets = append(sockets, s)
		port = s.Addr().(*net.TCPAddr).Port
	}
	return sockets, nil
}

// bindError says which address could not be bound.
type bindError struct {
	host string
	port int
	err  error
}

func (e *bindError) Error() string { return e.err.Error() }
func (e *bindError) Unwrap() error { return e.err }

// reserveLog checks that the embedded log's port is free and settles on one for
// port 0: the log opens it itself a moment later.
func (b *binder) reserveLog(c *Config) (string, error) {
	return b.reserve(c, listenerEntry{name: "log", key: "log.listen", addr: c.Log.Listen})
}

// reserve binds an address and gives it up again.
func (b *binder) reserve(c *Config, e listenerEntry) (string, error) {
	l, err := b.bindOne(c, e)
	if err != nil {
		return "", err
	}
	addr := l.Sockets[0].Addr().String()
	for _, s := range l.Sockets {
		s.Close()
	}
	return addr, nil
}

// explain turns a bind error into one line with a remedy. Whether an operating
// system's error is about rights or a busy port is all that is asked of it.
func (b *binder) explain(c *Config, e listenerEntry, err error) error {
	key, flag := e.key, strings.TrimPrefix(e.key, "--")
	host, port := "", 0
	if be := (*bindError)(nil); errors.As(err, &be) {
		host, port = be.host, be.port
	}
	at := net.JoinHostPort(host, strconv.Itoa(port))
	if origin := c.origin[key]; origin != "" {
		key = origin + ": " + key
	}
	switch {
	case isAddrInUse(err):
		return usagef("%s: port %d is in use on %s by %s; stop it, or choose another port with --%s", key, port, at, portOwner(host, port), flag)
	case isNoRight(err):
		return usagef("%s: this user may not listen on %s; %s", key, at, rightsRemedy(b.goos, flag))
	case isNoSuchAddress(err):
		return usagef("%s: %s is not an address of this machine; choose one that is with --%s", key, at, flag)
	default:
		return usagef("%s: can't listen on %s: %v; choose another with --%s", key, at, err, flag)
	}
}

// rightsRemedy is how ports below 1024 are opened to an ordinary user.
func rightsRemedy(goos, flag string) string {
	switch goos {
	case "linux":
		return "run: sudo setcap 'cap_net_bind_service=+ep' $(command -v gemello), or set AmbientCapabilities=CAP_NET_BIND_SERVICE in its systemd unit, or publish a higher port as this one from a container (--" + flag + ")"
	case "darwin":
		return "listen on all interfaces (macOS refuses low ports on single addresses only), or run it with launchd or sudo, or choose a port above 1023 with --" + flag
	case "windows":
		return "a reserved range may hold it (netsh int ipv4 show excludedportrange tcp); choose another with --" + flag
	default:
		return "run it with the right to open ports below 1024, or choose a higher port with --" + flag
	}
}

// portOwner names the process that listens on a port, or how to find it.
func portOwner(host string, port int) string {
	if pid, name := findPortOwner(host, port); pid != 0 {
		return fmt.Sprintf("process %d (%s)", pid, name)
	}
	switch runtime.GOOS {
	case "linux":
		return fmt.Sprintf("another process (ask: sudo ss -ltnp 'sport = :%d')", port)
	case "windows":
		return fmt.Sprintf("another process (ask: netstat -ano | findstr :%d)", port)
	default:
		return fmt.Sprintf("another process (ask: sudo lsof -nP -iTCP:%d -sTCP:LISTEN)", port)
	}
}
