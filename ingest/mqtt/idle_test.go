package mqtt

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime/debug"
	"testing"
)

// idleJob is the environment variable that makes this test binary the other
// end of BenchmarkIdle: "ADDRESS COUNT TLS".
const idleJob = "GEMELLO_MQTT_IDLE"

// BenchmarkIdle reports the resident memory of connections that have connected,
// subscribed and gone quiet. The clients are another process.
func BenchmarkIdle(b *testing.B) {
	for _, bm := range []struct {
		n   int
		tls bool
	}{{2000, false}, {10000, false}, {2000, true}} {
		b.Run(fmt.Sprintf("conns=%d/tls=%v", bm.n, bm.tls), func(b *testing.B) {
			for b.Loop() {
				idle(b, bm.n, bm.tls)
			}
		})
	}
}

func idle(b *testing.B, n int, secure bool) {
	s := New(Options{Hub: ackHub{}})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	if secure {
		go s.ServeTLS(l, &tls.Config{Certificates: []tls.Certificate{certificate(b, "hub")}, ClientAuth: tls.RequestClientCert})
	} else {
		go s.Serve(l)
	}
	defer s.Shutdown(context.Background())
	debug.FreeOSMemory()
	before := resident(b)

	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d %v", idleJob, l.Addr(), n, secure))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer cmd.Wait()
	defer in.Close()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		b.Fatalf("clients: %q, %v", line, err)
	}
	b.ReportMetric(float64(resident(b)-before)/float64(n), "peakRSS-B/conn")
	debug.FreeOSMemory()
	b.ReportMetric(float64(resident(b)-before)/float64(n), "RSS-B/conn")
}

func resident(b *testing.B) int {
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Skip("needs /proc")
	}
	var size, pages int
	fmt.Sscan(string(data), &size, &pages)
	return pages * os.Getpagesize()
}

// idleClients connects, says so on stdout and waits for the end of stdin.
func idleClients(job string) int {
	var addr string
	var n int
	var secure bool
	if _, err := fmt.Sscan(job, &addr, &n, &secure); err != nil {
		return 2
	}
	conns := make([]net.Conn, n)
	for i := range conns {
		nc, err := net.Dial("tcp", addr)
		if err == nil && secure {
			nc = tls.Client(nc, &tls.Config{InsecureSkipVerify: true})
		}
		if err == nil {
			err = idleClient(nc, fmt.Sprintf("device-%d", i))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, i, err)
			return 1
		}
		conns[i] = nc
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
	for _, nc := range conns {
		nc.Close()
	}
	return 0
}

func idleClient(nc net.Conn, id string) error {
	subscribe := frame(0x82, []byte{0, 1}, str(desiredFilter), []byte{0})
	if _, err := nc.Write(append(hello{id: id, persist: true, password: "SharedAccessSignature sr=x"}.packet(), subscribe...)); err != nil {
		return err
	}
	got := make([]byte, 9)
	_, err := io.ReadFull(nc, got)
	if err == nil && !bytes.Equal(got, []byte{0x20, 2, 0, 0, 0x90, 3, 0, 1, 0}) {
		err = fmt.Errorf("answers %x", got)
	}
	return err
}
