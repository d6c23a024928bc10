package broker

import (
	"context"
	"fmt"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// handler serves the requests of one key.
type handler struct {
	key kmsg.Key
	// min and max are the versions that clients are told.
	min, max int16
	// serve answers a request. It runs on the goroutine that reads the
	// connection, so that requests of a connection take effect one after the
	// other; it may wait for the disk, but not for other clients. It returns
	//
	//   - a response, which is sent;
	//   - nil and nil: the request is parked; whoever holds it calls its reply
	//     exactly once, and the connection is read on meanwhile;
	//   - an error: the connection is closed, for there is no telling the
	//     client anything that it would understand.
	serve func(*request) (kmsg.Response, error)
	// check, when set, looks at a request's body before it is decoded.
	check func(body []byte, version int16) error
	// pipelined handlers are called while parked produces of the connection
	// are not answered; others are called when they are.
	pipelined bool
	// open handlers serve clients that have not authenticated, though the
	// server wants to know its users.
	open bool

	served prometheus.Counter
}

// request is one decoded request of a connection.
type request struct {
	conn    *conn
	handler *handler
	header  header
	// body has its version set. Its strings are copies; its byte slices point
	// into the frame, which for Produce is used again after the reply and for
	// all others is the request's own.
	body kmsg.Request
	// ctx ends with the connection or the server.
	ctx context.Context

	// unsupported tells ApiVersions that the version was not served; body and
	// header then have version 0.
	unsupported bool

	slot *slot
}

// response returns an empty response of the request's version.
func (r *request) response() kmsg.Response {
	resp := r.body.ResponseKind()
	resp.SetVersion(r.header.version)
	return resp
}

// reply answers a parked request; nil sends nothing. It does not block.
func (r *request) reply(resp kmsg.Response) { r.slot.finish(resp) }

// table holds the handlers by key.
type table map[int16]*handler

// handlers assembles the table from what the families of requests define.
func (s *Server) handlers() table {
	t := make(table)
	for _, h := range slices.Concat(
		s.dataHandlers(), s.adminHandlers(), s.txnHandlers(), s.groupHandlers(), s.accessHandlers(),
	) {
		if t[h.key.Int16()] != nil {
			panic(fmt.Sprintf("broker: two handlers for %s", h.key.Name()))
		}
		h.served = s.metrics.requests.WithLabelValues(h.key.Name())
		t[h.key.Int16()] = &h
	}
	return t
}
