package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

// Options configure a Poster.
type Options struct {
	Private bool          // loopback, private and link-local addresses are allowed, and http
	TLS     *tls.Config   // nil: the system's roots
	Timeout time.Duration // of one post; 0: 30 s
}

// Errors of Post.
var (
	ErrRefused = errors.New("the receiver refused it")
	ErrAddress = errors.New("the address is private; routing.private_webhooks allows it")
)

// Poster posts batches. It may be used from many goroutines.
type Poster struct{ client *http.Client }

// maxAnswer bounds what is read of an answer; only its beginning is repeated.
const (
	maxAnswer = 64 << 10
	maxQuoted = 200
)

// New returns a Poster.
func New(o Options) *Poster {
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	if !o.Private {
		// Control sees the address that a name stands for.
		dialer.Control = func(_, address string, _ syscall.RawConn) error {
			at, err := netip.ParseAddrPort(address)
			if err != nil || !Public(at.Addr()) {
				return ErrAddress
			}
			return nil
		}
	}
	t := &http.Transport{
		DialContext: dialer.DialContext, TLSClientConfig: o.TLS, ForceAttemptHTTP2: true,
		MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: 10 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
	timeout := o.Timeout
	if timeout == 0 {
		timeout = 30 * time.Second
	}
	return &Poster{&http.Client{Transport: t, Timeout: timeout, CheckRedirect: sameHost}}
}

// Close ends idle connections.
func (p *Poster) Close() { p.client.CloseIdleConnections() }

// sameHost follows a few redirects, none to another host or away from TLS. Only
// those that repeat the post are of use (307, 308).
func sameHost(r *http.Request, via []*http.Request) error {
	first := via[0].URL
	switch {
	case len(via) > 3:
		return errors.New("more than 3 redirects")
	case r.Method != http.MethodPost:
		return fmt.Errorf("a redirect that would not post again")
	case !strings.EqualFold(r.URL.Host, first.Host) || r.URL.Scheme != first.Scheme:
		return fmt.Errorf("a redirect to another host, %.100q", r.URL.Host)
	}
	return nil
}

// Post sends a JSON body; authorization is the value of that header, "" for
// none. The error wraps ErrRefused when the receiver will never take it.
func (p *Poster) Post(ctx context.Context, url, authorization string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	req.Header.Set("User-Agent", "gemello")
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode/100 == 2 {
		return nil
	}
	err = fmt.Errorf("%s: %.*q", resp.Status, maxQuoted, answer)
	switch resp.StatusCode {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return err
}

// shared is the address space of carriers' translators (RFC 6598), which lies
// inside somebody's network as well.
var shared = netip.MustParsePrefix("100.64.0.0/10")

// Public reports whether an address lies outside of loopback, private,
// link-local, shared and multicast networks.
func Public(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsValid() && a.IsGlobalUnicast() && !a.IsPrivate() && !a.IsLoopback() && !a.IsLinkLocalUnicast() && !shared.Contains(a)
}
