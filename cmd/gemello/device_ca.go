package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/gemello/gemello/device/credential"
)

// maxDeviceCAs is how many CAs a hub trusts for devices (azure-iot-wire 11).
const maxDeviceCAs = 25

// deviceCAs are the CAs whose certificates devices may show: those of a PEM file,
// which is read again when it changes.
type deviceCAs struct {
	file   string // empty: none
	logger *slog.Logger

	mu    sync.RWMutex // guards the following
	text  []byte       // what roots was read from
	told  string       // the error that was logged last
	roots *x509.CertPool
	moved []func()
}

// openDeviceCAs reads the file. The error names it.
func openDeviceCAs(file string, logger *slog.Logger) (*deviceCAs, error) {
	d := &deviceCAs{file: file, logger: logger}
	_, err := d.refresh()
	return d, err
}

// verify checks a client's chain for the name of a device or module, and says how
// long it holds.
func (d *deviceCAs) verify(chain []*x509.Certificate, name string, now time.Time) (until time.Time, err error) {
	if d == nil {
		return credential.VerifyChain(chain, nil, name, now)
	}
	d.mu.RLock()
	roots := d.roots
	d.mu.RUnlock()
	return credential.VerifyChain(chain, roots, name, now)
}

// onChange has f called after each change of the trusted CAs.
func (d *deviceCAs) onChange(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.moved = append(d.moved, f)
}

// refresh takes a changed file over. On an error the CAs in force stay.
func (d *deviceCAs) refresh() (changed bool, err error) {
	if d.file == "" {
		return false, nil
	}
	text, err := readSmallFile(d.file)
	if err != nil {
		return false, fmt.Errorf("CAs of devices: %w", err)
	}
	d.mu.RLock()
	same := bytes.Equal(text, d.text)
	d.mu.RUnlock()
	if same {
		return false, nil
	}
	roots, err := parseCAs(text)
	if err != nil {
		return false, fmt.Errorf("CAs of devices %s: %w", d.file, err)
	}
	d.mu.Lock()
	d.roots, d.text = roots, text
	moved := d.moved
	d.mu.Unlock()
	for _, f := range moved {
		f()
	}
	return true, nil
}

// parseCAs reads the certificates of a PEM file. An empty file trusts nobody.
func parseCAs(text []byte) (*x509.CertPool, error) {
	roots, n := x509.NewCertPool(), 0
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("it holds a %s; only certificates are allowed", block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		if !c.BasicConstraintsValid || !c.IsCA {
			return nil, fmt.Errorf("the certificate of %q is not that of a CA", c.Subject.CommonName)
		}
		if n++; n > maxDeviceCAs {
			return nil, fmt.Errorf("it holds more than %d CAs", maxDeviceCAs)
		}
		roots.AddCert(c)
	}
	if len(bytes.TrimSpace(text)) > 0 {
		return nil, errors.New("it ends in text that is no PEM certificate")
	}
	return roots, nil
}

// watch looks for a changed file at each tick until ctx ends.
func (d *deviceCAs) watch(ctx context.Context, ticks <-chan time.Time) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks:
			d.look()
		}
	}
}

// look refreshes and logs; an error that lasts is told once.
func (d *deviceCAs) look() {
	changed, err := d.refresh()
	text := ""
	if err != nil {
		text = err.Error()
	}
	d.mu.Lock()
	news := text != d.told
	d.told = text
	d.mu.Unlock()
	switch {
	case err != nil && news:
		d.logger.Error("CAs of devices not reloaded; those in use stay", "err", err)
	case changed:
		d.logger.Info("CAs of devices reloaded", "file", d.file)
	}
}
