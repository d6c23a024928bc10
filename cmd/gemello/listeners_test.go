package main

import (
	"errors"
	"net"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func TestListenersWithoutHost(t *testing.T) {
	loopback := []listenHost{{addr: "127.0.0.1"}, {addr: "::1", optional: true}}
	for _, tc := range []struct {
		name      string
		hostnames []string
		listener  string
		anywhere  bool
		want      []listenHost
	}{
		{name: "localhost means both loopbacks", hostnames: []string{"localhost"}, want: loopback},
		{name: "the default", hostnames: []string{"localhost", "127.0.0.1"}, want: loopback},
		{name: "a loopback address means itself", hostnames: []string{"127.0.0.21"}, want: []listenHost{{addr: "127.0.0.21"}}},
		{name: "several", hostnames: []string{"127.0.0.21", "127.0.0.22", "::1"}, want: []listenHost{{addr: "127.0.0.21"}, {addr: "127.0.0.22"}, {addr: "::1"}}},
		{name: "a name below localhost", hostnames: []string{"hub.localhost", "127.0.0.21"}, want: []listenHost{{addr: "127.0.0.21"}, loopback[0], loopback[1]}},
		{name: "a public name means all interfaces", hostnames: []string{"localhost", "hub.example.com"}, want: []listenHost{{}}},
		{name: "a public address means all interfaces", hostnames: []string{"10.0.0.1"}, want: []listenHost{{}}},
		{name: "plain MQTT stays on loopback", hostnames: []string{"hub.example.com"}, listener: "mqtt", want: loopback},
		{name: "unless allowed elsewhere", hostnames: []string{"hub.example.com"}, listener: "mqtt", anywhere: true, want: []listenHost{{}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := &Config{Hostnames: tc.hostnames, Listeners: ListenersConfig{PlainAnywhere: tc.anywhere}}
			if got := hostsOf(c, tc.listener); !reflect.DeepEqual(got, tc.want) {
				t.Errorf("hosts %+v, want %+v", got, tc.want)
			}
		})
	}
}

// testConfig listens on free ports of one loopback address.
func testConfig(host string) *Config {
	c := defaultConfig()
	c.Hostnames = []string{host}
	c.Log.Listen = net.JoinHostPort(host, "0")
	c.Listeners = ListenersConfig{MQTTS: ":0", Admin: net.JoinHostPort(host, "0")}
	return c
}

func TestBindOpensEveryPortOnceAndNamesIt(t *testing.T) {
	bound, err := newBinder(false).bind(testConfig("127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	defer bound.Close()
	mqtts, admin := bound.named("mqtts"), bound.named("admin")
	if mqtts == nil || admin == nil || bound.named("https") != nil || bound.named("mqtt") != nil {
		t.Fatalf("listeners %+v", bound.all)
	}
	if mqtts.Port == 0 || !mqtts.Loopback || mqtts.dialAddr() != "127.0.0.1:"+strconv.Itoa(mqtts.Port) {
		t.Errorf("mqtts %+v at %s", mqtts, mqtts.dialAddr())
	}
	if _, port, err := net.SplitHostPort(bound.LogListen); err != nil || port == "0" {
		t.Errorf("the log's port is open: %q", bound.LogListen)
	}
}

func TestAllSocketsOfAListenerShareAPort(t *testing.T) {
	c := testConfig("localhost")
	c.Hostnames = []string{"127.0.0.31", "127.0.0.32"}
	bound, err := newBinder(false).bind(c)
	if errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Skip("this system has one loopback address")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer bound.Close()
	l := bound.named("mqtts")
	if len(l.Sockets) != 2 {
		t.Fatalf("sockets %v", l.Addrs())
	}
	for _, s := range l.Sockets {
		if s.Addr().(*net.TCPAddr).Port != l.Port {
			t.Errorf("ports differ: %v", l.Addrs())
		}
	}
}

func TestBusyPortIsNamedWithItsOwner(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := strconv.Itoa(taken.Addr().(*net.TCPAddr).Port)
	for key, set := range map[string]func(*Config){
		"listeners.mqtts": func(c *Config) { c.Listeners.MQTTS = ":" + port },
		"listeners.admin": func(c *Config) { c.Listeners.Admin = "127.0.0.1:" + port },
		"log.listen":      func(c *Config) { c.Log.Listen = "127.0.0.1:" + port },
	} {
		t.Run(key, func(t *testing.T) {
			c := testConfig("127.0.0.1")
			set(c)
			_, err := newBinder(false).bind(c)
			wantUsage(t, err, key, "port "+port+" is in use", "--"+key)
			owner := "ask: "
			if pid, _ := findPortOwner("127.0.0.1", taken.Addr().(*net.TCPAddr).Port); pid != 0 {
				owner = "process " + strconv.Itoa(os.Getpid())
			}
			if !strings.Contains(err.Error(), owner) {
				t.Errorf("error %q lacks %q", err, owner)
			}
		})
		t.Run(key+" in a demo", func(t *testing.T) {
			c := testConfig("127.0.0.1")
			set(c)
			bound, err := newBinder(true).bind(c)
			if err != nil {
				t.Fatal(err)
			}
			defer bound.Close()
			var ports []string
			for _, l := range bound.all {
				ports = append(ports, strconv.Itoa(l.Port))
			}
			_, logPort, _ := net.SplitHostPort(bound.LogListen)
			if slices.Contains(append(ports, logPort), port) {
				t.Errorf("ports %v %s: the taken one is among them", ports, logPort)
			}
		})
	}
}

func TestRefusedPortHasTheSystemsRemedy(t *testing.T) {
	refuse := func(network, addr string) (net.Listener, error) {
		if strings.HasSuffix(addr, ":443") {
			return nil, &net.OpError{Op: "listen", Net: network, Err: os.NewSyscallError("bind", syscall.EACCES)}
		}
		return net.Listen(network, addr)
	}
	for goos, parts := range map[string][]string{
		"linux":   {"setcap 'cap_net_bind_service=+ep'", "AmbientCapabilities=CAP_NET_BIND_SERVICE", "container"},
		"darwin":  {"all interfaces", "launchd"},
		"windows": {"excludedportrange"},
		"freebsd": {"below 1024"},
	} {
		t.Run(goos, func(t *testing.T) {
			c := testConfig("127.0.0.1")
			c.Listeners.HTTPS = ":443"
			c.origin = map[string]string{"listeners.https": "c.yaml:7"}
			_, err := (&binder{listen: refuse, goos: goos}).bind(c)
			wantUsage(t, err, append(parts, "c.yaml:7", "listeners.https", "127.0.0.1:443", "may not listen")...)
		})
	}
	t.Run("a demo takes another", func(t *testing.T) {
		c := testConfig("127.0.0.1")
		c.Listeners.HTTPS = ":443"
		bound, err := (&binder{listen: refuse, goos: "linux", freePorts: true}).bind(c)
		if err != nil {
			t.Fatal(err)
		}
		defer bound.Close()
		if p := bound.named("https").Port; p == 443 || p == 0 {
			t.Errorf("port %d", p)
		}
	})
}

func TestMissingIPv6LoopbackIsLeftOut(t *testing.T) {
	noV6 := func(network, addr string) (net.Listener, error) {
		if strings.HasPrefix(addr, "[::1]") {
			return nil, &net.OpError{Op: "listen", Net: network, Err: os.NewSyscallError("bind", syscall.EADDRNOTAVAIL)}
		}
		return net.Listen(network, addr)
	}
	c := testConfig("127.0.0.1")
	c.Hostnames = []string{"localhost"}
	bound, err := (&binder{listen: noV6, goos: "linux"}).bind(c)
	if err != nil {
		t.Fatal(err)
	}
	defer bound.Close()
	if got := bound.named("mqtts").Addrs(); len(got) != 1 {
		t.Errorf("addresses %v", got)
	}
	c.Hostnames = []string{"::1"}
	_, err = (&binder{listen: noV6, goos: "linux"}).bind(c)
	wantUsage(t, err, "listeners.mqtts", "[::1]:0", "not an address of this machine")
}

func TestFailedBindLeavesNothingOpen(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	opened := 0
	counting := func(network, addr string) (net.Listener, error) {
		l, err := net.Listen(network, addr)
		if err != nil {
			return nil, err
		}
		opened++
		return &countedListener{Listener: l, open: &opened}, nil
	}
	c := testConfig("127.0.0.1")
	c.Log.Listen = taken.Addr().String()
	if _, err := (&binder{listen: counting, goos: "linux"}).bind(c); err == nil {
		t.Fatal("bound a taken port")
	}
	if opened != 0 {
		t.Errorf("%d sockets stay open", opened)
	}
}

type countedListener struct {
	net.Listener
	open *int
}

func (l *countedListener) Close() error { *l.open--; return l.Listener.Close() }
