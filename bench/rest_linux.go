package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// restLoad asks a node over connections of its own, one request at a time on
// each. It reads answers itself: a client library would take more of the machine
// than the server it measures.
type restLoad struct {
	conns []*restConn
	rate  float64 // requests a second of all connections; 0: as fast as answers come
}

type restConn struct {
	net.Conn
	in *bufio.Reader
}

// openREST connects n times to the host of a URL.
func openREST(base string, n int) (*restLoad, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, err
	}
	l := &restLoad{}
	for range n {
		c, err := net.DialTimeout("tcp", u.Host, 5*time.Second)
		if err != nil {
			l.close()
			return nil, err
		}
		l.conns = append(l.conns, &restConn{c, bufio.NewReader(c)})
	}
	return l, nil
}

func (l *restLoad) close() {
	for _, c := range l.conns {
		c.Close()
	}
}

// run asks until warm and the time measured are over; request returns the bytes
// of the n-th request of a connection. An answer that is not 200 ends the run. At
// a rate, a request's time counts from when it was due, so that a server that
// stands still is not asked less.
func (l *restLoad) run(ctx context.Context, warm, measured time.Duration, request func(conn, n int) []byte) (*loadResult, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	begin := time.Now()
	from := begin.Add(warm)
	to := from.Add(measured)
	every := time.Duration(0)
	if l.rate > 0 {
		every = time.Duration(float64(len(l.conns)) / l.rate * float64(time.Second))
	}
	errs := make([]error, len(l.conns))
	lats := make([]latencies, len(l.conns))
	var all sync.WaitGroup
	for i, c := range l.conns {
		all.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				start := time.Now()
				if every > 0 {
					start = begin.Add(every*time.Duration(i)/time.Duration(len(l.conns)) + every*time.Duration(n))
					time.Sleep(time.Until(start))
				}
				if start.After(to) {
					return
				}
				if errs[i] = c.ask(request(i, n)); errs[i] != nil {
					cancel()
					return
				}
				if now := time.Now(); start.After(from) && now.Before(to) {
					lats[i].add(now.Sub(start))
				}
			}
		})
	}
	all.Wait()
	r := &loadResult{elapsed: measured}
	for i := range lats {
		r.lat.merge(&lats[i])
	}
	r.acked = r.lat.n
	return r, errors.Join(errs...)
}

// ask sends a request and reads its answer.
func (c *restConn) ask(request []byte) error {
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	if _, err := c.Write(request); err != nil {
		return err
	}
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return err
	}
	status := string(bytes.TrimSpace(line))
	length := -1
	for {
		if line, err = c.in.ReadSlice('\n'); err != nil {
			return err
		}
		if line = bytes.TrimSpace(line); len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return err
			}
		}
	}
	if length < 0 {
		return fmt.Errorf("an answer %q without a length", status)
	}
	if len(status) < 12 || status[9:12] != "200" {
		text, _ := io.ReadAll(io.LimitReader(c.in, int64(min(length, 512))))
		return fmt.Errorf("the node answers %s: %s", status, text)
	}
	_, err = c.in.Discard(length)
	return err
}

// restRequest is a request to the admin API.
func (n *nodeProcess) restRequest(method, path string, body []byte) []byte {
	b := fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n", method, path, n.hostname, n.token)
	if body != nil {
		b = fmt.Appendf(b, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	return append(append(b, "\r\n"...), body...)
}
