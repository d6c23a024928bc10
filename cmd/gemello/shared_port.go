package main

import (
	"net/http"

	"github.com/gemello/gemello/ingest/https"
)

// sharedPort tells the interfaces apart that SDKs expect on port 443 of one name
// (azure-iot-wire 0).
type sharedPort struct {
	devices, service http.Handler
}

func (p sharedPort) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if https.Handles(r) {
		p.devices.ServeHTTP(w, r)
		return
	}
	p.service.ServeHTTP(w, r)
}
