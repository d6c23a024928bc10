package devices

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gemello/gemello/device/credential"
)

const (
	apiVersion = "2021-04-12"
	// parallel is how many devices are created or connected at a time: enough to
	// hide round trips, few enough not to look like an attack.
	parallel    = 32
	tokenLife   = 24 * time.Hour
	callTimeout = 30 * time.Second
	maxAnswer   = 1 << 20
)

// errNoRight says that the policy may not use the registry.
var errNoRight = errors.New("no registry rights")

// registry creates devices through the service REST interface.
type registry struct {
	o    *Options
	http *http.Client
}

func newRegistry(o *Options) *registry {
	dialer := &net.Dialer{Timeout: callTimeout}
	return &registry{o: o, http: &http.Client{
		Timeout: callTimeout,
		Transport: &http.Transport{
			TLSClientConfig:     o.TLS,
			MaxIdleConnsPerHost: parallel,
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return dialer.DialContext(ctx, network, o.HTTPS)
			},
		},
	}}
}

func (r *registry) close() { r.http.CloseIdleConnections() }

// ensure returns the primary keys of the devices, created where missing. It
// returns errNoRight when the policy may not do so.
func (r *registry) ensure(ctx context.Context, ids []string) ([]credential.Key, error) {
	keys := make([]credential.Key, len(ids))
	g, each := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i, id := range ids {
		if each.Err() != nil {
			break
		}
		g.Go(func() (err error) {
			keys[i], err = r.ensureOne(each, id)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return keys, ctx.Err()
}

func (r *registry) ensureOne(ctx context.Context, id string) (credential.Key, error) {
	body := fmt.Appendf(nil, `{"deviceId":%q,"status":"enabled","authentication":{"type":"sas","symmetricKey":{"primaryKey":"","secondaryKey":""}}}`, id)
	status, answer, err := r.call(ctx, http.MethodPut, id, body)
	if err == nil && status == http.StatusConflict {
		status, answer, err = r.call(ctx, http.MethodGet, id, nil)
	}
	switch {
	case err != nil:
		return credential.Key{}, err
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return credential.Key{}, errNoRight
	case status >= 300:
		return credential.Key{}, fmt.Errorf("create device %s: %d %s: %s", id, status, http.StatusText(status), firstLine(answer))
	}
	var d struct {
		Authentication struct {
			SymmetricKey struct{ PrimaryKey string }
		}
	}
	if err := json.Unmarshal(answer, &d); err != nil {
		return credential.Key{}, fmt.Errorf("create device %s: %w", id, err)
	}
	key, err := credential.ParseKey(d.Authentication.SymmetricKey.PrimaryKey)
	if err != nil {
		return credential.Key{}, fmt.Errorf("device %s exists and has no key: %w", id, err)
	}
	return key, nil
}

func (r *registry) call(ctx context.Context, method, id string, body []byte) (status int, answer []byte, err error) {
	c := r.o.Connection
	target := "https://" + hostInURL(r.o.peer()) + "/devices/" + url.PathEscape(id) + "?api-version=" + apiVersion
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", credential.Sign(c.HostName, r.o.Now().Add(time.Hour), c.Key, c.KeyName))
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	resp, err := r.http.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("reach the hub's REST interface at %s: %w", r.o.HTTPS, unwrapURL(err))
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return resp.StatusCode, answer, err
}

func unwrapURL(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		return ue.Err
	}
	return err
}

func hostInURL(h string) string {
	if strings.Contains(h, ":") {
		return "[" + h + "]"
	}
	return h
}

func firstLine(b []byte) string {
	line, _, _ := strings.Cut(string(b), "\n")
	if len(line) > 200 {
		line = line[:200]
	}
	return line
}
