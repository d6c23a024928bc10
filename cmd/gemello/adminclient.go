package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const (
	// adminTimeout bounds one call of the admin API; following a topic has none.
	adminTimeout = 30 * time.Second
	// maxAdminBytes bounds an answer: a page of devices with large twins.
	maxAdminBytes = 64 << 20
)

// adminFlags are the flags of every command that talks to a node.
type adminFlags struct {
	app              *app
	admin, tokenFile string
	data, ca         string
	json             bool
	positions        positionFlags
}

// addAdminFlags declares them on a command.
func addAdminFlags(a *app, cmd *cobra.Command) *adminFlags {
	f := &adminFlags{app: a}
	fs := cmd.Flags()
	fs.StringVar(&f.admin, "admin", "", "URL of the node's admin listener; with --token-file")
	fs.StringVar(&f.tokenFile, "token-file", "", "file of the admin token")
	fs.StringVar(&f.data, "data", f.defaultData(), "data directory of a node on this machine, found by its run.json")
	fs.StringVar(&f.ca, "ca", "", "PEM file of the CA to trust")
	fs.BoolVar(&f.json, "json", false, "print JSON")
	return f
}

func (f *adminFlags) defaultData() string {
	if d, ok := f.app.lookupEnv(envPrefix + "DATA"); ok {
		return d
	}
	return defaultConfig().Data
}

// adminClient calls the admin API of one node.
type adminClient struct {
	base      string // http://127.0.0.1:7080, without a final slash
	token     string
	http      *http.Client
	positions *positionFlags // nil: none are asked for
	// run is set when the node was found by its data directory.
	run *runInfo
}

// adminError is an answer that refuses; Code is the API's.
type adminError struct {
	Status  int
	Code    string
	Message string
}

func (e *adminError) Error() string { return oneLine(fmt.Sprintf("%s (%s)", e.Message, e.Code)) }

// client finds the node and reads its token.
func (f *adminFlags) client() (*adminClient, error) {
	c := &adminClient{base: strings.TrimSuffix(f.admin, "/"), positions: &f.positions}
	tokenFile, ca := f.tokenFile, f.ca
	if c.base == "" {
		r, err := readRunInfo(f.data)
		if err != nil {
			return nil, err
		}
		if r.Admin == "" {
			return nil, usagef("the node on %q has its admin listener off; set listeners.admin", f.data)
		}
		c.run, c.base = r, r.Admin
		if tokenFile == "" {
			tokenFile = r.TokenFile
		}
		if ca == "" {
			ca = r.CA
		}
	}
	u, err := url.Parse(c.base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, usagef("--admin: %q is not allowed; allowed: http://HOST:PORT or https://HOST:PORT", f.admin)
	}
	if tokenFile == "" {
		return nil, usagef("--token-file: needed with --admin; copy admin.token from the node's data directory")
	}
	b, err := readSmallFile(tokenFile)
	if err != nil {
		return nil, usagef("--token-file: %v; give this user the right to read it, or name another file", err)
	}
	c.token = strings.TrimSpace(string(b))
	tlsConfig, err := clientTLS(ca)
	if err != nil {
		return nil, err
	}
	c.http = &http.Client{Transport: &http.Transport{
		TLSClientConfig:       tlsConfig,
		ResponseHeaderTimeout: adminTimeout,
		MaxIdleConnsPerHost:   4,
	}}
	return c, nil
}

