package websocket

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Path is where SDKs ask for a WebSocket (azure-iot-wire 0).
const Path = "/$iothub/websocket"

// Handles reports whether a request is for Path.
func Handles(r *http.Request) bool {
	return strings.EqualFold(strings.TrimSuffix(r.URL.Path, "/"), Path)
}

// Handler upgrades requests and hands their connections on.
type Handler struct {
	// Protocols are the subprotocols; each function takes a connection over and
	// returns while it is served.
	Protocols map[string]func(net.Conn)
	// Reserve takes a place for a connection, which release gives back, or says
	// that there is none; nil: there always is.
	Reserve func() (release func(), ok bool)
}

// guid is what RFC 6455 1.3 joins the client's key with.
const guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// ServeHTTP upgrades one request. What is no upgrade, or offers no subprotocol
// that is served here, is refused.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := r.Header.Get("Sec-WebSocket-Key")
	raw, err := base64.StdEncoding.DecodeString(key)
	switch {
	case r.Method != http.MethodGet || !has(r.Header, "Connection", "upgrade") || !has(r.Header, "Upgrade", "websocket"):
		refuse(w, http.StatusUpgradeRequired, "this path is for WebSockets")
		return
	case r.Header.Get("Sec-WebSocket-Version") != "13":
		w.Header().Set("Sec-WebSocket-Version", "13")
		refuse(w, http.StatusUpgradeRequired, "the version must be 13")
		return
	case err != nil || len(raw) != 16:
		refuse(w, http.StatusBadRequest, "the key is not 16 bytes in base64")
		return
	}
	name, serve := h.choose(r.Header)
	if serve == nil {
		refuse(w, http.StatusBadRequest, "none of the subprotocols is served here; offer mqtt")
		return
	}
	release := func() {}
	if h.Reserve != nil {
		ok := false
		if release, ok = h.Reserve(); !ok {
			w.Header().Set("Retry-After", "10")
			refuse(w, http.StatusServiceUnavailable, "too many connections")
			return
		}
	}
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		release()
		refuse(w, http.StatusHTTPVersionNotSupported, "use HTTP/1.1")
		return
	}
	nc, rw, err := hijacker.Hijack()
	if err != nil {
		release()
		return
	}
	// What the client sent behind its request is in the server's buffer.
	early, _ := rw.Reader.Peek(rw.Reader.Buffered())
	var in io.Reader = nc
	if len(early) > 0 {
		in = io.MultiReader(bytes.NewReader(bytes.Clone(early)), nc)
	}
	sum := sha1.Sum([]byte(key + guid))
	nc.SetWriteDeadline(time.Now().Add(closeTime))
	_, err = io.WriteString(nc, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "+
		base64.StdEncoding.EncodeToString(sum[:])+"\r\nSec-WebSocket-Protocol: "+name+"\r\n\r\n")
	if err != nil {
		nc.Close()
		release()
		return
	}
	nc.SetDeadline(time.Time{})
	serve(newConn(nc, in, release))
}

// choose returns the first subprotocol of the client's that is served here, as the
// client spells it.
func (h *Handler) choose(header http.Header) (string, func(net.Conn)) {
	for _, line := range header["Sec-Websocket-Protocol"] {
		for name := range strings.SplitSeq(line, ",") {
			name = strings.TrimSpace(name)
			for known, serve := range h.Protocols {
				if strings.EqualFold(name, known) {
					return name, serve
				}
			}
		}
	}
	return "", nil
}

// has reports whether a header's list holds a word, without case.
func has(h http.Header, key, word string) bool {
	return slices.ContainsFunc(strings.Split(strings.Join(h.Values(key), ","), ","), func(s string) bool {
		return strings.EqualFold(strings.TrimSpace(s), word)
	})
}

func refuse(w http.ResponseWriter, status int, why string) {
	if status == http.StatusUpgradeRequired {
		w.Header().Set("Upgrade", "websocket")
	}
	http.Error(w, "websocket: "+why, status)
}
