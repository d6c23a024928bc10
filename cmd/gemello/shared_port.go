package main

import (
	"net/http"

	"github.com/gemello/gemello/ingest/https"
	"github.com/gemello/gemello/ingest/websocket"
)

// sharedPort tells the interfaces apart that SDKs expect on port 443 of one name
// (azure-iot-wire 0).
type sharedPort struct {
	devices, service, sockets http.Handler
}

func (p sharedPort) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case websocket.Handles(r):
		p.sockets.ServeHTTP(w, r)
	case https.Handles(r):
		p.devices.ServeHTTP(w, r)
	default:
		p.service.ServeHTTP(w, r)
	}
}