// clientTLS trusts the CA file, or the system's roots without one.
func clientTLS(ca string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca == "" {
		return c, nil
	}
	b, err := readSmallFile(ca)
	if err != nil {
		return nil, usagef("--ca: %v; name a readable PEM file", err)
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(b) {
		return nil, usagef("--ca: %q holds no PEM certificate; name the CA's file", ca)
	}
	return c, nil
}

// patient returns a client for calls that are answered when their work is done,
// and can't be bounded from here.
func (c *adminClient) patient() *adminClient {
	p := *c
	if t, ok := c.http.Transport.(*http.Transport); ok {
		t = t.Clone()
		t.ResponseHeaderTimeout = 0
		p.http = &http.Client{Transport: t}
	}
	return &p
}

// Close ends idle connections.
func (c *adminClient) Close() { c.http.CloseIdleConnections() }

// request sends one call below /api/v1; the caller closes the body.
func (c *adminClient) request(ctx context.Context, method, path string, query url.Values, header http.Header, body []byte) (*http.Response, error) {
	target := c.base + "/api/v1" + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	c.positions.ask(req.Header)
	for name, values := range header {
		req.Header[name] = values
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, c.unreachable(err)
	}
	if resp.StatusCode >= 300 {
		defer resp.Body.Close()
		return nil, readAdminError(resp)
	}
	c.positions.note(resp.Header)
	return resp, nil
}

func (c *adminClient) unreachable(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	if c.run != nil {
		return fmt.Errorf("the node (process %d) does not answer at %s: %w; is it still running?", c.run.PID, c.base, err)
	}
	return fmt.Errorf("no answer at %s: %w; is the node running, and is this its admin listener?", c.base, err)
}

func readAdminError(resp *http.Response) error {
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		b = nil
	}
	e := parseAdminError(resp.StatusCode, b)
	if resp.StatusCode == http.StatusUnauthorized {
		e.Message += "; check --token-file"
	}
	return e
}

// parseAdminError reads the API's form of an error, or makes do with the status.
func parseAdminError(status int, b []byte) *adminError {
	e := &adminError{Status: status, Code: fmt.Sprintf("HTTP %d", status), Message: http.StatusText(status)}
	var body struct {
		Error struct{ Code, Message string }
	}
	if json.Unmarshal(b, &body) == nil && body.Error.Code != "" {
		e.Code, e.Message = body.Error.Code, body.Error.Message
	}
	return e
}

// call sends body as JSON, unless nil, and decodes the answer into out, unless
// nil.
func (c *adminClient) call(ctx context.Context, method, path string, query url.Values, header http.Header, body, out any) error {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	var b []byte
	if body != nil {
		var err error
		if b, err = json.Marshal(body); err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
	}
	resp, err := c.request(ctx, method, path, query, header, b)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err = io.ReadAll(io.LimitReader(resp.Body, maxAdminBytes+1))
	if err != nil {
		return fmt.Errorf("read answer of %s %s: %w", method, path, err)
	}
	if len(b) > maxAdminBytes {
		return fmt.Errorf("answer of %s %s is larger than %s", method, path, Size(maxAdminBytes))
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("answer of %s %s is not the JSON expected: %w; is this the admin listener of the same version?", method, path, err)
	}
	return nil
}

// withClient runs a command's body with a client that is closed after it.
func (f *adminFlags) withClient(cmd *cobra.Command, body func(context.Context, *adminClient) error) error {
	ctx, stop := interruptible(cmd.Context())
	defer stop()
	c, err := f.client()
	if err != nil {
		return err
	}
	defer c.Close()
	if err := body(ctx, c); err != nil {
		return err
	}
	return f.printPosition()
}

// printJSON writes any value indented.
func (f *adminFlags) printJSON(v any) error {
	b, err := json.MarshalIndent(f.withPosition(v), "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f.app.stdout, "%s\n", b)
	return err
}

// deleteNamed deletes what path is the place of and says so.
func (f *adminFlags) deleteNamed(cmd *cobra.Command, path, name string) error {
	return f.withClient(cmd, func(ctx context.Context, c *adminClient) error {
		if err := c.call(ctx, "DELETE", path, nil, nil, nil, nil); err != nil {
			return err
		}
		if f.json {
			return f.printJSON(map[string]string{"deleted": name})
		}
		_, err := fmt.Fprintf(f.app.stdout, "deleted %s\n", name)
		return err
	})
}

// printRaw writes JSON as it was answered, indented.
func (f *adminFlags) printRaw(raw json.RawMessage) error {
	raw, err := f.rawWithPosition(raw)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		return err
	}
	b.WriteByte('\n')
	_, err = f.app.stdout.Write(b.Bytes())
	return err
}
